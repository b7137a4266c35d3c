package failoversql_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// What the package comment says roles must be allowed to do is enough, and for who raises the epoch beside another role's sessions not more
// than it takes.
func TestWhatTheRolesMayDo(t *testing.T) {
	server := servertest.Start(t, servertest.Postgres)
	owner := connect(t, server.Addr())
	if err := dialect.Install(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	as := func(role string) string {
		address, err := url.Parse(server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		address.User = url.UserPassword(role, "x")
		return address.String()
	}
	for _, role := range []string{"app", "operator"} {
		server.Query("create role " + role + " login password 'x'")
		server.Query("grant select, update on holdfast_fence to " + role)
		server.Query("grant select, insert, update on holdfast_heartbeat to " + role)
		server.Query("grant select, insert on holdfast_unknown_writes to " + role)
	}
	server.Query("create table effects (id int primary key, epoch text)")
	server.Query("grant insert on effects to app")
	app, operator := connectHolding(t, as("app")), connect(t, as("operator"))
	if _, err := failoversql.Tx(t.Context(), single(t, app), dialect, insert(1)); err != nil {
		t.Fatalf("Tx by app = %v", err)
	}
	if err := dialect.Beat(t.Context(), app); err != nil {
		t.Errorf("Beat by app = %v", err)
	}
	if _, err := dialect.Lag(t.Context(), app); err != nil {
		t.Errorf("Lag by app = %v", err)
	}
	if err := dialect.Record(t.Context(), app, failover.UnknownWrite{ID: "a"}); err != nil {
		t.Errorf("Record by app = %v", err)
	}

	raised := failover.Fence{Epoch: 1 << 50, DecisionID: "d"}
	err := dialect.Raise(t.Context(), operator, raised)
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); !ok || state.SQLState() != "42501" || !strings.Contains(err.Error(), "ending sessions that hold the fence") {
		t.Errorf("Raise by another role = %v, want that it may not end sessions", err)
	}
	if got := server.Query("select epoch < 1 << 40 from holdfast_fence"); !strings.Contains(got, "t") {
		t.Errorf("the epoch after a refused Raise: %q", got)
	}
	server.Query("grant pg_signal_backend to operator")
	if err := dialect.Raise(t.Context(), operator, raised); err != nil {
		t.Errorf("Raise by a role that may end sessions = %v", err)
	}
	raised.Epoch++
	if err := dialect.Raise(t.Context(), app, raised); err != nil {
		t.Errorf("Raise by the sessions' own role = %v", err)
	}
}
