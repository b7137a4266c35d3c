package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// A run is one attempt of a call that has been granted.
type run struct {
	*call
	grant
	attempt Attempt
	context runContext
	apart   detachedRun // if it is detached
	keep    lease
	lease   *lease // keep, or nil if unprotected

	unreconciled bool // Reconcile failed: put the key back as it was
}

// inline runs the function on the calling goroutine, until end if that is not zero, and settles the key, whatever way the function ends.
func (r *run) inline(parent context.Context, end time.Time) (stored []byte, info Info, err error) {
	ctx := &r.context
	cancel := ctx.init(parent, &r.attempt, end)
	defer cancel(nil)
	if timer := r.limit(cancel); timer != nil {
		defer timer.Stop()
	}
	r.start(parent, cancel)
	r.counts.running.Add(1)
	settled := false
	defer func() {
		r.counts.running.Add(-1)
		if !settled { // a panic or Goexit: nobody knows how far the function got
			r.stopLease()
			r.hold(ctx)
		}
	}()
	err = r.perform(ctx, &r.attempt)
	r.stopLease()
	stored, info = r.settle(ctx, err)
	settled = true
	return stored, info, err
}

// start fills in the attempt and starts its lease.
func (r *run) start(ctx context.Context, cancel context.CancelCauseFunc) {
	parent, _ := From(ctx)
	r.attempt = Attempt{Key: r.key, Fence: r.holder.Fence, Number: r.past.attempt, Prior: r.past.prior, core: r.core, parent: parent}
	if r.unprotected() {
		r.counts.unprotected.Add(1)
	}
	if r.granter == nil {
		return
	}
	r.lease = &r.keep
	r.attempt.lease = r.lease
	l := r.lease
	l.core, l.store, l.holder, l.retention, l.cancel = r.core, r.granter, &r.holder, r.retention, cancel
	l.start(r.sent)
}

// unprotected reports whether other processes know nothing of the attempt.
func (r *run) unprotected() bool { return r.granter != r.core.store }

func (r *run) stopLease() {
	if r.lease != nil {
		r.lease.stop()
	}
}

// perform runs Reconcile, if the key's past asks for it, and then the function.
func (r *run) perform(ctx context.Context, a *Attempt) error {
	saved, err := r.openCheckpoint(ctx, r.key, r.past.checkpoint)
	if err != nil {
		r.unreconciled = true
		return r.refusal(r.key, ErrDecode, fmt.Errorf("the checkpoint: %w", err))
	}
	a.Saved = saved
	if !r.reconcile {
		return r.function.run(ctx)
	}
	result, done, err := r.config.Reconcile(ctx, a)
	if err == nil && done {
		if err = r.function.adopt(result); err == nil {
			return nil
		}
	}
	if err != nil {
		r.unreconciled = true
		e := r.refusal(r.key, ErrUnknownOutcome, fmt.Errorf("reconciling: %w", err))
		e.Fence = r.holder.Fence
		return e
	}
	r.reconcile = false
	return r.function.run(ctx)
}

// verdict says what becomes of the key after err. ended: the attempt's context had ended.
func (r *run) verdict(err error, ended bool) Verdict {
	if r.unreconciled {
		return VerdictRelease
	}
	ask := r.config.Verdict
	if r.terms.Verdict != nil {
		ask = r.terms.Verdict
	}
	if ask != nil {
		if v := ask(err); v != VerdictDefault {
			return v
		}
	}
	switch outcome.Of(err) {
	case outcome.NotRun:
		return VerdictRelease
	case outcome.Unknown:
		return VerdictHold
	}
	switch {
	case outcome.Permanent(err):
		return VerdictStore
	case ended:
		return VerdictHold
	}
	return VerdictRelease
}

// settle stores, holds or releases the key, and ends the flight.
func (r *run) settle(ctx context.Context, err error) (stored []byte, info Info) {
	info = Info{Attempt: r.past.attempt, Fence: r.holder.Fence, Unprotected: r.unprotected()}
	if err == nil {
		info.Reconciled = r.reconcile
		return r.complete(ctx, r.function.pack(ctx), info, endRan)
	}
	switch r.verdict(err, ctx.Err() != nil) {
	case VerdictStore:
		return r.complete(ctx, r.packError(ctx, r.key, err), info, endFailed)
	case VerdictHold:
		r.hold(ctx)
	default:
		r.counts.add(endReleased)
		r.end(ctx, Release{Holder: r.holder, Retention: r.retention})
	}
	return nil, info
}

// complete completes the key with result. A store that does not answer takes nothing from the caller: its
// result stands, callers of this process replay it, and it is stored as soon as the store is back.
func (r *run) complete(ctx context.Context, result []byte, info Info, e ending) ([]byte, Info) {
	r.counts.add(e)
	c := Completion{Holder: r.holder, Result: result, Retention: r.retention}
	if r.granter == nil {
		r.completeLater(c)
		return nil, info
	}
	ctx, cancel := r.lastStep(ctx)
	defer cancel()
	a, err := r.granter.Complete(ctx, c)
	switch {
	case err != nil:
		r.failed(err)
		r.completeLater(c)
		return nil, info
	case r.unprotected(): // kept in this process; the others are told when their store is back
		r.completeLater(c)
		return nil, info
	}
	return r.completed(a, result, info)
}

// lastStep returns the context of the step that ends the attempt, which it also takes when the attempt's own has ended.
func (r *run) lastStep(ctx context.Context) (context.Context, context.CancelFunc) {
	if instant(r.granter) {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), r.config.StoreTimeout)
}

// completed reads the store's answer to Complete.
func (r *run) completed(a Answer, result []byte, info Info) ([]byte, Info) {
	switch a.Status {
	case StatusGranted:
		info.Stored = true
		r.flights.leave(&r.key, &r.flight, result)
		return nil, info
	case StatusDone:
		r.fenced(&info)
		if _, err := parseEnvelope(a.Record.Result); err == nil {
			info.Replayed, info.Stored = true, true
			r.flights.leave(&r.key, &r.flight, a.Record.Result)
			return a.Record.Result, info // all callers get the one result that is stored
		}
	default:
		r.fenced(&info)
	}
	r.flights.leave(&r.key, &r.flight, nil)
	return nil, info
}

func (r *run) fenced(info *Info) {
	info.Fenced = true
	r.counts.fenced.Add(1)
	r.log.Warn("idempotency attempt fenced: another one took its key over", slog.String("guard", r.config.Name),
		slog.String("fence", r.holder.Fence.String()))
}

// hold keeps the key with its outcome unknown.
func (r *run) hold(ctx context.Context) {
	r.counts.add(endHeld)
	r.end(ctx, Release{Holder: r.holder, Retention: r.retention, Hold: true})
}

// end releases the key, now or as soon as the store answers, and ends the flight.
func (r *run) end(ctx context.Context, rel Release) {
	defer r.flights.leave(&r.key, &r.flight, nil)
	if r.granter != nil {
		ctx, cancel := r.lastStep(ctx)
		defer cancel()
		_, err := r.granter.Release(ctx, rel)
		if err == nil && !r.unprotected() {
			return
		}
		if err != nil {
			r.failed(err)
		}
	}
	r.releaseLater(rel)
}
