package simnet

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Conn is one end of a simulated connection. It is safe for concurrent use. Write copies its bytes and
// never blocks; Read blocks durably.
type Conn struct {
	n             *Net
	id            uint64
	zone          string
	local, remote *net.TCPAddr
	in, out       *half
	peer          *Conn
	closed        atomic.Bool
	gone          sync.Once
	reset         atomic.Int64 // instant at which a reset arrives, as a Duration; never = none
	writeDeadline atomic.Int64
}

var _ net.Conn = (*Conn)(nil)

// connect makes both ends of a connection; the server's end is the second.
func (n *Net) connect(from, to string, local, remote *net.TCPAddr, address string) (client, server *Conn) {
	there, back := n.link(from, to), n.link(to, from)
	now := n.now()
	name := fmt.Sprintf("conn/%s/%s@%d", there.name, address, now)
	a := newHalf(n, there, back, Stream(n.config.Seed, name), now)
	b := newHalf(n, back, there, Stream(n.config.Seed, name+"/back"), now)
	client = newConn(n, from, local, remote, b, a)
	server = newConn(n, to, remote, local, a, b)
	client.peer, server.peer = server, client
	a.writer, a.reader, b.writer, b.reader = client, server, server, client
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[client.id], n.conns[server.id] = client, server
	return client, server
}

func newConn(n *Net, zone string, local, remote *net.TCPAddr, in, out *half) *Conn {
	c := &Conn{n: n, id: n.ids.Add(1), zone: zone, local: local, remote: remote, in: in, out: out}
	c.reset.Store(int64(never))
	c.writeDeadline.Store(int64(never))
	return c
}

// Read reads what has arrived. It returns [io.EOF] after the peer's FIN, and a [*net.OpError] that wraps
// ECONNRESET, ETIMEDOUT, [os.ErrDeadlineExceeded] or [net.ErrClosed] else.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.opError("read", err)
	}
	return n, err
}

// Write sends b. It fails after Close, CloseWrite, a reset, a passed deadline, and when the peer has not
// acknowledged bytes for [DataGiveUp].
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, c.opError("write", err)
	}
	if err := c.out.push(b, false); err != nil {
		return 0, c.opError("write", err)
	}
	return len(b), nil
}

func (c *Conn) writable() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	reset, deadline := c.resetDue(), time.Duration(c.writeDeadline.Load())
	if reset == never && deadline == never {
		return nil
	}
	switch now := c.n.now(); {
	case now >= reset:
		return syscall.ECONNRESET
	case now >= deadline:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close sends FIN and ends reading and writing here.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	_ = c.out.push(nil, true) // an error means that the peer will never hear of it
	c.in.end(net.ErrClosed)
	c.leave()
	return nil
}

// CloseWrite sends FIN: the peer reads [io.EOF] after the bytes sent so far, and may go on writing.
func (c *Conn) CloseWrite() error {
	if c.closed.Load() {
		return c.opError("close", net.ErrClosed)
	}
	if err := c.out.push(nil, true); err != nil {
		return c.opError("close", err)
	}
	return nil
}

// leave forgets the connection once both ends are closed; until then a fault may have to find it.
func (c *Conn) leave() {
	if !c.peer.closed.Load() {
		return
	}
	c.gone.Do(func() {
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		delete(c.n.conns, c.id)
		delete(c.n.conns, c.peer.id)
	})
}

// abort ends both directions here and now, as the end of the simulation does.
func (c *Conn) abort() {
	c.closed.Store(true)
	c.in.end(syscall.ECONNRESET)
	c.leave()
}

// crash ends the connection here; a reset sets out for the peer.
func (c *Conn) crash() {
	c.abort()
	c.out.mu.Lock()
	c.out.finished = true
	c.out.mu.Unlock()
	if s := c.out.link.state.Load(); s.Mode == ModeUp {
		c.peer.resetAt(hop(c.n.now()+roundUp(s.Latency), c.peer.lastActive()))
	}
}

// lastActive is when this end last wrote.
func (c *Conn) lastActive() time.Duration {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.active
}

// relink brings this end's sending half in line with changed links.
func (c *Conn) relink(changed map[*link]*linkState, now time.Duration) {
	if changed[c.out.link] == nil && changed[c.out.back] == nil {
		return
	}
	if gaveUp := c.out.relink(now); gaveUp {
		c.in.end(syscall.ETIMEDOUT)
	}
}

// resetAt lets a reset arrive here at an instant. The first one counts.
func (c *Conn) resetAt(at time.Duration) {
	if c.reset.CompareAndSwap(int64(never), int64(at)) {
		c.in.kick()
	}
}

func (c *Conn) resetDue() time.Duration { return time.Duration(c.reset.Load()) }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of reads, also of one in progress. The zero time means none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.opError("set", net.ErrClosed)
	}
	c.in.setDeadline(c.n.instant(t))
	return nil
}

// SetWriteDeadline sets the instant after which writes fail. The zero time means none.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.opError("set", net.ErrClosed)
	}
	c.writeDeadline.Store(int64(c.n.instant(t)))
	return nil
}

// instant converts a deadline.
func (n *Net) instant(t time.Time) time.Duration {
	if t.IsZero() {
		return never
	}
	return t.Sub(n.start)
}

func (c *Conn) opError(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok { //nolint:errorlint // what wraps one has an operation already
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// ephemeral returns a client's address.
func ephemeral(rng *rand.Rand) *net.TCPAddr {
	ip := net.IPv4(100, 64, byte(rng.Uint32()), byte(rng.Uint32()))
	return &net.TCPAddr{IP: ip, Port: 32768 + rng.IntN(28232)} // Linux ip_local_port_range
}
