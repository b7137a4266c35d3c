package retry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/caller"
)

// Unlimited is a [Policy.MaxAttempts] that leaves the end to the context, MaxElapsed, the schedule and the budget.
const Unlimited = -1

const (
	defaultMaxAttempts = 4
	defaultMaxHint     = 30 * time.Second
	defaultBase        = 50 * time.Millisecond
	defaultLimit       = 5 * time.Second
)

// A Policy says how often, when and which calls are repeated. The zero value is ready to use, and so is a nil
// *Policy, which has the same defaults but neither a budget nor metrics.
//
// Make one long-lived value per dependency and share its address: it carries a budget and counts, and is safe
// for concurrent use. It must not be changed once used. A copy of a used Policy starts with a budget
// and counts of its own; go vet (copylocks) reports such copies.
type Policy struct {
	// Name is the dependency's, in errors, metrics and logs. Nested calls with one Name share their
	// attempts: see [WithAttempt].
	Name string

	// MaxAttempts is how many attempts a call makes in total. Zero means 4. [Unlimited] is not
	// limited; other values below zero are an error.
	MaxAttempts int

	// MaxElapsed is how long after the start of the call the last attempt may start. Zero means no limit. It does
	// not interrupt an attempt: that is what the context and AttemptTimeout do. It costs a clock read per call.
	MaxElapsed time.Duration

	// MaxHint is how much an error's RetryAfter may add to the schedule's own delay. Zero means 30 s. A longer hint
	// is cut to own delay + MaxHint; a shorter one never shortens the own delay.
	MaxHint time.Duration

	// AttemptTimeout ends the context of each attempt. Zero means none. The context ends with the attempt
	// too: what fn returns must not need it. An attempt that ends so is [Transient]. It costs a context and a timer.
	AttemptTimeout time.Duration

	// Backoff makes the schedule of a call. It runs at the call's first failure, on its goroutine and concurrently with
	// itself. Nil means FullJitter(50ms, 5s). A delay below zero stops the call, as [backoff.Stop] does.
	Backoff func() backoff.BackOff

	// Budget pays for repetitions. Nil means a private one of 20 % of the calls plus 3 a second, which lives with this
	// value. [NoBudget] opts out.
	Budget *Budget

	// Retryable reports whether a call that ended with err may be repeated. It runs on the caller's goroutine and
	// concurrently with itself, and is not asked when the caller's context has ended or err is marked Permanent. Nil means [Transient].
	Retryable func(err error) bool

	// OnRetry, if set, is called before each wait for a further attempt, after the budget has paid for it, on
	// the caller's goroutine.
	OnRetry func(context.Context, Attempt)

	// Logger receives one warning when a call is given up after a repeatable failure. Nil is silent.
	Logger *slog.Logger

	// MeterProvider receives the metrics of docs/metrics.md. Nil means OpenTelemetry's global provider.
	MeterProvider metric.MeterProvider

	// TracerProvider receives a span "retry" from the first failure of a call to its end, if the call belongs to a span that
	// is recorded. Nil means OpenTelemetry's global provider.
	TracerProvider trace.TracerProvider

	state atomic.Pointer[state] // made at the first use
}

// Do calls fn until it returns a nil error, and returns its value. It returns
//
//   - fn's error as it is, with fn's value, if the first attempt's error is not to be repeated: it is Permanent or not
//     Retryable, it is the context's own, or this call is part of a repeated attempt (see [WithAttempt]);
//   - else an [Error] that wraps the last attempt's error, with the last attempt's value;
//   - an Error with Attempts 0 and no value if fn never ran, because the context had ended or the policy or fn is unusable.
//
// Attempts run on the caller's goroutine, one after the other; panics pass through. From the second on their context
// carries the attempt for [From]. A first attempt that succeeds costs no allocation, lock or clock.
func Do[T any](ctx context.Context, p *Policy, fn func(context.Context) (T, error)) (T, error) {
	s := p.madeState()
	if s == nil || !s.plain || fn == nil || ctx.Err() != nil {
		return doWithCare(ctx, p.stateOf(), fn)
	}
	s.budget.payIn(ctx, s.owner)
	value, err := fn(ctx)
	if err == nil {
		return value, nil
	}
	q := Sequence{ctx: ctx, state: s, retryable: s.owner.Retryable, attempts: 1}
	return repeat(&q, fn, value, err)
}

