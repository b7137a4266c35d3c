package simnet

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A NameFault is how look-ups of a name go wrong.
type NameFault string

// The faults of names.
const (
	NameNotFound      NameFault = "nxdomain" // the name does not exist
	NameServerFailure NameFault = "servfail" // the server cannot answer
	NameTimeout       NameFault = "timeout"  // the server does not answer: 5 s twice, as resolvers wait
	NameStale         NameFault = "stale"    // records are those of the beginning of the fault
)

// NameFaults lists them.
func NameFaults() []NameFault {
	return []NameFault{NameNotFound, NameServerFailure, NameTimeout, NameStale}
}

// lookupGiveUp is how long a resolver waits for an answer: 5 s, and again (resolv.conf(5), timeout and attempts).
const lookupGiveUp = 10 * time.Second

// lookupTook is how long a look-up takes that fails at once.
const lookupTook = time.Millisecond

// spoiled is a fault of names that is there.
type spoiled struct {
	zone, name string
	fault      NameFault
	records    map[string]record // when it began
}

// SpoilNames makes look-ups from a zone, or from [Any], go wrong for a name, or for all if it is "", until undo is
// called; further calls of undo do nothing. It concerns dials by name and the DNS servers of the zone. Connections
// that exist, and dials to addresses, do not look up anything.
func (n *Net) SpoilNames(zone, name string, f NameFault) (undo func()) {
	if !slices.Contains(NameFaults(), f) {
		panic(fmt.Sprintf("simnet: unknown fault of names %q", string(f)))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &spoiled{zone, canonical(name), f, maps.Clone(n.records)}
	n.spoiled = append(n.spoiled, s)
	n.impaired.Add(1)
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.impaired.Add(-1)
		n.spoiled = slices.DeleteFunc(n.spoiled, func(x *spoiled) bool { return x == s })
	})
}

// spoiledLocked returns the fault that callers in a zone meet with a name, or nil.
func (n *Net) spoiledLocked(zone, name string) *spoiled {
	for _, s := range n.spoiled {
		if (s.zone == Any || within(zone, s.zone)) && (s.name == "" || s.name == canonical(name)) {
			return s
		}
	}
	return nil
}

// nameFault returns the fault that callers in a zone meet with a name; "" = none.
func (n *Net) nameFault(zone, name string) NameFault {
	if n.impaired.Load() == 0 {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.spoiledLocked(zone, name); s != nil {
		return s.fault
	}
	return ""
}

// LookupName takes the time of a failing look-up and returns its error, a [*net.DNSError]. It returns nil at once if
// look-ups of the name from the zone are in order.
func (n *Net) LookupName(ctx context.Context, zone, name string) error {
	fault, sent := n.nameFault(zone, name), n.now()
	wait, dns := lookupTook, &net.DNSError{Name: name, Server: zone}
	switch fault {
	case NameNotFound:
		dns.Err, dns.IsNotFound = "no such host", true
	case NameServerFailure:
		dns.Err, dns.IsTemporary = "server misbehaving", true
	case NameTimeout:
		dns.Err, dns.IsTimeout, dns.IsTemporary, wait = "i/o timeout", true, true, lookupGiveUp
	default:
		return nil
	}
	if err := n.sleepUntil(ctx, hop(sent+wait, sent)); err != nil {
		return err
	}
	return dns
}

// Named reports whether a name has a host or a record.
func (n *Net) Named(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, host := n.hosts[name]
	_, record := n.records[canonical(name)]
	return host || record
}

// resolve looks a name up that is dialled and returns the address to connect to. A record that was set for the name
// decides; else it is the host of that name.
func (n *Net) resolve(ctx context.Context, zone, address string) (string, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, nil // the caller says so
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return address, nil
	}
	if err := n.LookupName(ctx, zone, name); err != nil {
		return "", err
	}
	n.mu.Lock()
	_, host := n.hosts[name]
	n.mu.Unlock()
	if r, ok := n.lookup(zone, name); ok && !host {
		return net.JoinHostPort(r.addrs[0].String(), port), nil
	}
	return address, nil
}

// DownHost makes a host refuse dials, and resets the connections it has, until undo is called; further calls of undo
// do nothing. The rest of its zone goes on.
func (n *Net) DownHost(name string) (undo func()) {
	n.mu.Lock()
	n.down[name]++
	n.impaired.Add(1)
	addr := n.hosts[name].addr
	conns := n.connsLocked()
	n.mu.Unlock()
	for _, c := range conns {
		if c.local.AddrPort().Addr().Unmap() == addr {
			c.crash()
		}
	}
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.down[name]--
		n.impaired.Add(-1)
	})
}

// HostDown reports whether a host refuses.
func (n *Net) HostDown(name string) bool {
	if n.impaired.Load() == 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down[name] > 0
}

// downAddress reports whether the host of an address, by name or number, refuses.
func (n *Net) downAddress(address string) bool {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		n.mu.Lock()
		name = n.byAddr[ip]
		n.mu.Unlock()
	}
	return n.HostDown(name)
}
