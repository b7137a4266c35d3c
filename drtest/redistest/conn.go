package redistest

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// A conn is one client's connection.
type conn struct {
	net.Conn
	id         uint64
	peer       *server.Peer
	engine     *engine // a fail-over gives the server another one; this connection stays with its own
	db         int
	multi      bool // between MULTI and EXEC
	adrift     bool // db may be wrong: it was changed in a transaction
	subscribed bool
}

// serve answers one client until it hangs up.
func (s *Server) serve(nc net.Conn) {
	c := &conn{Conn: nc, peer: server.NewPeer(bufio.NewWriter(nc))}
	defer func() { _ = c.Close() }()
	if !s.enter(c) {
		return
	}
	defer s.leave(c)
	r := bufio.NewReader(nc)
	for {
		args, err := readCommand(r)
		if err != nil {
			if bad, ok := err.(protocolError); ok { //nolint:errorlint // readCommand returns it bare
				c.peer.WriteError("ERR Protocol error: " + string(bad))
				c.peer.Flush()
			}
			return
		}
		if !s.handle(c, args) {
			return
		}
	}
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return false
	default:
	}
	s.lastConn++
	c.id, c.engine = s.lastConn, s.engine
	s.conns[c] = true
	return true
}

// leave forgets the connection, and ends its subscriptions and what its followers keep of it.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.subscribed {
		c.engine.Server().Dispatch(c.peer, []string{"UNSUBSCRIBE"})
		c.engine.Server().Dispatch(c.peer, []string{"PUNSUBSCRIBE"})
	}
	s.logLocked(c, nil)
}

func (s *Server) isClosed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// handle runs one command and reports whether the connection goes on.
func (s *Server) handle(c *conn, args []string) bool {
	name := strings.ToUpper(args[0])
	f, ok := s.admit(name)
	if !ok {
		return false
	}
	if f.Error != "" {
		c.peer.WriteError(f.Error)
	} else {
		s.run(c, name, args)
	}
	if f.DropReply {
		return false
	}
	c.peer.Flush()
	return !c.peer.Closed()
}

// admit waits while the server is paused, counts the command and waits for a fault's latency; ok is
// false when the server ended meanwhile.
func (s *Server) admit(name string) (f Fault, ok bool) {
	s.mu.Lock()
	for s.paused != nil {
		gate := s.paused
		s.mu.Unlock()
		select {
		case <-gate:
		case <-s.done:
			return f, false
		}
		s.mu.Lock()
	}
	s.counts[name]++
	f = s.hitLocked(name)
	s.mu.Unlock()
	if status, _, hit := s.region.Disturbed(s.host, name); hit && (&Fault{}).matches(name) {
		f.Error = refusal(status)
	}
	if delay, lost := s.region.Hindered(s.host, name); (&Fault{}).matches(name) {
		f.Latency, f.DropReply = f.Latency+delay, f.DropReply || lost
	}
	return f, s.delay(f.Latency)
}

// refusal is the error of Redis that is closest to an HTTP status.
func refusal(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return "ERR max number of clients reached"
	case http.StatusServiceUnavailable:
		return "LOADING Redis is loading the dataset in memory"
	}
	return "ERR injected fault"
}

func (s *Server) delay(d time.Duration) bool {
	if d <= 0 {
		return !s.isClosed()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

// run has miniredis do the command. Commands run one at a time under the lock, so that replicas see
// them in the order in which they took effect; one that may block runs without it.
func (s *Server) run(c *conn, name string, args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickLocked()
	engine := c.engine.Server()
	switch {
	case c.engine != s.engine:
		c.peer.Close() // the command arrived as the fail-over cut the connection
	case s.source != nil && s.engine.writes(name):
		c.peer.WriteError("READONLY You can't write against a read only replica.")
	case !c.multi && blocks(name, args):
		s.mu.Unlock()
		engine.Dispatch(c.peer, args)
		s.mu.Lock()
	default:
		if !c.multi {
			c.engine.count(name, args)
		}
		if !s.runScript(c, name, args) {
			engine.Dispatch(c.peer, args)
		}
		c.follow(name, args)
		s.learnLocked(name, args)
		if s.engine.writes(name) || c.shapes(name) {
			s.logLocked(c, args)
		}
	}
}

// runScript runs a script that is known, and reports whether it has.
func (s *Server) runScript(c *conn, name string, args []string) bool {
	return name == "EVALSHA" && len(args) > 1 && !c.multi && !c.adrift && s.engine.lab.run(c, s.scripts[args[1]].proto, args)
}

// follow keeps what the connection's later commands depend on.
func (c *conn) follow(name string, args []string) {
	switch name {
	case "MULTI":
		c.multi = true
	case "EXEC", "DISCARD":
		c.multi = false
	case "SUBSCRIBE", "PSUBSCRIBE":
		c.subscribed = true
	case "SELECT":
		c.adrift = c.adrift || c.multi
		if len(args) == 2 && !c.multi {
			if n, err := strconv.Atoi(args[1]); err == nil {
				c.db = n
			}
		}
	}
}

// shapes reports whether a command changes what later commands do, of the connection or all.
func (c *conn) shapes(name string) bool {
	switch name {
	case "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SELECT", "SCRIPT":
		return true
	}
	return c.multi
}

// blocks reports whether a command may wait for other clients.
func blocks(name string, args []string) bool {
	switch name {
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP":
		return true
	case "XREAD", "XREADGROUP":
		return slices.ContainsFunc(args, func(a string) bool { return strings.EqualFold(a, "BLOCK") })
	}
	return false
}
