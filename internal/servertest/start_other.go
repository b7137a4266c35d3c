//go:build !unix

package servertest

import "testing"

// A Server is a private server of one test. There are none on this system.
type Server struct{}

// Start skips the test: private servers need Linux or another Unix.
func Start(t testing.TB, kind Kind, _ ...string) *Server {
	t.Helper()
	skip(t, string(kind), "private servers need Linux or another Unix")
	return nil
}

// The methods exist so that tests compile; nothing can call them.
func (*Server) Addr() string        { return "" }
func (*Server) Freeze()             {}
func (*Server) Resume()             {}
func (*Server) Kill()               {}
func (*Server) Restart()            {}
func (*Server) Standby() *Server    { return nil }
func (*Server) Promote()            {}
func (*Server) Rejoin(*Server)      {}
func (*Server) AwaitReplay(*Server) {}
func (*Server) Query(string) string { return "" }
