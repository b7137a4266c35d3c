//go:build unix

package servertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// A Server is a private server of one test. Its methods fail the test when they cannot do what
// they say, so they must be called from the test's own goroutine.
type Server struct {
	t       testing.TB
	server  *servers.Server
	pg      *servers.Postgres // nil for another kind
	standby *Server
}

// Start starts a private server of the kind and waits until it answers. It ends with t, whatever
// state the test left it in, and also when the test binary is killed. It skips the test with
// -short and where the server is not installed. args are added to the command line of a Redis;
// no other kind takes any.
func Start(t testing.TB, kind Kind, args ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skipf("kit %s: no private servers with -short", kind)
	}
	if len(args) > 0 && kind != Redis {
		t.Fatalf("servertest: Start(%q) takes no arguments", kind)
	}
	s, err := start(t, kind, args)
	if missing, ok := errors.AsType[*servers.MissingError](err); ok {
		skip(t, string(kind), missing.Error())
	}
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	return s
}

func start(t testing.TB, kind Kind, args []string) (*Server, error) {
	ctx, at := t.Context(), servers.Place{Name: "private", Dir: t.TempDir()}
	switch kind {
	case Redis:
		return own(t)(servers.StartRedis(ctx, at, args...))
	case SQSEast:
		return own(t)(servers.StartFauxqs(ctx, at, "us-east-1"))
	case SQSWest:
		return own(t)(servers.StartFauxqs(ctx, at, "us-west-2"))
	case Moto:
		return own(t)(servers.StartMoto(ctx, at))
	case Postgres:
		return startPair(ctx, t, at.Dir)
	}
	return nil, fmt.Errorf("no kind %q", kind)
}

// own returns a function that ties a started server to t.
func own(t testing.TB) func(*servers.Server, error) (*Server, error) {
	return func(s *servers.Server, err error) (*Server, error) {
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("servertest: %v", err)
			}
		})
		return &Server{t: t, server: s}, nil
	}
}

func startPair(ctx context.Context, t testing.TB, dir string) (*Server, error) {
	first, second, err := servers.StartPostgres(ctx, servers.Place{Name: "primary", Dir: dir}, servers.Place{Name: "standby", Dir: dir})
	if err != nil {
		return nil, err
	}
	primary, _ := own(t)(first.Server, nil)
	standby, _ := own(t)(second.Server, nil)
	primary.pg, standby.pg, primary.standby = first, second, standby
	return primary, nil
}

// Addr returns host:port of a Redis, the endpoint URL of an SQS or moto server, the connection
// URL of a PostgreSQL. It never changes.
func (s *Server) Addr() string { return s.server.Addr() }

// Freeze stops every process of the server where it stands, and returns when none runs any more:
// connections stay open and new ones are accepted by the kernel, but nobody answers.
func (s *Server) Freeze() {
	s.t.Helper()
	s.must(s.server.Freeze())
}

// Resume lets a frozen server go on. What clients sent meanwhile is still done.
func (s *Server) Resume() { s.server.Resume() }

// Kill ends every process of the server at once, also of a frozen one, and returns when they are
// gone: connections are reset and new ones refused.
func (s *Server) Kill() {
	s.t.Helper()
	s.must(s.server.Kill())
}

// Restart kills the server if it runs, starts it again on the same address and data, and waits
// until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.must(s.server.Start(s.t.Context()))
}

// Standby returns the hot standby of a Postgres that [Start] returned, nil for any other server.
func (s *Server) Standby() *Server { return s.standby }

// Promote makes a standby a primary and returns when it accepts writes. The old primary, if it
// still runs, does not notice.
func (s *Server) Promote() {
	s.t.Helper()
	s.must(s.postgres().Promote(s.t.Context()))
}

// Rejoin makes an old primary a standby of primary, as an operator does after a failover: writes
// that primary never received are discarded with pg_rewind. It returns when s streams again.
func (s *Server) Rejoin(primary *Server) {
	s.t.Helper()
	s.must(s.postgres().Rejoin(s.t.Context(), primary.postgres()))
}

// AwaitReplay waits until a standby shows all that primary has committed so far.
func (s *Server) AwaitReplay(primary *Server) {
	s.t.Helper()
	s.must(s.postgres().AwaitReplay(s.t.Context(), primary.postgres()))
}

// Query runs one SQL statement on a PostgreSQL and returns its rows as lines, columns separated
// by "|". It is for what a test checks behind the back of the code under test.
func (s *Server) Query(sql string) string {
	s.t.Helper()
	out, err := s.postgres().Query(s.t.Context(), sql)
	s.must(err)
	return out
}

func (s *Server) postgres() *servers.Postgres {
	s.t.Helper()
	if s.pg == nil {
		s.t.Fatalf("servertest: %s is no PostgreSQL", s.server.Name())
	}
	return s.pg
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("servertest: %v", err)
	}
}
