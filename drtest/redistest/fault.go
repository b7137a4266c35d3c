package redistest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Fault spoils commands. [Server.Inject] starts it.
type Fault struct {
	// Command is the command in upper case, such as "SET"; a script is "EVAL" or "EVALSHA", a
	// transaction "EXEC". Empty means every command but those with which a client sets up a
	// connection (HELLO, AUTH, CLIENT, SELECT, PING).
	Command string

	// Times is how many commands are hit before the fault ends by itself. Zero means no end.
	Times int

	// Latency delays the command. A client that gives up meanwhile does not stop it.
	Latency time.Duration

	// Error is answered instead of running the command, such as "LOADING Redis is loading the
	// dataset in memory" or "OOM command not allowed when used memory > 'maxmemory'.".
	Error string

	// DropReply runs the command and then cuts the connection: the client cannot know that it ran.
	DropReply bool
}

func (f *Fault) check() error {
	switch {
	case f.Command != strings.ToUpper(f.Command) || strings.ContainsAny(f.Command, " \r\n"):
		return fmt.Errorf("redistest: Fault.Command: %q is not a command in upper case", f.Command)
	case f.Times < 0:
		return fmt.Errorf("redistest: Fault.Times: %d is negative", f.Times)
	case f.Latency < 0:
		return fmt.Errorf("redistest: Fault.Latency: %v is negative", f.Latency)
	case strings.ContainsAny(f.Error, "\r\n"):
		return fmt.Errorf("redistest: Fault.Error: %q is more than a line", f.Error)
	case f.Latency == 0 && f.Error == "" && !f.DropReply:
		return fmt.Errorf("redistest: Fault: it does nothing: set Latency, Error or DropReply")
	}
	return nil
}

// Inject starts a fault and returns the function that ends it. The first fault that matches a
// command hits it. Inject panics when the fault is contradictory or does nothing.
func (s *Server) Inject(f Fault) (end func()) {
	if err := f.check(); err != nil {
		panic(err.Error())
	}
	own := &f
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, own)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endLocked(own)
	}
}

func (s *Server) endLocked(f *Fault) {
	s.faults = slices.DeleteFunc(s.faults, func(g *Fault) bool { return f == g })
}

// hitLocked returns the fault that hits a command, and uses it up.
func (s *Server) hitLocked(name string) Fault {
	for _, f := range s.faults {
		if !f.matches(name) {
			continue
		}
		hit := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.endLocked(f)
			}
		}
		return hit
	}
	return Fault{}
}

func (f *Fault) matches(name string) bool {
	if f.Command != "" {
		return f.Command == name
	}
	switch name {
	case "HELLO", "AUTH", "CLIENT", "SELECT", "PING":
		return false
	}
	return true
}
