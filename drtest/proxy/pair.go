package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A pair is a simulated and a real connection that carry the same bytes.
type pair struct {
	sim  *simnet.Conn
	real *net.TCPConn
	once sync.Once
	done chan struct{} // closed when it is over
}

func newPair(sim *simnet.Conn, real *net.TCPConn) *pair {
	return &pair{sim: sim, real: real, done: make(chan struct{})}
}

// reset breaks both connections; each peer learns it as TCP tells it.
func (p *pair) reset() {
	p.once.Do(func() {
		close(p.done)
		p.sim.Reset()
		_ = p.real.SetLinger(0) // a reset, not the end of the stream
		_ = p.real.Close()
	})
}

// run carries bytes both ways until both streams have ended or one connection broke.
func (p *pair) run() {
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(p.real, p.sim, func() bool { return true }) })
	wg.Go(func() { p.pump(p.sim, p.real, p.room) })
	wg.Wait()
	p.once.Do(func() {
		close(p.done)
		_ = p.sim.Close()
		_ = p.real.Close()
	})
}

// A stream can end in one direction.
type stream interface {
	net.Conn
	CloseWrite() error
}

// pump copies one direction, and its end. Before each read it asks whether there is room for more.
func (p *pair) pump(to, from stream, room func() bool) {
	buf := make([]byte, 32<<10)
	for {
		if !room() {
			p.reset()
			return
		}
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				p.reset()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if to.CloseWrite() != nil {
				p.reset()
			}
			return
		case err != nil:
			p.reset()
			return
		}
	}
}

// window is how many bytes may be on their way over the simulated network before the real sender is held up, about
// what kernels buffer.
const window = 1 << 20

// room waits until the simulated connection has taken what it was given; false at the end.
func (p *pair) room() bool {
	for p.sim.Unread() > window {
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-timer.C:
		case <-p.done:
			timer.Stop()
			return false
		}
	}
	return true
}
