//go:build unix

package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// rebuild makes a former writer's PostgreSQL a standby of the other one, by a runbook, and returns the orders that only it had. If it fails the next call
// resumes it.
func (l *Lab) rebuild(ctx context.Context, former failover.Region) (lost []string, err error) {
	move := l.lastMove(other(former))
	if move == nil || move.From != former {
		return nil, fmt.Errorf("lab: %s is not where the writer was moved from", former)
	}
	l.mu.Lock()
	id := fmt.Sprintf("rebuild-%d", l.rebuilt)
	l.mu.Unlock()
	book, err := l.rebuilding(former, *move)
	if err != nil {
		return nil, err
	}
	report, err := book.Run(ctx, id, runbook.Config{Journal: l.rebuilds, By: "ann", Reason: former + " is back", Logger: l.cfg.Logger})
	if err != nil {
		return nil, err
	}
	for _, s := range report.Steps {
		l.cfg.Say("  %s: %s", s.Name, s.State)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rebuilt++
	lost, l.diverged = l.diverged, nil
	return lost, nil
}

// rebuilding is the runbook: examples/runbook explains each step.
func (l *Lab) rebuilding(former failover.Region, move failover.Transition) (*runbook.Runbook, error) {
	old, current, dialect := l.dbs[former], l.dbs[other(former)], failoversql.PostgreSQL()
	pg := l.servers[former].pg
	start := runbook.Step{
		Name: "start PostgreSQL of " + former,
		Check: func(ctx context.Context) (runbook.State, error) {
			if old.PingContext(ctx) == nil {
				return runbook.StateDone, nil
			}
			return runbook.StateNeeded, nil
		},
		Do: pg.Start,
	}
	fence := steps.FenceOldWriter("fence the former writer",
		func(ctx context.Context) error { return failoversql.FenceOld(dialect, l.dbs)(ctx, move) },
		func(ctx context.Context) (bool, error) {
			sample, err := dialect.Lag(ctx, old)
			return sample.Epoch > move.Epoch, err
		})
	list := steps.ListDivergence("list the divergence", old, current, map[string]string{"orders": "id"}, l.diverges)
	rewind := steps.RebuildReplica("rebuild it from "+other(former), current, old, func(ctx context.Context) error {
		if err := pg.Rejoin(ctx, l.servers[other(former)].pg); err != nil {
			return err
		}
		return l.link(ctx, former, other(former))
	}, nil)
	rewind.Once = true // it will be the writer
	all := []runbook.Step{start, fence, list, rewind}
	for i := range all[1:] {
		all[i+1].Needs = []string{all[i].Name}
	}
	return runbook.New("rebuild "+former, all...)
}

// diverges takes the list.
func (l *Lab) diverges(_ context.Context, all []steps.Divergence) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diverged = nil
	for _, d := range all {
		l.diverged = append(l.diverged, d.OnlyOld...)
	}
	return nil
}

var errLostInPeace = errors.New("lab: a planned move has lost orders")

// restore makes the standby a copy again, after the writer was moved home as planned.
func (l *Lab) restore(ctx context.Context) error {
	lost, err := l.rebuild(ctx, real.West)
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("%w: %v", errLostInPeace, slices.Sorted(slices.Values(lost)))
	}
	return err
}

// lastMove is the last move that a process in r knows.
func (l *Lab) lastMove(r failover.Region) *failover.Transition {
	for _, c := range l.controllers(r) {
		if last := c.Status().Last; last != nil && last.To == r {
			return last
		}
	}
	return nil
}
