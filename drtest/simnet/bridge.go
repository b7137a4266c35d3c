package simnet

import "net/netip"

// Reset ends the connection as a close with SO_LINGER 0 does: the peer gets ECONNRESET once that has travelled, and
// what it has not read is lost.
func (c *Conn) Reset() { c.crash() }

// Unread returns how many bytes written here the peer has not read yet. Write never blocks, so whoever carries bytes
// from elsewhere uses it to stop in time.
func (c *Conn) Unread() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.buf) - c.out.off
}

// Changes returns the shape in force from one zone to another, and a channel that is closed when another takes its
// place.
func (n *Net) Changes(from, to string) (Shape, <-chan struct{}) {
	s := n.link(from, to).state.Load()
	return s.Shape, s.changed
}

// Zone returns the zone of a host, by name or address.
func (n *Net) Zone(name string) (zone string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ip, err := netip.ParseAddr(name); err == nil {
		name = n.byAddr[ip]
	}
	h, ok := n.hosts[name]
	return h.zone, ok
}
