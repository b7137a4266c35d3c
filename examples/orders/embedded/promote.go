package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

// promoteTakes is what the managed service takes to make a copy the primary.
const promoteTakes = 2 * time.Second

// promote is the part of the runbook that is about this kind of database.
func (f *Fleet) promote(t failover.Transition) []runbook.Step {
	from, to := f.Sites[t.From], f.Sites[t.To]
	writable := func(ctx context.Context) (runbook.State, error) { return to.writable(ctx) }
	swap := runbook.Step{
		Name: "make the old primary a copy", Needs: []string{"promote the copy"}, Only: runbook.OnlyPlanned,
		Check: func(ctx context.Context) (runbook.State, error) {
			state, err := from.writable(ctx)
			return map[runbook.State]runbook.State{runbook.StateDone: runbook.StateNeeded, runbook.StateNeeded: runbook.StateDone}[state], err
		},
		Do: func(context.Context) error {
			lost, err := from.Rebuild(to)
			if err == nil && len(lost) > 0 {
				err = fmt.Errorf("embedded: a planned move has lost %d orders", len(lost))
			}
			return err
		},
	}
	return []runbook.Step{{Name: "promote the copy", Check: writable, PointOfNoReturn: true, Do: func(ctx context.Context) error {
		select {
		case <-time.After(promoteTakes):
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err := to.Store.Promote(t.Epoch + 1) // above all that the old writer had; it opens at the next
			if err == nil {
				to.primary.Store(true)
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}, swap}
}

// writable asks the database of the Region whether it is a primary, with a write that changes nothing.
func (s *Site) writable(ctx context.Context) (runbook.State, error) {
	return s.writableFrom(ctx, s.Region)
}

// writableFrom is writable, asked from another Region.
func (s *Site) writableFrom(ctx context.Context, from *drtest.Region) (runbook.State, error) {
	db := sql.OpenDB(s.Store.Connector(from))
	defer db.Close()
	_, err := db.ExecContext(ctx, "DELETE ?", "nothing")
	if errors.Is(err, drtest.ErrReadOnly) {
		return runbook.StateNeeded, nil
	}
	if err != nil {
		return runbook.StateBlocked, err
	}
	return runbook.StateDone, nil
}
