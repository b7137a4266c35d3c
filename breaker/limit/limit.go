package limit

import (
	"context"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// A Permit is the right to make one call, given by [Adaptive.Acquire] or [Throttle.Acquire]. Call Done exactly
// once, also when the call panics: the Do forms see to that. Done twice panics where it can be seen, when an
// Adaptive would have fewer than no calls in flight; elsewhere it counts twice.
type Permit struct {
	gate gate
	ctx  context.Context
	call started
}

// started is what the end of a call must know of its start.
type started struct {
	at   int64 // nanoseconds since the gate's base
	load int64 // calls in flight then
}

// A gate is a limit that learns from results.
type gate interface {
	admit(ctx context.Context) (started, error)
	done(ctx context.Context, call started, err error)
}

// Done ends the call with its result.
func (p Permit) Done(err error) {
	if p.gate == nil {
		panic("limit: Done of a zero Permit")
	}
	p.gate.done(p.ctx, p.call, err)
}

func acquire(ctx context.Context, g gate) (Permit, error) {
	call, err := g.admit(ctx)
	if err != nil {
		return Permit{}, err
	}
	return Permit{gate: g, ctx: ctx, call: call}, nil
}

// do runs call between admit and done. A panic or Goexit is a failure and passes through.
func do[G gate](ctx context.Context, g G, call func(context.Context) error) error {
	at, err := g.admit(ctx)
	if err != nil {
		return err
	}
	err = errAbandoned
	defer func() { g.done(ctx, at, err) }()
	err = call(ctx)
	return err
}

// The checks and defaults of configurations.

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func within[T int | float64 | time.Duration](field string, v, least, most T) error {
	if v != 0 && !(v >= least && v <= most) {
		return fmt.Errorf("%s: %v is outside [%v, %v]", field, v, least, most)
	}
	return nil
}

// firstOf returns the first error, named after its configuration.
func firstOf(config, name string, checks ...error) error {
	for _, err := range checks {
		if err != nil {
			return fmt.Errorf("limit %q: %s.%w", name, config, err)
		}
	}
	return nil
}

const (
	forever = time.Duration(math.MaxInt64)
	maxInt  = math.MaxInt32
)

func nameSet(name string) telemetry.Set { return telemetry.NewSet(attribute.String("name", name)) }

func kindSet(name, kind string) telemetry.Set {
	return telemetry.NewSet(attribute.String("name", name), attribute.String("kind", kind))
}
