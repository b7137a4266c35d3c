package degrade

import (
	"context"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/request"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// A Result is a value and where it came from.
type Result[T any] struct {
	Value  T
	Source Source
	Level  Level         // the call's
	Age    time.Duration // of a value from a [Stale]; 0 = made for this call
}

// Read calls primary and, if that cannot or may not answer, fallback.
//
// At Offline primary is not called. Elsewhere fallback answers errors of primary that FeatureConfig.Eligible accepts while ctx
// has not ended. A nil fallback leaves primary's error, and at Offline a [*RefusedError]. If both fail the error is a
// [*FallbackError]. primary must be safe to give up on: use [Write] for what changes something.
//
// Both run on the caller's goroutine; neither is kept. At Normal, with a fallback that is neither exercised nor given a
// reserve of time, the cost is one atomic load and no allocation.
func Read[T any](ctx context.Context, f *Feature, primary, fallback func(context.Context) (T, error)) (T, error) {
	if f.word.Load() == 0 {
		v, err := primary(ctx)
		if err == nil {
			return v, nil
		}
		r, err := afterRead(ctx, f, Normal, Result[T]{Value: v}, err, fallback)
		return r.Value, err
	}
	r, err := ReadResult(ctx, f, primary, fallback)
	return r.Value, err
}

// ReadResult is [Read] for callers who want to know where the value came from.
func ReadResult[T any](ctx context.Context, f *Feature, primary, fallback func(context.Context) (T, error)) (Result[T], error) {
	level := f.LevelIn(ctx)
	if level == Offline {
		return standIn(ctx, f, OpRead, level, nil, fallback)
	}
	r := Result[T]{Level: level}
	var err error
	if r.Value, err = reserving(ctx, f, primary, fallback != nil); err != nil {
		return afterRead(ctx, f, level, r, err, fallback)
	}
	if f.cfg.Exercise > 0 && fallback != nil && level == Normal {
		exercise(ctx, f, r.Value, fallback)
	}
	return r, nil
}

// afterRead answers a read whose primary call failed.
func afterRead[T any](ctx context.Context, f *Feature, level Level, r Result[T], err error, fallback func(context.Context) (T, error)) (Result[T], error) {
	r.Level = level
	if fallback == nil || ctx.Err() != nil || !f.eligible(err) {
		return r, err
	}
	return standIn(ctx, f, OpRead, level, err, fallback)
}

// Write calls primary, unless the level forbids changes: at ReadOnly and Offline it calls instead, such as one that defers
// the write, and if that is nil returns a [*RefusedError] that matches [ErrReadOnly].
//
// A primary call that failed is followed by instead only if its error says that it did not run (its NotRun method, or
// the kind of error), since a write that may have happened must not happen by another way too.
func Write[T any](ctx context.Context, f *Feature, primary, instead func(context.Context) (T, error)) (T, error) {
	r, err := WriteResult(ctx, f, primary, instead)
	return r.Value, err
}

// WriteResult is [Write] for callers who want to know which call was made.
func WriteResult[T any](ctx context.Context, f *Feature, primary, instead func(context.Context) (T, error)) (Result[T], error) {
	level := f.LevelIn(ctx)
	if level >= ReadOnly {
		return standIn(ctx, f, OpWrite, level, nil, instead)
	}
	v, err := primary(ctx)
	if err == nil || instead == nil || ctx.Err() != nil || outcome.Of(err) != outcome.NotRun || outcome.Permanent(err) {
		return Result[T]{Value: v, Level: level}, err
	}
	return standIn(ctx, f, OpWrite, level, err, instead)
}

// Read is [Read] for calls that return no value.
func (f *Feature) Read(ctx context.Context, primary, fallback func(context.Context) error) error {
	if f.word.Load() == 0 {
		err := primary(ctx)
		if err == nil || fallback == nil {
			return err
		}
		_, err = afterRead(ctx, f, Normal, Result[struct{}]{}, err, unit(fallback))
		return err
	}
	_, err := ReadResult(ctx, f, unit(primary), unit(fallback))
	return err
}

// Write is [Write] for calls that return no value.
func (f *Feature) Write(ctx context.Context, primary, instead func(context.Context) error) error {
	_, err := WriteResult(ctx, f, unit(primary), unit(instead))
	return err
}

func unit(call func(context.Context) error) func(context.Context) (struct{}, error) {
	if call == nil {
		return nil
	}
	return func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) }
}

// reserving calls primary with what FeatureConfig.Reserve leaves of the caller's time.
func reserving[T any](ctx context.Context, f *Feature, primary func(context.Context) (T, error), wanted bool) (T, error) {
	deadline, ok := ctx.Deadline()
	if f.cfg.Reserve == 0 || !wanted || !ok || time.Until(deadline) < 2*f.cfg.Reserve {
		return primary(ctx)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-f.cfg.Reserve))
	defer cancel()
	return primary(ctx)
}

