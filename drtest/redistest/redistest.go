package redistest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

const port = "6379"

// A Server is one Redis server. It is safe for concurrent use. It lives until its World ends.
type Server struct {
	region   *drtest.Region
	host     string
	listener net.Listener
	done     chan struct{}
	running  sync.WaitGroup

	mu        sync.Mutex // guards all below; held while a command runs, never while one waits
	engine    *engine
	conns     map[*conn]bool
	lastConn  uint64
	scripts   map[string]script // by SHA-1: those that clients sent
	paused    chan struct{}
	faults    []*Fault
	followers []*follower
	standby   *follower
	source    *follower // what makes this server a replica; nil on one that takes writes
	counts    map[string]int
}

// Start runs a Redis server in the Region. A Region may have several; each has an address of its
// own. Start panics when another World that has a Redis server is still running in this process, unless both run
// in real time.
func Start(r *drtest.Region) *Server {
	claim(r.World())
	s := &Server{region: r, done: make(chan struct{}), conns: map[*conn]bool{}, counts: map[string]int{}, scripts: map[string]script{}}
	s.engine = newEngine(r.Now())
	s.host, s.listener = listen(r)
	s.running.Go(s.accept)
	r.OnClose(s.close)
	return s
}

// owner is the World whose bubble may use go-redis, nil for those in real time, and its number of servers.
var owner struct {
	sync.Mutex
	world   *drtest.World
	servers int
}

// claim takes the process for one World; go-redis keeps timers in a package-level pool, and a
// timer of one bubble is fatal in another. Worlds in real time can share them.
func claim(w *drtest.World) {
	if w.RealTime() {
		w = nil
	}
	owner.Lock()
	defer owner.Unlock()
	if owner.servers > 0 && owner.world != w {
		panic("redistest: another World with a Redis server is running; go-redis shares timers between bubbles, so such tests cannot run in parallel")
	}
	owner.world = w
	owner.servers++
}

func release() {
	owner.Lock()
	defer owner.Unlock()
	if owner.servers--; owner.servers == 0 {
		owner.world = nil // do not keep a World that has ended
	}
}

// listen takes the first free name in the Region.
func listen(r *drtest.Region) (host string, l net.Listener) {
	for n := 1; ; n++ {
		host = "redis." + r.HostPart() + ".internal"
		if n > 1 {
			host = fmt.Sprintf("redis-%d.%s.internal", n, r.HostPart())
		}
		l, err := r.Listen(net.JoinHostPort(host, port))
		if err == nil {
			return host, l
		}
		if !errors.Is(err, simnet.ErrInUse) {
			panic(fmt.Sprintf("redistest: Start in %q: %v", r.Name(), err))
		}
	}
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.serve(c) })
	}
}

// close ends the server and waits for its goroutines.
func (s *Server) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	close(s.done)
	s.cutLocked()
	s.engine.CtxCancel() // ends commands that block
	s.mu.Unlock()
	s.running.Wait()
	release()
}

// Addr returns the server's address in the World, an IP address and a port.
func (s *Server) Addr() string {
	ip, _ := s.region.World().Net().Addr(s.host)
	return net.JoinHostPort(ip.String(), port)
}

// Host returns the server's host name in the World's DNS.
func (s *Server) Host() string { return s.host }

// Options returns go-redis options for a client in the Region from. All but the address, the
// dialer and the maintenance notifications is go-redis' default; change what you like, but those.
func (s *Server) Options(from *drtest.Region) *redis.Options {
	return &redis.Options{
		Addr:                     s.Addr(),
		Dialer:                   from.DialContext,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Client returns a go-redis client in the Region from, with the [Server.Options]. The World closes
// it at its end; closing it before is allowed.
func (s *Server) Client(from *drtest.Region) *redis.Client {
	c := redis.NewClient(s.Options(from))
	from.OnClose(func() { _ = c.Close() })
	return c
}

// Inside returns the miniredis behind the server, to look at keys or set them past every client
// and fault. What is set there is not replicated. A fail-over or [Server.Follow] replaces it.
func (s *Server) Inside() *miniredis.Miniredis {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickLocked()
	return s.engine.Miniredis
}

// tickLocked brings the server to now: its clock, and a replica's data.
func (s *Server) tickLocked() {
	now := time.Now()
	if s.source != nil {
		now = s.source.apply()
	}
	s.engine.at(now.Add(s.skew()))
}

// skew is how far the Region's clock is off.
func (s *Server) skew() time.Duration { return time.Until(s.region.Now()) }

// Commands returns how often a command, such as "SET", was run for clients. Commands inside
// transactions and scripts are not counted by name, EXEC and EVAL are.
func (s *Server) Commands(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[name]
}

// Flush loses all data, on the server and on what follows it. It is what a restart without
// persistence comes to, when the replicas synchronize with it before anybody promotes them.
func (s *Server) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickLocked()
	s.engine.FlushAll()
	for _, f := range s.allLocked() {
		f.reset(s)
	}
}

// Restart cuts every connection; the data stays.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutLocked()
}

func (s *Server) cutLocked() {
	for c := range s.conns {
		_ = c.Close()
	}
}

// Pause freezes the server until resume is called: it accepts connections and commands and answers
// none. A command that waits when the server resumes is run then, whether its client still waits or
// not. A second Pause while one holds is the same pause.
func (s *Server) Pause() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == nil {
		s.paused = make(chan struct{})
	}
	gate := s.paused
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.paused == gate {
			s.paused = nil
			close(gate)
		}
	}
}
