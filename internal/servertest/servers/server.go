//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A Place says where a server lives.
type Place struct {
	Name string // names the server's folder, its log and every error
	Dir  string // holds the folder and the log of the server
	Port int    // zero picks a free one
}

// A Server is one running server. Its address and its folder stay the same for its whole life.
// All methods may be called by several goroutines.
type Server struct {
	name    string
	port    int
	given   bool // the port was asked for by number
	lease   *lease
	argv    func(port int) []string
	env     []string
	dir     string
	log     string
	as      *account
	death   syscall.Signal // ends the server at once and lets it clean up if it can
	answers func(ctx context.Context) error
	address func(port int) string
	cleanup func()

	mu     sync.Mutex // guards the rest
	child  *child
	frozen []Proc // what Freeze stopped
}

// patience bounds every single step that is quick on a healthy machine: a stop, a kill.
const patience = 20 * time.Second

// startPatience is how long a server may take to answer. HOLDFAST_START_TIMEOUT changes it.
func startPatience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("HOLDFAST_START_TIMEOUT")); err == nil && d > 0 {
		return d
	}
	return time.Minute
}

// Name returns the name of the server's [Place].
func (s *Server) Name() string { return s.name }

// Addr returns what a client needs to reach the server: host:port for Redis, the endpoint URL
// for SQS, a connection URL for PostgreSQL.
func (s *Server) Addr() string { return s.address(s.port) }

// Log returns the path of the server's log.
func (s *Server) Log() string { return s.log }

// Proc returns the process of the server; of a server that was killed, the one that it was.
func (s *Server) Proc() Proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return Proc{}
	}
	return s.child.Proc
}

// Check asks the server for an answer.
func (s *Server) Check(ctx context.Context) error {
	if err := s.answers(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// init fills in what every server has in common.
func (s *Server) init(p Place) *Server {
	s.name, s.port, s.given = p.Name, p.Port, p.Port != 0
	s.log = filepath.Join(p.Dir, p.Name+".log")
	if s.death == 0 {
		s.death = syscall.SIGKILL
	}
	return s
}

// open starts the server for the first time. A picked port may be taken by a stranger between
// the look and the start; then it picks another.
func (s *Server) open(ctx context.Context) error {
	for try := 1; ; try++ {
		if !s.given {
			l, err := leasePort()
			if err != nil {
				return err
			}
			s.lease.release()
			s.lease, s.port = l, l.port
		} else if !portFree(s.port) {
			return fmt.Errorf("%s: port %d is taken by another program: free it or choose another in HOLDFAST_PORTS", s.name, s.port)
		}
		err := s.Start(ctx)
		if err == nil {
			return nil
		}
		if s.given || portFree(s.port) || try == 3 {
			return errors.Join(err, s.Close())
		}
	}
}

// Start starts a server that was stopped or killed, on the same port and folder, and waits until
// it answers. It does nothing when the server runs. When it returns an error, nothing runs.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child != nil && s.child.running() {
		return nil
	}
	c, err := spawn(s.argv(s.port), s.env, s.dir, s.log, s.as, s.death)
	if err != nil {
		return fmt.Errorf("%s: start: %w", s.name, err)
	}
	s.child = c
	if err := s.awaitLocked(ctx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w%s", s.name, err, s.lastWords()), s.endLocked())
	}
	return nil
}

// awaitLocked waits until the server answers, or has ended.
func (s *Server) awaitLocked(ctx context.Context) error {
	limit := startPatience()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	answered := poll(ctx, func() bool {
		if !s.child.running() {
			return true
		}
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		last = s.answers(ask)
		return last == nil
	})
	switch {
	case !s.child.running():
		return fmt.Errorf("ended at its start: %w", s.child.err)
	case answered:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v: %w", limit, last)
	}
	return context.Cause(ctx)
}

// lastWords quotes the end of the log for an error message.
func (s *Server) lastWords() string {
	data, _ := os.ReadFile(s.log)
	return tail(data)
}

// Freeze stops every process of the server where it stands: connections stay open, new ones are
// accepted by the kernel, nobody answers. It returns when nothing of the server runs any more.
//
// When this process ends meanwhile, the system lets the server go on and end: its process group
// is stopped and has lost its parent, and POSIX continues such a group.
func (s *Server) Freeze() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		return nil
	}
	if s.child == nil || !s.child.running() {
		return fmt.Errorf("%s: freeze: not running", s.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := s.child.freeze(ctx)
	if err != nil {
		return fmt.Errorf("%s: freeze: %w", s.name, err)
	}
	s.frozen = all
	return nil
}

// Resume lets a frozen server go on. It does nothing when the server is not frozen.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeLocked()
}

func (s *Server) resumeLocked() {
	for _, p := range s.frozen {
		p.signal(syscall.SIGCONT)
	}
	s.frozen = nil
}

// Kill ends every process of the server at once, without a chance to write anything, and returns
// when they are gone. Nobody listens on its port then. It does nothing when the server is down.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil || !s.child.running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.child.kill(ctx)
	s.frozen = nil
	if err != nil {
		return fmt.Errorf("%s: kill: %w", s.name, err)
	}
	return nil
}

// endLocked ends the server the quickest way that lets it clean up.
func (s *Server) endLocked() error {
	s.resumeLocked()
	if s.child == nil || !s.child.running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	s.child.signal(s.death)
	select {
	case <-s.child.ended:
		return nil
	case <-ctx.Done():
	}
	ctx, cancel = context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	return s.child.kill(ctx)
}

// Close ends the server and removes its folder and gives its port back. The log stays.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.endLocked()
	if s.cleanup != nil {
		s.cleanup()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	s.lease.release()
	return err
}