// Do is the method twin of the function [Do] for calls without a value.
func (p *Policy) Do(ctx context.Context, call func(context.Context) error) error {
	s := p.madeState()
	if s == nil || !s.plain || call == nil || ctx.Err() != nil {
		return p.stateOf().doWithCare(ctx, call)
	}
	s.budget.payIn(ctx, s.owner)
	err := call(ctx)
	if err == nil {
		return nil
	}
	q := Sequence{ctx: ctx, state: s, retryable: s.owner.Retryable, attempts: 1}
	return q.repeat(call, err)
}

// doWithCare is Do for calls that must not start, for policies that need the time of the start, and for their first use.
func doWithCare[T any](ctx context.Context, s *state, fn func(context.Context) (T, error)) (value T, err error) {
	if fn == nil {
		return value, s.refuse(ctx, true)
	}
	err = s.doWithCare(ctx, func(ctx context.Context) error {
		value, err = fn(ctx)
		return err
	})
	return value, err
}

func (s *state) doWithCare(ctx context.Context, call func(context.Context) error) error {
	if refused := s.begin(ctx, call == nil); refused != nil {
		return refused
	}
	q := Sequence{ctx: ctx, state: s, retryable: s.owner.Retryable, attempts: 1}
	if s.timed {
		q.started = time.Now()
	}
	err := q.attempt(call)
	if err == nil {
		return nil
	}
	return q.repeat(call, err)
}

// repeat repeats fn after its first failure with err.
func repeat[T any](q *Sequence, fn func(context.Context) (T, error), value T, err error) (T, error) {
	err = q.repeat(func(ctx context.Context) error {
		value, err = fn(ctx)
		return err
	}, err)
	return value, err
}

func (q *Sequence) repeat(call func(context.Context) error, err error) error {
	defer q.End() // also when something of the caller's panics
	for {
		wait, stop := q.Next(err)
		switch {
		case stop != nil:
		case wait == 0 && q.state.owner.OnRetry == nil:
			q.advance() // Next has looked at the context, and nothing has happened since
		default:
			stop = q.Wait(wait)
		}
		if stop != nil {
			return stop
		}
		if q.state.owner.AttemptTimeout == 0 {
			err = call(q.mark)
		} else {
			err = q.attempt(call)
		}
		if err == nil {
			return nil
		}
	}
}

// attempt makes one attempt, under AttemptTimeout if there is one.
func (q *Sequence) attempt(call func(context.Context) error) error {
	if timeout := q.state.owner.AttemptTimeout; timeout > 0 {
		return callWithin(q.Context(), timeout, call)
	}
	return call(q.Context())
}

func callWithin(ctx context.Context, timeout time.Duration, call func(context.Context) error) error {
	mine := &attemptTimeout{timeout, context.DeadlineExceeded}   // a timeout around this one has another
	ctx, cancel := caller.WithAttemptTimeout(ctx, timeout, mine) // a breaker inside counts it, however short
	defer cancel()
	err := call(ctx)
	if err != nil && context.Cause(ctx) == error(mine) && errors.Is(err, context.DeadlineExceeded) { //nolint:errorlint // the very cause of this context
		return &attemptTimeout{timeout, err}
	}
	return err
}

// Validate reports the first field that is unusable. It calls Backoff once to check what it makes. A policy need not be
// validated: a call with an unusable one fails with an [Error] of [ReasonInvalid], before fn runs except for
// what only Backoff can show.
func (p *Policy) Validate() error {
	if p == nil {
		return nil
	}
	if err := p.validateFields(); err != nil {
		return err
	}
	_, err := newSchedule(p.Backoff)
	return err
}

func (p *Policy) validateFields() error {
	if p.MaxAttempts < 0 && p.MaxAttempts != Unlimited {
		return fmt.Errorf("retry: Policy.MaxAttempts: %d is negative and not Unlimited", p.MaxAttempts)
	}
	for _, field := range [...]struct {
		name  string
		value time.Duration
	}{{"MaxElapsed", p.MaxElapsed}, {"MaxHint", p.MaxHint}, {"AttemptTimeout", p.AttemptTimeout}} {
		if field.value < 0 {
			return fmt.Errorf("retry: Policy.%s: %v is negative", field.name, field.value)
		}
	}
	if p.Budget != nil && !p.Budget.usable() {
		return errors.New("retry: Policy.Budget: not made by NewBudget")
	}
	return nil
}
