package service

import (
	"context"
	"errors"
	"slices"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/internal/planted"
)

// What follows is the wiring with the defects that tests plant. Without one each function is the value that it is given.

// once is the guard's, or none under the bug.
func once(g *idempotency.Guard, bug planted.Bug) func(context.Context, string, func(context.Context) error) error {
	if planted.Has(bug) {
		return func(ctx context.Context, _ string, call func(context.Context) error) error { return call(ctx) }
	}
	return g.Once
}

var errRefused = errors.New("service: refused") // what the Region is blamed for

// around is the breakers'.
func around(g *breaker.Group, c *failover.Controller) func(context.Context, string, func(context.Context) error) error {
	if !planted.Has(planted.OpenCounts) {
		return g.Do
	}
	return func(ctx context.Context, region string, call func(context.Context) error) error {
		err := g.Do(ctx, region, call)
		if errors.Is(err, breaker.ErrOpen) {
			c.Observe(region, errRefused, 0)
		}
		return err
	}
}

// withKeys is the step that brings keys along.
func withKeys(step runbook.Step) []runbook.Step {
	if planted.Has(planted.NoResync) {
		return nil
	}
	return []runbook.Step{step}
}

// inOrder is the order in which stages stop.
func inOrder(stages ...holdfast.Stage) []holdfast.Stage {
	if planted.Has(planted.DrainReversed) {
		slices.Reverse(stages)
	}
	return stages
}
