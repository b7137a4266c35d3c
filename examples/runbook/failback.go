package main

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// An operator is what the people of the databases can do. In production these are steps.Exec, or a steps.Cluster on the database's machine.
type operator struct {
	start  func(context.Context, failover.Region) error
	rewind func(ctx context.Context, old, primary failover.Region) error
}

// failback brings the lost Region back and the writer home, while the service runs.
func (f *fleet) failback(home failover.Region, op operator, report func(context.Context, []steps.Divergence) error, postMortem string, facts func() string) (*runbook.Runbook, error) {
	away := west
	start := runbook.Step{
		Name: "start the old primary", Phase: "rebuild",
		Check: question(func(ctx context.Context) (bool, error) { return f.dbs[home].PingContext(ctx) == nil, nil }),
		Do:    func(ctx context.Context) error { return op.start(ctx, home) },
	}
	fence := steps.FenceOldWriter("fence the old writer",
		func(ctx context.Context) error { return failoversql.FenceOld(dialect, f.dbs)(ctx, *f.move(home)) },
		func(ctx context.Context) (bool, error) {
			sample, err := dialect.Lag(ctx, f.dbs[home])
			return sample.Epoch > f.move(home).Epoch, err
		})
	fence.Waive = false // here it can be reached
	list := steps.ListDivergence("list the divergence", f.dbs[home], f.dbs[away], map[string]string{"orders": "id"}, report)
	rebuild := steps.RebuildReplica("rebuild the old primary", f.dbs[away], f.dbs[home], func(ctx context.Context) error { return op.rewind(ctx, home, away) }, nil)
	rebuild.Once = true // it will be the writer
	ready := watch("wait until it is healthy", "rebuild", func() error {
		if h := f.status().Health[home]; h != failover.HealthHealthy {
			return fmt.Errorf("%s is %v", home, h)
		}
		return nil
	})
	back := runbook.Step{
		Name: "move the writer home", Phase: "move", Timeout: rto,
		Do: func(ctx context.Context) error {
			_, err := f.sites[away].ctl.Failover(ctx, home, failover.Request{Planned: true, By: "ann", Second: "bob", Reason: "failback"})
			return err
		},
		Verify: func(context.Context) (runbook.State, error) {
			switch d := f.status(); {
			case d.Phase != failover.PhaseSteady:
				return runbook.StateBlocked, nil
			case d.Writer != home:
				return runbook.StateNeeded, nil
			}
			return runbook.StateDone, nil
		},
	}
	follow := steps.RebuildReplica("make the other Region follow", f.dbs[home], f.dbs[away], func(ctx context.Context) error { return op.rewind(ctx, away, home) }, nil)
	validate := steps.SmokeTest("validate", func(ctx context.Context) error {
		_, err := f.place(ctx, "smoke-"+runbook.RunID(ctx))
		return err
	})
	validate.Once = true
	return inOrder("failback to "+home, start, fence, list, rebuild, ready, back, follow, validate, writeDown("post-mortem", postMortem, facts))
}

// question makes a Check of a question.
func question(yes func(context.Context) (bool, error)) func(context.Context) (runbook.State, error) {
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
