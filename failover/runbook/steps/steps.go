package steps

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/internal/planted"
)

// Approve waits for n people other than the requester.
func Approve(name string, n int) runbook.Step {
	return runbook.Step{Name: name, Approve: n, Phase: "approve"}
}

// FenceOldWriter runs fence until fenced says that the old writer refuses writes. The step can be waived: an unreachable Region is fenced by
// its lease, and a person says so.
func FenceOldWriter(name string, fence func(context.Context) error, fenced func(context.Context) (bool, error)) runbook.Step {
	return runbook.Step{Name: name, Do: fence, Check: when(fenced), Waive: true, Phase: "fence"}
}

// DrainClients runs drain and waits until nothing is left in flight, as left counts it. It can be waived.
func DrainClients(name string, drain func(context.Context) error, left func(context.Context) (int, error)) runbook.Step {
	return runbook.Step{Name: name, Do: drain, Check: empty(left), Waive: true, Phase: "drain"}
}

// DrainStranded waits until a queue or spool that was left behind is empty, as left counts it. It can be waived: a Region that stays away
// keeps what it has.
func DrainStranded(name string, left func(context.Context) (int, error)) runbook.Step {
	step := waitFor(name, empty(left))
	step.Waive, step.Phase = true, "drain"
	return step
}

// SyncKeys runs resync, such as idempotency's Regional.Resync, and again until nothing is unsynced, as left counts it. It runs at least once, whatever
// left says: a process knows of its own keys, and those that are missing may have been another's.
func SyncKeys(name string, resync func(context.Context) error, left func(context.Context) (int, error)) runbook.Step {
	if planted.Has(planted.NoResync) {
		resync = func(context.Context) error { return nil }
		left = func(context.Context) (int, error) { return 0, nil }
	}
	return once(runbook.Step{Name: name, Phase: "sync"}, func(ctx context.Context) error {
		for {
			if err := resync(ctx); err != nil {
				return err
			}
			n, err := left(ctx)
			if err != nil || n == 0 {
				return err
			}
			if err := pause(ctx, time.Second); err != nil {
				return fmt.Errorf("%d keys unsynced: %w", n, err)
			}
		}
	})
}

// waitFor is a step that changes nothing and waits. Its Verify is polled; a Check would stop the run at once.
func waitFor(name string, done func(context.Context) (runbook.State, error)) runbook.Step {
	return runbook.Step{Name: name, Verify: done, Check: func(ctx context.Context) (runbook.State, error) {
		if state, err := done(ctx); err == nil && state == runbook.StateDone {
			return state, nil
		}
		return runbook.StateNeeded, nil
	}}
}

// when makes a Check of a question.
func when(yes func(context.Context) (bool, error)) func(context.Context) (runbook.State, error) {
	if yes == nil {
		return nil
	}
	return func(ctx context.Context) (runbook.State, error) {
		ok, err := yes(ctx)
		switch {
		case err != nil:
			return runbook.StateBlocked, err
		case ok:
			return runbook.StateDone, nil
		}
		return runbook.StateNeeded, nil
	}
}

func empty(left func(context.Context) (int, error)) func(context.Context) (runbook.State, error) {
	return when(func(ctx context.Context) (bool, error) {
		n, err := left(ctx)
		if err == nil && n < 0 {
			err = fmt.Errorf("%d left", n)
		}
		return n == 0, err
	})
}

// once makes of do the functions of a step that leaves nothing to be seen: it is done when do has returned nil in this process, or a
// runner has noted it. After a lost reply it is needed again, so repeating it must do no harm.
func once(step runbook.Step, do func(context.Context) error) runbook.Step {
	var returned sync.Map // of the tokens of runs
	step.Once = true
	step.Check = when(func(ctx context.Context) (bool, error) {
		_, ok := returned.Load(runbook.Token(ctx))
		return ok, nil
	})
	step.Do = func(ctx context.Context) error {
		err := do(ctx)
		if err == nil {
			returned.Store(runbook.Token(ctx), true)
		}
		return err
	}
	return step
}

// notRun says that a Do has changed nothing.
type notRun struct{ error }

func (notRun) NotRun() bool    { return true }
func (e notRun) Unwrap() error { return e.error }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
