package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// A Listener accepts simulated connections. It is safe for concurrent use.
type Listener struct {
	n       *Net
	address string
	addr    *net.TCPAddr
	backlog chan *Conn
	done    chan struct{}
	once    sync.Once
}

// ErrInUse is wrapped by the error of a Listen on an address that has a listener.
var ErrInUse = errors.New("address already in use")

// Listen makes a host in a zone accept connections on an address of the form "host:port". A host belongs
// to the zone in which it first listened; [Net.Addr] tells its IP address, by which it can be dialled too.
func (n *Net) Listen(zone, address string) (*Listener, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("simnet: listen: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || name == "" {
		return nil, fmt.Errorf("simnet: listen on %q: want a host and a port from 1 to 65535", address)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("simnet: listen on %q: %w", address, net.ErrClosed)
	}
	h, err := n.hostLocked(name, zone)
	if err != nil {
		return nil, err
	}
	if n.listeners[address] != nil {
		return nil, fmt.Errorf("simnet: listen on %q: %w", address, ErrInUse)
	}
	l := &Listener{
		n: n, address: address, addr: tcpAddr(h.addr, int(number)),
		backlog: make(chan *Conn, Backlog), done: make(chan struct{}),
	}
	n.listeners[address] = l
	return l, nil
}

func tcpAddr(ip netip.Addr, port int) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
}

// Accept waits for the next connection. After Close it returns an error that wraps [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close stops accepting; dials are refused from now on. Connections in the backlog are reset.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.n.mu.Lock()
		delete(l.n.listeners, l.address)
		l.n.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.backlog:
				c.crash()
			default:
				return
			}
		}
	})
	return nil
}

// Addr returns the address of the listener.
func (l *Listener) Addr() net.Addr { return l.addr }
