package proxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A Server is a real server that is a host of a simulated network. [Attach] makes it.
type Server struct {
	l      *simnet.Listener
	target string
	pairs  pairs
}

// dialTimeout is how long a connection to a real server may take.
const dialTimeout = 10 * time.Second

// Attach makes the real server at target, "host:port", a host of a zone under the address "name:port". Every
// simulated connection to it becomes a real one. [Server.Close] ends it and waits.
func Attach(n *simnet.Net, zone, address, target string) (*Server, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, fmt.Errorf("proxy: Attach(%q): target: %w", address, err)
	}
	l, err := n.Listen(zone, address)
	if err != nil {
		return nil, fmt.Errorf("proxy: Attach(%q): %w", address, err)
	}
	s := &Server{l: l, target: target}
	s.pairs.init()
	s.pairs.tasks.Go(s.accept)
	return s, nil
}

// Target returns the address of the real server.
func (s *Server) Target() string { return s.target }

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.pairs.tasks.Go(func() { s.serve(c.(*simnet.Conn)) })
	}
}

// serve carries one connection to the real server.
func (s *Server) serve(c *simnet.Conn) {
	ctx, cancel := context.WithTimeout(s.pairs.ctx, dialTimeout)
	defer cancel()
	real, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.target)
	if err != nil {
		c.Reset()
		return
	}
	s.pairs.carry(c, real.(*net.TCPConn))
}

// Close stops accepting, resets every connection and waits for the goroutines.
func (s *Server) Close() error {
	err := s.l.Close()
	s.pairs.close()
	return err
}

// pairs are the connections of a proxy: each a simulated one and a real one.
type pairs struct {
	ctx    context.Context // ends with the proxy
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu  sync.Mutex // guards all
	all map[*pair]bool
}

func (p *pairs) init() {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.all = map[*pair]bool{}
}

// carry joins two connections until both directions have ended.
func (p *pairs) carry(sim *simnet.Conn, real *net.TCPConn) {
	pair := newPair(sim, real)
	p.mu.Lock()
	p.all[pair] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.all, pair)
	}()
	if p.ctx.Err() != nil {
		pair.reset()
		return
	}
	pair.run()
}

// close resets all connections and waits for the goroutines. New ones must have been stopped.
func (p *pairs) close() {
	p.cancel()
	p.mu.Lock()
	for pair := range p.all {
		pair.reset()
	}
	p.mu.Unlock()
	p.tasks.Wait()
}
