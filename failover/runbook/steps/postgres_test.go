package steps_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func connect(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// A primary is lost with a write that its standby never got; the standby is promoted, the divergence listed, the old
// primary rebuilt.
func TestPromoteListAndRebuild(t *testing.T) {
	server := servertest.Start(t, servertest.Postgres)
	primary, standby := connect(t, server.Addr()), connect(t, server.Standby().Addr())
	exec(t, primary, `create table orders (id int primary key)`)
	exec(t, primary, `insert into orders values (1), (2)`)
	wait := steps.WaitReplication("wait", primary, standby)
	wait.Only = runbook.Always
	if _, err := run(t, wait); err != nil {
		t.Fatal(err)
	}
	server.Standby().Kill() // a frozen one would still find the write in its socket
	exec(t, primary, `insert into orders values (3)`)
	server.Kill()
	server.Standby().Restart()
	standby = connect(t, server.Standby().Addr())

	rep, err := run(t, steps.PromotePostgres("promote", standby))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("promoted after %v", rep.Took)
	exec(t, standby, `insert into orders values (4)`)
	if rep, err := run(t, steps.PromotePostgres("promote", standby)); err != nil || rep.Steps[0].Reason != "it was so already" {
		t.Errorf("second promotion = %v, %+v, want nothing done", err, rep.Steps[0])
	}

	server.Restart()
	primary = connect(t, server.Addr()) // the old pool holds connections to the killed process
	var found []steps.Divergence
	list := steps.ListDivergence("list", primary, standby, map[string]string{"orders": "id"}, func(_ context.Context, d []steps.Divergence) error {
		found = d
		return nil
	})
	if _, err := run(t, list); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !slices.Equal(found[0].OnlyOld, []string{"3"}) || !slices.Equal(found[0].OnlyNew, []string{"4"}) {
		t.Errorf("divergence %+v, want 3 only on the old side and 4 only on the new", found)
	}

	rebuild := steps.RebuildReplica("rebuild", standby, primary, func(context.Context) error {
		server.Rejoin(server.Standby())
		return nil
	}, nil)
	rebuild.Timeout = time.Minute
	if _, err := run(t, rebuild); err != nil {
		t.Fatal(err)
	}
	server.AwaitReplay(server.Standby())
	var n int
	if err := connect(t, server.Addr()).QueryRow(`select count(*) from orders where id in (1, 2, 4)`).Scan(&n); err != nil || n != 3 {
		t.Errorf("rebuilt replica has %d of 3 rows, %v", n, err)
	}
}
