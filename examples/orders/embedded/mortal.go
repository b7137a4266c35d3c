package embedded

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/queue"
)

// What follows is what a process reaches without its network: files, and memory that stands for a service. It ends with the life of the process; [drtest.Region.Machine] ends the rest.

// errDead is what a dead process is told, to which nothing matters any more.
var errDead = errors.New("embedded: the process is dead")

func alive(life context.Context) error {
	if life.Err() != nil {
		return errDead
	}
	return nil
}

// A mortalSpool writes nothing for a dead process. What is on disk the next process of the name finds.
type mortalSpool struct {
	queue.Spool
	life context.Context
}

// Append implements queue.Spool.
func (s mortalSpool) Append(ctx context.Context, o queue.Outgoing) error {
	if err := alive(s.life); err != nil {
		return err
	}
	return s.Spool.Append(ctx, o)
}

// Take implements queue.Spool.
func (s mortalSpool) Take(ctx context.Context, n int) ([]queue.Spooled, error) {
	if err := alive(s.life); err != nil {
		return nil, err
	}
	return s.Spool.Take(ctx, n)
}

// Settle implements queue.Spool.
func (s mortalSpool) Settle(m queue.Spooled, v queue.SpoolVerdict, why error) error {
	if err := alive(s.life); err != nil {
		return err
	}
	return s.Spool.Settle(m, v, why)
}

// A mortalJournal takes no entries of a dead process.
type mortalJournal struct {
	runbook.Journal
	life context.Context
}

// Acquire implements runbook.Journal.
func (j mortalJournal) Acquire(ctx context.Context, first runbook.Entry) (uint64, error) {
	if err := alive(j.life); err != nil {
		return 0, err
	}
	return j.Journal.Acquire(ctx, first)
}

// Append implements runbook.Journal.
func (j mortalJournal) Append(ctx context.Context, e runbook.Entry) error {
	if err := alive(j.life); err != nil {
		return err
	}
	return j.Journal.Append(ctx, e)
}

// A mortalUnknown takes no records of a dead process.
type mortalUnknown struct {
	failover.Ledger
	life context.Context
}

// Record implements failover.Ledger.
func (u mortalUnknown) Record(ctx context.Context, w failover.UnknownWrite) error {
	if err := alive(u.life); err != nil {
		return err
	}
	return u.Ledger.Record(ctx, w)
}

// mortalSteps are steps that a dead process does not do, and does not finish.
func mortalSteps(life context.Context, steps func(failover.Transition) []runbook.Step) func(failover.Transition) []runbook.Step {
	return func(t failover.Transition) []runbook.Step {
		list := steps(t)
		for n := range list {
			do, check := list[n].Do, list[n].Check
			list[n].Do = func(ctx context.Context) error {
				if err := alive(life); err != nil {
					return err
				}
				ctx, cancel := context.WithCancelCause(ctx)
				defer cancel(nil)
				defer context.AfterFunc(life, func() { cancel(errDead) })()
				return do(ctx)
			}
			list[n].Check = func(ctx context.Context) (runbook.State, error) {
				if err := alive(life); err != nil {
					return runbook.StateBlocked, err
				}
				return check(ctx)
			}
		}
		return list
	}
}
