package steps_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
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

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// state asks a step's Check.
func state(t *testing.T, s runbook.Step) (runbook.State, error) {
	t.Helper()
	return s.Check(t.Context())
}

// A primary is lost with writes that its standby never got; the standby is promoted as far as its guard lets it, the divergence is
// listed, the old primary rebuilt: by a rewind, and where that does nothing by a base backup.
func TestPromoteListAndRebuild(t *testing.T) {
	server := servertest.Start(t, servertest.Postgres)
	dialect := failoversql.PostgreSQL()
	primary, standby := connect(t, server.Addr()), connect(t, server.Standby().Addr())
	if err := dialect.Install(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	execute(t, primary, `create table orders (id int primary key, state text not null default 'new')`)
	execute(t, primary, `insert into orders values (1), (2)`)
	if err := dialect.Beat(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	waitsForTheStandby(t, primary, standby)

	server.Standby().Kill() // a frozen one would still find the writes in its socket
	execute(t, primary, `insert into orders values (3)`)
	execute(t, primary, `update orders set state = 'paid' where id = 2`)
	server.Kill()
	died := time.Now()
	server.Standby().Restart()
	standby = connect(t, server.Standby().Addr())

	guardHoldsThePromotion(t, standby, dialect, died)
	guard := steps.LossGuard{RPO: time.Minute, AcknowledgedUntil: died, Lag: dialect.Lag}
	rep, err := run(t, steps.PromotePostgres("promote", standby, guard))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("promoted after %v", rep.Took)
	execute(t, standby, `insert into orders values (4)`)
	if rep, err := run(t, steps.PromotePostgres("promote", standby, steps.LossGuard{})); err != nil || rep.Steps[0].Reason != "it was so already" {
		t.Errorf("second promotion = %v, %+v, want nothing done and no guard asked", err, rep.Steps[0])
	}

	server.Restart()
	primary = connect(t, server.Addr()) // the old pool holds connections to the killed process
	listsTheDivergence(t, primary, standby)

	rebuild := steps.RebuildReplica("rebuild", standby, primary, func(context.Context) error {
		server.Rejoin(server.Standby())
		return nil
	}, nil)
	rebuild.Timeout = 2 * time.Minute
	if _, err := run(t, rebuild); err != nil {
		t.Fatal(err)
	}
	server.AwaitReplay(server.Standby())
	if got := server.Query(`select string_agg(id || state, ' ' order by id) from orders`); got != "1new 2new 4new" {
		t.Errorf("rebuilt replica has %q, want the new primary's rows", got)
	}
	baseBackup(t, server, standby)
}

func waitsForTheStandby(t *testing.T, primary, standby *sql.DB) {
	t.Helper()
	wait := steps.WaitReplication("wait", primary, standby)
	wait.Only = runbook.Always
	if _, err := run(t, wait); err != nil {
		t.Fatal(err)
	}
	// Without a run: how long the run waits is not what this is about, and runbook's tests have it that a run's end says what Verify saw.
	wrong := steps.WaitReplication("wait", primary, primary)
	if s, err := wrong.Verify(t.Context()); s != runbook.StateBlocked || err == nil || !strings.Contains(err.Error(), "not in recovery") {
		t.Errorf("waiting for a primary = %v, %v, want blocked and an error that says that it is no standby", s, err)
	}
}

func guardHoldsThePromotion(t *testing.T, standby *sql.DB, dialect failoversql.Dialect, died time.Time) {
	t.Helper()
	for name, guard := range map[string]steps.LossGuard{
		"nobody knows until when it wrote": {Lag: dialect.Lag},
		"above the RPO":                    {RPO: time.Minute, AcknowledgedUntil: died.Add(time.Hour), Lag: dialect.Lag},
		"no heartbeat": {AcknowledgedUntil: died, Lag: func(context.Context, *sql.DB) (failover.LagSample, error) {
			return failover.LagSample{}, errors.New("relation does not exist")
		}},
		"more than was accepted": {RPO: time.Minute, AcknowledgedUntil: died.Add(time.Hour), Lag: dialect.Lag, Accept: &failover.AcceptLoss{Exposure: time.Minute}},
	} {
		step := steps.PromotePostgres("promote", standby, guard)
		if s, err := state(t, step); s != runbook.StateBlocked || err == nil {
			t.Errorf("%s: Check = %v, %v, want blocked", name, s, err)
		}
		if err := step.Do(t.Context()); err == nil {
			t.Errorf("%s: Do = nil, want the guard's error", name)
		}
	}
	accepted := steps.LossGuard{AcknowledgedUntil: died.Add(time.Hour), Lag: dialect.Lag, Accept: &failover.AcceptLoss{Exposure: failover.UnknownExposure, By: "ann"}}
	if s, err := state(t, steps.PromotePostgres("promote", standby, accepted)); s != runbook.StateNeeded || err != nil {
		t.Errorf("accepted: Check = %v, %v, want needed", s, err)
	}
}

func listsTheDivergence(t *testing.T, old, current *sql.DB) {
	t.Helper()
	var found []steps.Divergence
	list := steps.ListDivergence("list", old, current, map[string]string{"orders": "id", "holdfast_fence": "1"}, func(_ context.Context, d []steps.Divergence) error {
		found = d
		return nil
	})
	if _, err := run(t, list); err != nil {
		t.Fatal(err)
	}
	want := steps.Divergence{Table: "orders", OnlyOld: []string{"3"}, OnlyNew: []string{"4"}, Changed: []string{"2"}}
	if len(found) != 2 || !found[0].Empty() || fmt.Sprint(found[1]) != fmt.Sprint(want) {
		t.Errorf("divergence %+v, want none of the fence and %+v", found, want)
	}
}

// baseBackup rebuilds the replica where a rewind does nothing: on its own timeline it would stream never.
func baseBackup(t *testing.T, server *servertest.Server, primary *sql.DB) {
	t.Helper()
	server.Promote() // diverges again
	replica := connect(t, server.Addr())
	var data, bin string
	if err := replica.QueryRow(`select current_setting('data_directory'), setting from pg_config() where name = 'BINDIR'`).Scan(&data, &bin); err != nil {
		t.Fatal(err)
	}
	as, why := asOwner(data)
	if why != "" {
		t.Logf("base backup not tried: %s", why)
		return
	}
	inTest := func(f func()) func(context.Context) error {
		return func(context.Context) error { f(); return nil }
	}
	cluster := steps.Cluster{Data: data, Bin: bin, As: as, Source: server.Standby().Addr(), Stop: inTest(server.Kill), Start: inTest(server.Restart)}
	impatient := func(context.Context) error { return errors.New("no rewind required") }
	rebuild := steps.RebuildReplica("rebuild", primary, replica, impatient, cluster.BaseBackup)
	rebuild.Timeout = 2 * time.Minute
	if s, err := state(t, rebuild); s != runbook.StateNeeded || err != nil {
		t.Errorf("Check of a promoted replica = %v, %v, want needed", s, err)
	}
	if _, err := run(t, rebuild); err != nil {
		t.Fatal(err)
	}
	kept, err := exec.Command("sh", "-c", `ls -d "$1".diverged*`, "sh", data).Output()
	if err != nil || len(strings.Fields(string(kept))) != 1 {
		t.Errorf("the old data directory was not kept: %q, %v", kept, err)
	}

	server.Promote()
	if _, err := run(t, steps.RebuildReplica("rebuild", primary, replica, cluster.Rewind, nil)); err != nil {
		t.Fatal(err)
	}
	server.AwaitReplay(server.Standby())
}

// asOwner returns a command line that runs programs as the owner of the directory, or why there is none.
func asOwner(dir string) (as []string, why string) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err.Error()
	}
	owner := info.Sys().(*syscall.Stat_t)
	if int(owner.Uid) == os.Getuid() {
		return nil, ""
	}
	path, err := exec.LookPath("setpriv")
	if err != nil {
		return nil, err.Error()
	}
	return slices.Concat([]string{path, "--reuid", strconv.Itoa(int(owner.Uid)), "--regid", strconv.Itoa(int(owner.Gid)), "--clear-groups", "env", "HOME=" + dir}), ""
}
