package simnet

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Parent returns the zone that a zone lies in: of "us-east-1/a" that is "us-east-1". Of others it is "".
func Parent(zone string) string {
	parent, _, ok := strings.Cut(zone, "/")
	if !ok {
		return ""
	}
	return parent
}

// within reports whether a zone is another, or lies in it.
func within(zone, other string) bool { return zone == other || Parent(zone) == other }

// Any stands for every other zone in [Net.Overlay].
const Any = "*"

// Config configures a [Net]. The zero value is ready to use.
type Config struct {
	// Seed is the root of every random stream of the network.
	Seed uint64

	// Default is the shape of a link nobody set, between two different zones. Inside one zone
	// the default is the zero Shape.
	Default Shape
}

// A Net is a simulated network. It is safe for concurrent use. Made in a bubble, it must be used there.
type Net struct {
	config Config
	start  time.Time
	ids    atomic.Uint64

	impaired atomic.Int32 // faults of names and hosts that are there: none is the usual case

	mu        sync.Mutex // guards all below; never held while waiting
	links     map[linkKey]*link
	bases     map[linkKey]Shape
	overlays  []*overlay
	listeners map[string]*Listener // by "host:port"
	hosts     map[string]host      // by name
	byAddr    map[netip.Addr]string
	records   map[string]record
	spoiled   []*spoiled
	down      map[string]int   // hosts that refuse, and how many say so
	conns     map[uint64]*Conn // by id; both ends
	closed    bool

	changeMu sync.Mutex // makes changes of shapes one after the other; taken before mu
	watchers []func()   // guarded by changeMu
}

type linkKey struct{ from, to string }

type host struct {
	zone string
	addr netip.Addr
}

// An overlay is a change that holds on some links while it is in place.
type overlay struct {
	from, to string
	change   func(*Shape)
}

func (o *overlay) covers(k linkKey) bool {
	switch {
	case o.from == Any && o.to == Any:
		return k.from != k.to
	case o.from == Any:
		return within(k.to, o.to) && !within(k.from, o.to)
	case o.to == Any:
		return within(k.from, o.from) && !within(k.to, o.from)
	}
	return within(k.from, o.from) && within(k.to, o.to)
}

// New returns a network without hosts. It panics if the default shape is invalid.
func New(config Config) *Net {
	if err := config.Default.Validate(); err != nil {
		panic(err)
	}
	return &Net{
		config: config, start: time.Now(),
		links: map[linkKey]*link{}, bases: map[linkKey]Shape{},
		listeners: map[string]*Listener{}, hosts: map[string]host{}, byAddr: map[netip.Addr]string{},
		records: map[string]record{}, down: map[string]int{}, conns: map[uint64]*Conn{},
	}
}

// now is the time since the network was made.
func (n *Net) now() time.Duration { return time.Since(n.start) }

// SetLink sets the shape of the direction from one zone to another; overlays stay on top of it. It
// panics if the shape is invalid.
func (n *Net) SetLink(from, to string, shape Shape) {
	if err := shape.Validate(); err != nil {
		panic(err)
	}
	n.change(func() { n.bases[linkKey{from, to}] = shape })
}

// SetLinks sets both directions between two zones.
func (n *Net) SetLinks(a, b string, shape Shape) {
	n.SetLink(a, b, shape)
	n.SetLink(b, a, shape)
}

// Overlay puts a change on top of the direction from one zone to another until remove is called; further
// calls of remove do nothing. Either zone may be [Any], which covers all other zones, also those not
// seen yet, but never the inside of a zone. Overlays apply in the order in which they were made, so
// faults may overlap and end in any order. The function change must be pure.
func (n *Net) Overlay(from, to string, change func(*Shape)) (remove func()) {
	o := &overlay{from, to, change}
	n.change(func() { n.overlays = append(n.overlays, o) })
	var once sync.Once
	return func() {
		once.Do(func() {
			n.change(func() {
				n.overlays = slices.DeleteFunc(n.overlays, func(x *overlay) bool { return x == o })
			})
		})
	}
}

// Shape returns the shape in force from one zone to another.
func (n *Net) Shape(from, to string) Shape { return n.link(from, to).state.Load().Shape }

// Watch registers a function that runs before each change of a shape, one at a time, on the goroutine that
// makes the change. It must not wait and must not change shapes.
func (n *Net) Watch(before func()) {
	n.changeMu.Lock()
	defer n.changeMu.Unlock()
	n.watchers = append(n.watchers, before)
}