// standIn runs what stands in for a call that failed with err, or that the level forbids (nil).
func standIn[T any](ctx context.Context, f *Feature, op Op, level Level, err error, fallback func(context.Context) (T, error)) (Result[T], error) {
	r := Result[T]{Source: SourceFallback, Level: level}
	switch {
	case fallback == nil:
		return r, f.refuse(ctx, op, level)
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case !f.enter():
		return r, f.full(op, level, err)
	}
	defer f.stats.running.Add(-1)
	var served request.Served
	v, failed := fallback(request.Serving(ctx, &served))
	if failed != nil {
		f.stats.failed.Add(1)
		return r, &FallbackError{Name: f.name, Primary: err, Fallback: failed}
	}
	if served.Set {
		r.Source, r.Age = Source(served.Source), served.Age
	}
	r.Value = v
	f.served(ctx, op, level, r.Source)
	return r, nil
}

// enter takes one of MaxFallbacks.
func (f *Feature) enter() bool {
	if n := f.stats.running.Add(1); f.cfg.MaxFallbacks != Unlimited && n > int64(f.cfg.MaxFallbacks) {
		f.stats.running.Add(-1)
		f.stats.full.Add(1)
		return false
	}
	return true
}

// full is the error of a call whose fallback is at its limit.
func (f *Feature) full(op Op, level Level, err error) error {
	refusal := &RefusedError{Name: f.name, Op: op, Level: level, Cause: CauseOverload, Wait: jittered(time.Second)}
	if err == nil {
		return refusal
	}
	return &FallbackError{Name: f.name, Primary: err, Fallback: refusal}
}

// eligible reports whether a fallback may answer err.
func (f *Feature) eligible(err error) bool {
	if f.cfg.Eligible != nil {
		return f.cfg.Eligible(err)
	}
	return !outcome.Permanent(err)
}

// served takes note of an answer by fallback.
func (f *Feature) served(ctx context.Context, op Op, level Level, source Source) {
	f.stats.sources[source].Add(1)
	if op == OpRead {
		f.stats.proven.Store(f.c.offset(time.Now()))
	}
	if source == SourceFallback {
		if r := request.From(ctx); r != nil { // Stale and Stub leave a note of their own
			r.Add(request.Note{Name: f.name, Level: level.String(), Source: source.String()})
		}
	}
	if span, ok := telemetry.Recording(ctx); ok {
		span.AddEvent("holdfast.degrade.fallback", trace.WithAttributes(attribute.String("feature", f.name),
			attribute.String("op", op.String()), attribute.String("level", level.String()), attribute.String("source", source.String())))
	}
}

// refuse makes the error of a call that the level forbids.
func (f *Feature) refuse(ctx context.Context, op Op, level Level) error {
	f.stats.refused[min(op, OpOptional)].Add(1)
	s := f.now.Load()
	e := &RefusedError{Name: f.name, Op: op, Level: level, Cause: s.cause, Wait: f.wait(s)}
	if e.Cause == CauseNone { // a pinned request outlived the cause
		e.Cause = CauseRecovery
	}
	if span, ok := telemetry.Recording(ctx); ok {
		span.AddEvent("holdfast.degrade.refused", trace.WithAttributes(attribute.String("feature", f.name),
			attribute.String("op", op.String()), attribute.String("level", level.String()), attribute.String("cause", string(e.Cause))))
	}
	return e
}

const (
	minWait = time.Second
	maxWait = 10 * time.Minute // of an estimate; an announced end is told as it is
)

// maxSpread bounds what is added to it.
const maxSpread = 5 * time.Minute

// wait estimates when to ask again, with up to 20 % more, so that those who were refused do not come back at once.
func (f *Feature) wait(s *standing) time.Duration {
	wait := f.cfg.Hold
	if !s.until.IsZero() {
		wait = time.Until(s.until)
	}
	if s.cause != CauseMaintenance {
		wait = min(wait, maxWait)
	}
	wait = max(wait, minWait)
	return wait + time.Duration(rand.Float64()*min(0.2*float64(wait), float64(maxSpread)))
}

// exercise runs the fallback beside a primary call that worked, to prove that it would.
func exercise[T any](ctx context.Context, f *Feature, primary T, fallback func(context.Context) (T, error)) {
	if rand.Float64() >= f.cfg.Exercise || !f.stats.exercising.CompareAndSwap(false, true) {
		return
	}
	defer f.stats.exercising.Store(false)
	if !f.enter() {
		return
	}
	defer f.stats.running.Add(-1)
	bounded, cancel := context.WithTimeout(request.Shadow(ctx), f.cfg.ExerciseTimeout)
	defer cancel()
	var v T
	err := guarded("fallback", func() (err error) {
		v, err = fallback(bounded)
		return err
	})
	switch {
	case ctx.Err() != nil: // says nothing of the fallback
	case err != nil:
		f.stats.failed.Add(1)
	case f.cfg.Compare != nil && !f.cfg.Compare(primary, v):
		f.stats.mismatches.Add(1)
	default:
		f.stats.proven.Store(f.c.offset(time.Now()))
	}
}
