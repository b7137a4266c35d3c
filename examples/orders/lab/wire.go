//go:build unix

package lab

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/holdfast-go/holdfast/drtest"
)

// A wire is all that one process has to the outside. A process that is killed cannot tell anybody any more: its wire is cut.
type wire struct {
	from *drtest.Region

	mu   sync.Mutex // guards the following
	open map[net.Conn]bool
	dead bool
}

var errCut = errors.New("lab: the process was killed")

// dial connects as net.Dialer.DialContext does.
func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := w.from.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		_ = c.Close()
		return nil, errCut
	}
	w.open[c] = true
	return &strand{c, w}, nil
}

// cut ends everything.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for c := range w.open {
		_ = c.Close()
	}
}

// A strand is one connection.
type strand struct {
	net.Conn
	wire *wire
}

// Close closes the connection.
func (s *strand) Close() error {
	s.wire.mu.Lock()
	delete(s.wire.open, s.Conn)
	s.wire.mu.Unlock()
	return s.Conn.Close()
}