// change runs edit under the lock, then brings every link and connection in line.
func (n *Net) change(edit func()) {
	n.changeMu.Lock()
	defer n.changeMu.Unlock()
	for _, before := range n.watchers {
		before()
	}
	n.mu.Lock()
	edit()
	changed := n.restateLocked()
	conns := n.connsLocked()
	n.mu.Unlock()

	now := n.now()
	for _, c := range conns {
		c.relink(changed, now)
	}
	for _, was := range changed {
		close(was.changed)
	}
}

// restateLocked gives every link whose shape is another one now its new state, and returns the old states.
func (n *Net) restateLocked() map[*link]*linkState {
	changed := map[*link]*linkState{}
	for k, l := range n.links {
		was, shape := l.state.Load(), n.shapeLocked(k)
		if was.Shape != shape {
			l.state.Store(newLinkState(shape))
			changed[l] = was
		}
	}
	return changed
}

func (n *Net) shapeLocked(k linkKey) Shape {
	shape := n.baseLocked(k)
	for _, o := range n.overlays {
		if o.covers(k) {
			o.change(&shape)
		}
	}
	return shape
}

// baseLocked returns the shape without overlays: that of the link, or of the zones its ends lie in.
func (n *Net) baseLocked(k linkKey) Shape {
	if shape, ok := n.bases[k]; ok {
		return shape
	}
	if k.from == k.to {
		return Shape{}
	}
	from, to := cmp.Or(Parent(k.from), k.from), cmp.Or(Parent(k.to), k.to)
	for _, k := range []linkKey{{from, k.to}, {k.from, to}, {from, to}} {
		if shape, ok := n.bases[k]; ok {
			return shape
		}
	}
	return n.config.Default
}

// connsLocked returns all connection ends in the order in which they were made.
func (n *Net) connsLocked() []*Conn {
	conns := make([]*Conn, 0, len(n.conns))
	for _, c := range n.conns {
		conns = append(conns, c)
	}
	slices.SortFunc(conns, func(a, b *Conn) int { return int(a.id) - int(b.id) })
	return conns
}

func (n *Net) link(from, to string) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := linkKey{from, to}
	l, ok := n.links[k]
	if !ok {
		l = &link{name: from + ">" + to}
		l.state.Store(newLinkState(n.shapeLocked(k)))
		n.links[k] = l
	}
	return l
}

// Crash ends every connection that has an end in the zone, as a power cut or kill -9 does: that end fails at
// once, and the peer hears of it only through a reset, which travels the link and is lost in a black hole.
func (n *Net) Crash(zone string) {
	n.mu.Lock()
	conns := n.connsLocked()
	n.mu.Unlock()
	for _, c := range conns {
		if within(c.zone, zone) {
			c.crash()
		}
	}
}

// Close ends every connection at both ends at once, closes every listener and brings every link up, so
// that no goroutine stays blocked in the network. Dials fail afterwards.
func (n *Net) Close() error {
	n.change(func() {
		n.closed = true
		n.overlays = nil
		for k, shape := range n.bases {
			shape.Mode = ModeUp
			n.bases[k] = shape
		}
	})
	n.mu.Lock()
	conns := n.connsLocked()
	listeners := make([]*Listener, 0, len(n.listeners))
	for _, l := range n.listeners {
		listeners = append(listeners, l)
	}
	n.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	for _, c := range conns {
		c.abort()
	}
	return nil
}

// Addr returns the address of a host, as the simulated DNS answers it. Hosts are numbered in the order in
// which they first listened or were named.
func (n *Net) Addr(name string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.hosts[name]
	return h.addr, ok
}

// hostLocked returns the host of a name and makes it in the zone if there is none.
func (n *Net) hostLocked(name, zone string) (host, error) {
	if h, ok := n.hosts[name]; ok {
		if h.zone != zone {
			return host{}, fmt.Errorf("simnet: host %q is in zone %q, not in %q", name, h.zone, zone)
		}
		return h, nil
	}
	h := host{zone: zone, addr: numbered(len(n.hosts) + 1)}
	n.hosts[name] = h
	n.byAddr[h.addr] = name
	return h, nil
}

// numbered returns the i-th address of 10.0.0.0/8.
func numbered(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// find returns the listener, if any, and the zone of an address.
func (n *Net) find(address string) (l *Listener, zone string, err error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ip, err := netip.ParseAddr(name); err == nil {
		name = n.byAddr[ip]
	}
	h, ok := n.hosts[name]
	if !ok || n.closed {
		return nil, "", &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return n.listeners[net.JoinHostPort(name, port)], h.zone, nil
}
