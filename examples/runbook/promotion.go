package main

import (
	"context"
	"database/sql"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// promotion is what the controller runs to make the target Region the writer, in an outage and in a planned move. Clients are let in
// when it returns.
func promotion(dbs map[failover.Region]*sql.DB, t failover.Transition) (*runbook.Runbook, error) {
	wait := steps.WaitReplication("wait for the last write", dbs[t.From], dbs[t.To])
	promote := steps.PromotePostgres("promote the database", dbs[t.To], steps.GuardOf(t, rpo, dialect.Lag))
	promote.Needs = []string{wait.Name}
	return runbook.New("promote "+t.To, wait, promote, restoreState("restore state", dbs[t.To], promote.Name))
}

// restoreState skips order numbers that the old writer may have given to orders that were lost: nobody gets one of them again.
func restoreState(name string, db *sql.DB, needs ...string) runbook.Step {
	return runbook.Step{
		Name: name, Needs: needs, Phase: "restore",
		Check: func(ctx context.Context) (state runbook.State, err error) {
			var done bool
			err = db.QueryRowContext(ctx, `select exists (select from restored where run = $1)`, runbook.RunID(ctx)).Scan(&done)
			if done {
				state = runbook.StateDone
			}
			return state, err
		},
		Do: func(ctx context.Context) error { // one statement: the numbers are skipped once
			_, err := db.ExecContext(ctx, `with run as (insert into restored values ($1) returning run)
				select setval('order_numbers', nextval('order_numbers') + 1000) from run`, runbook.RunID(ctx))
			return err
		},
	}
}
