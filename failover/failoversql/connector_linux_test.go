package failoversql_test

import (
	"context"
	"database/sql"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// A session that has been told to end but cannot, because its process is paused, may still commit when it wakes: Raise must wait.
func TestRaiseWaitsForTheEndOfPausedSessions(t *testing.T) {
	primary, db := pool{connect: connectHolding}.private(t)
	c := single(t, db)
	if _, err := failoversql.Tx(t.Context(), c, dialect, insert(1)); err != nil {
		t.Fatal(err)
	}
	raise := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return dialect.Raise(ctx, db, failover.Fence{Epoch: 2, DecisionID: "new"})
	}
	_, err := failoversql.Tx(t.Context(), c, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
		var process int
		if err := tx.QueryRowContext(ctx, `select pg_backend_pid()`).Scan(&process); err != nil {
			return 0, err
		}
		if err := syscall.Kill(process, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := raise(500 * time.Millisecond); err == nil {
			t.Error("Raise = nil while a session that holds the fence could still commit")
		}
		if err := syscall.Kill(process, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
		return insert(2)(ctx, tx)
	})
	if err == nil {
		t.Error("Tx of a session that was ended = nil, want an error")
	}
	if err := raise(20 * time.Second); err != nil {
		t.Errorf("Raise = %v", err)
	}
	if n := count(t, connect(t, primary.Addr())); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}
