package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// work is a handler goroutine: it handles h, whatever waits then, and what it is given while it rests.
func (w *Worker) work(h *held) {
	given := make(chan *held, 1)
	for h != nil {
		if h = w.workOne(h); h == nil {
			h = w.rest(given)
		}
	}
}

// rest waits for work. It returns nil when the drain has begun: nothing new is started then.
func (w *Worker) rest(given chan *held) *held {
	w.mu.Lock()
	if w.draining() {
		w.mu.Unlock()
		return nil
	}
	w.resting = append(w.resting, given)
	w.mu.Unlock()
	return <-given
}

// dismiss ends the goroutines that rest. The drain has begun: no more will.
func (w *Worker) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.resting {
		c <- nil // has room, see handLocked
	}
	w.resting = nil
}

// workOne handles h and returns the next message. A handler that ends its goroutine (runtime.Goexit) leaves through
// here too: the deferred part then settles the call as a panic and starts the next message elsewhere.
func (w *Worker) workOne(h *held) (next *held) {
	returned := false
	defer func() {
		if !returned {
			w.conclude(h, result{err: &PanicError{Stack: debug.Stack()}, invoked: true, began: time.Now()})
			w.next(h, true)
		}
	}()
	w.handle(h)
	returned = true
	return w.next(h, false)
}

// next ends h's run and picks the next; elsewhere starts that on a goroutine of its own.
func (w *Worker) next(h *held, elsewhere bool) *held {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.countLocked(h, -1)
	next := w.pickLocked()
	if next != nil && elsewhere {
		w.handLocked(next)
	}
	w.startLocked()
	w.wakeLocked()
	if w.running == 0 {
		for _, c := range w.idle {
			close(c)
		}
		w.idle = nil
	}
	return next
}

// handle decides about one message: run it, or why not.
func (w *Worker) handle(h *held) {
	if h.lost.Load() {
		w.drop(h)
		return
	}
	if h.putOff > 0 {
		w.putOffTo(h, jitter(h.putOff))
		return
	}
	if h.message.Fetch != nil && !w.fetch(h) {
		return
	}
	if w.refuse(h) || w.delay(h) || w.gate(h) {
		return
	}
	args, ok := w.open(h)
	if !ok {
		return
	}
	w.conclude(h, w.run(h, args))
}

// fetch replaces the body by the whole one that is kept elsewhere.
func (w *Worker) fetch(h *held) bool {
	ctx, cancel := context.WithTimeout(w.base, w.config.Lease)
	defer cancel()
	body, err := h.message.Fetch(ctx)
	if err != nil {
		if why, ok := errors.AsType[interface {
			error
			DeadReason() string
		}](err); ok {
			w.bury(h, Reason(why.DeadReason()), err)
		} else {
			w.putOffTo(h, w.trouble(err))
		}
		return false
	}
	h.bad = h.envelope.Decode(body)
	return true
}

// refuse ends what can never run: poison, expired calls, calls nobody knows.
func (w *Worker) refuse(h *held) bool {
	e := &h.envelope
	switch {
	case h.bad != nil:
		w.bury(h, ReasonUndecodable, h.bad)
	case !e.Expires.IsZero() && !time.Now().Before(e.Expires):
		w.config.Ledger.expired(e.ID)
		w.finish(h, fateExpired)
	case h.handler == nil || e.Version > envelopeVersion:
		w.park(h)
	default:
		return false
	}
	return true
}

// clockTolerance is by how much a client's clock may be ahead of ours before its delayed calls are sent again.
const clockTolerance = time.Second

// delay sends on what may not run yet.
func (w *Worker) delay(h *held) bool {
	at := h.envelope.NotBefore
	if h.envelope.Resume.After(at) {
		at = h.envelope.Resume
	}
	if at.IsZero() {
		return false
	}
	left := time.Until(at)
	if left <= clockTolerance {
		return false
	}
	w.hop(h, left)
	return true
}

const (
	parkFor   = time.Hour
	parkWait  = 2 * time.Minute
	staleWait = 5 * time.Second
)

// park waits for a deployment that knows the call, at most an hour.
func (w *Worker) park(h *held) {
	if now := time.Now(); h.envelope.Parked.IsZero() || h.envelope.Parked.After(now) { // a clock was set back
		h.envelope.Parked = now.UTC()
	}
	if time.Since(h.envelope.Parked) >= parkFor {
		w.bury(h, ReasonUnknownCall, fmt.Errorf("queue: no handler for %q in envelope version %d", h.envelope.Name, h.envelope.Version))
		return
	}
	w.putOffTo(h, jitter(parkWait))
}

// gate applies what must hold right before a run: the dependency, the epoch, the age.
func (w *Worker) gate(h *held) bool {
	for _, ready := range [...]func() (time.Duration, bool){w.config.Ready, h.handler.config.Ready} {
		if ready == nil {
			continue
		}
		if wait, ok := ready(); !ok {
			w.putOffTo(h, jitter(max(wait, minWait)))
			return true
		}
	}
	if w.followDead(h) {
		w.bury(h, ReasonGroup, errors.New("queue: an earlier call of the group is dead"))
		return true
	}
	return w.gateEpoch(h) || w.gateOnce(h) || w.gateReceives(h)
}

// gateEpoch: a call of a newer epoch shows that this process is behind and may not write; one of an older
// epoch is the handler's decision.
func (w *Worker) gateEpoch(h *held) bool {
	if w.config.Epoch == nil {
		return false
	}
	current, _ := w.config.Epoch()
	switch e := h.envelope.Epoch; {
	case current == 0 || e > current:
		w.putOffTo(h, jitter(staleWait))
		return true
	case e == 0 || e == current:
		return false
	}
	policy, err := w.stalePolicy(h, current)
	if err != nil {
		w.conclude(h, result{err: &notRunError{err}, invoked: true})
		return true
	}
	switch policy {
	case StaleDead:
		w.bury(h, ReasonStaleEpoch, fmt.Errorf("queue: deferred under epoch %d, now is %d", h.envelope.Epoch, current))
	case StaleForward:
		w.forward(h, current)
	case StaleWait:
		w.putOffTo(h, jitter(staleWait))
	default:
		return false
	}
	return true
}

// stalePolicy is what the handler's rule says about h. The error is a panic of that rule: what a call carries must not end its workers.
func (w *Worker) stalePolicy(h *held, current uint64) (policy StalePolicy, err error) {
	policy = h.handler.config.Stale
	if f := h.handler.config.StaleFunc; f != nil {
		ctx, cancel := context.WithTimeout(w.base, w.config.Lease)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				err = &PanicError{Value: p, Stack: debug.Stack()}
			}
		}()
		policy = f(ctx, h.envelope, current)
	}
	if policy == StaleDefault && w.config.Once == nil {
		return StaleDead, nil
	}
	return policy, nil
}

// gateOnce refuses what the idempotency store can no longer judge.
func (w *Worker) gateOnce(h *held) bool {
	e := &h.envelope
	if w.config.Once == nil {
		if e.Ambiguous && !e.Repeatable {
			w.bury(h, ReasonUnknownOutcome, errors.New("queue: it may have run already and this worker has no Once to tell"))
			return true
		}
		return false
	}
	if age := time.Since(e.born()); age > w.config.OnceRetention-onceMargin {
		w.bury(h, ReasonTooOld, fmt.Errorf("queue: %v old, its idempotency marker lives %v", age.Round(time.Second), w.config.OnceRetention))
		return true
	}
	return false
}

// born is the instant from which the call's age counts.
func (e *Envelope) born() time.Time {
	at := e.Time
	if e.NotBefore.After(at) {
		at = e.NotBefore
	}
	if e.RerunBy != "" && e.Redriven.After(at) {
		at = e.Redriven
	}
	return at
}

// gateReceives ends a call that is handed out again and again and never comes to a failure of its own: it takes its
// workers down with it. With Once its runs are counted; without, receives that other processes put off count as runs.
func (w *Worker) gateReceives(h *held) bool {
	n, most := h.attempt(), h.handler.config.MaxAttempts
	begin := n <= 3*most
	if w.config.Once != nil && n > most {
		var err error
		if begin, err = w.countStart(h); err != nil {
			w.putOffTo(h, w.trouble(err))
			return true
		}
	}
	if begin {
		return false
	}
	w.bury(h, ReasonReceives, fmt.Errorf("queue: handed out %d times without an end", n))
	return true
}

// open decodes the arguments.
func (w *Worker) open(h *held) (args any, ok bool) {
	data := h.envelope.Data
	if key := h.envelope.KeyID; key != "" {
		if w.config.Codec == nil {
			w.putOffTo(h, w.trouble(errors.New("queue: sealed call and no Codec")))
			return nil, false
		}
		opened, err := w.config.Codec.Open(w.base, h.envelope.Key(), key, data)
		switch {
		case outcome.Permanent(err):
			w.bury(h, ReasonUnsealed, err)
			return nil, false
		case err != nil:
			w.putOffTo(h, w.trouble(fmt.Errorf("codec: %w", err)))
			return nil, false
		}
		data = opened
	}
	args, err := h.handler.decode(data)
	if err != nil {
		w.bury(h, ReasonUndecodable, err)
		return nil, false
	}
	return args, true
}

// A result is what came of a run.
type result struct {
	err     error // of the handler, or of Once when it did not call it
	invoked bool
	dropped bool
	stop    error // cause of the handler's context when it had ended; nil while it was alive
	began   time.Time
}

// run runs the handler under its key.
func (w *Worker) run(h *held, args any) result {
	now := time.Now()
	defer h.ctx.end()
	if !w.begin(h, now) {
		return result{stop: ErrLeaseLost, err: ErrLeaseLost, began: now}
	}
	ctx, span := w.telemetry.start(&h.ctx, h, now)
	r := w.runOnce(ctx, h, args, now)
	w.telemetry.end(span, h, r)
	return r
}

// runOnce gives the handler to Once, if there is one. What Once is told differs from what the worker decides by: a dropped
// call is complete, a permanent failure is to be forgotten so that a redrive can run it, and a repeatable call
// stopped from outside did, for all that matters, not run.
func (w *Worker) runOnce(ctx context.Context, h *held, args any, began time.Time) result {
	if w.config.Once == nil {
		r := result{invoked: true, began: began}
		r.err = w.invoke(ctx, h, args)
		r.settle(ctx)
		return r
	}
	var invoked atomic.Bool
	var own atomic.Pointer[result] // of a run that has ended
	onceErr := w.config.Once(ctx, h.envelope.Key(), func(ctx context.Context) error {
		invoked.Store(true)
		r := &result{invoked: true, began: time.Now()}
		r.err = w.invoke(ctx, h, args)
		r.settle(ctx)
		own.Store(r)
		return r.forOnce(h.envelope.Repeatable)
	})
	if r := own.Load(); r != nil {
		return *r
	}
	r := result{err: onceErr, invoked: invoked.Load(), began: began}
	if r.invoked { // Once left while the call runs on, under its key: the message must come again and ask
		r.err = cmp.Or(onceErr, errRunsOn)
		r.settle(ctx)
	}
	return r
}

var errRunsOn = errors.New("queue: Once returned before the call")

// settle looks at the end of the run.
func (r *result) settle(ctx context.Context) {
	if errors.Is(r.err, Drop) {
		r.err, r.dropped = nil, true
	}
	if ctx.Err() != nil {
		r.stop = context.Cause(ctx)
	}
}

func (r *result) forOnce(repeatable bool) error {
	switch {
	case r.err == nil:
		return nil
	case repeatable && (r.stop != nil || outcome.Of(r.err) == outcome.Unknown):
		return &notRunError{r.err}
	case outcome.Permanent(r.err):
		return &attemptError{r.err}
	}
	return r.err
}

// attemptError hides from Once that a failure is permanent: the dead-letter queue keeps it, and a redrive may run it.
type attemptError struct{ err error }

func (e *attemptError) Error() string   { return e.err.Error() }
func (e *attemptError) Unwrap() error   { return e.err }
func (e *attemptError) Permanent() bool { return false }

// invoke calls the handler and turns its panic into an error.
func (w *Worker) invoke(ctx context.Context, h *held, args any) (err error) {
	w.config.Ledger.ran(h.envelope.ID)
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return h.handler.run(ctx, args)
}

// conclude acts on a result.
func (w *Worker) conclude(h *held, r result) {
	id := h.envelope.ID
	if h.lost.Load() || r.stop == ErrLeaseLost { //nolint:errorlint // the very cause of its context
		w.concludeLost(h, r)
		return
	}
	switch {
	case !r.invoked:
		w.notInvoked(h, r.err)
	case r.dropped:
		w.config.Ledger.dropped(id)
		w.finish(h, fateDropped)
	case r.err == nil:
		w.config.Ledger.done(id)
		w.finish(h, fateDone)
	default:
		w.failed(h, r)
	}
}

// concludeLost: the message belongs to someone else, who will find out by Once what became of it.
func (w *Worker) concludeLost(h *held, r result) {
	if r.invoked {
		w.config.Ledger.Explain(h.envelope.ID, RuleLeaseLost)
	}
	if r.invoked && r.err == nil {
		w.config.Ledger.done(h.envelope.ID)
	}
	w.drop(h)
}

// notInvoked: Once did not let the call run.
func (w *Worker) notInvoked(h *held, err error) {
	switch {
	case err == nil: // a copy of a completed call
		w.telemetry.duplicates.Add(1)
		w.config.Ledger.known(h.envelope.ID)
		w.finish(h, fateDone)
	case outcome.Of(err) == outcome.Unknown: // only an operator, or the guard's Reconcile, can change that
		w.bury(h, ReasonUnknownOutcome, err)
	case outcome.Permanent(err):
		w.bury(h, ReasonPermanent, err)
	default:
		w.putOffTo(h, w.trouble(err))
	}
}

// failed decides about the handler's error.
func (w *Worker) failed(h *held, r result) {
	config := &h.handler.config
	snooze, snoozed := errors.AsType[*snoozeError](r.err)
	switch {
	case snoozed:
		w.putOffTo(h, snooze.wait)
		return
	case r.stop == ErrDraining && !outcome.Permanent(r.err): //nolint:errorlint // the very cause of its context
		w.config.Ledger.Explain(h.envelope.ID, RuleStopped)
		w.stopped(h)
		return
	}
	w.config.Ledger.Explain(h.envelope.ID, failureRule(r))
	w.countFailure(h)
	attempt := h.attempt()
	wait := config.Backoff(attempt)
	if asked, ok := outcome.RetryAfter(r.err); ok {
		wait = max(asked, minWait)
	}
	_, panicked := asPanic(r.err)
	switch {
	case outcome.Permanent(r.err):
		w.bury(h, ReasonPermanent, r.err)
	case (attempt >= config.MaxAttempts || wait < 0) && panicked:
		w.bury(h, ReasonPanic, r.err)
	case attempt >= config.MaxAttempts || wait < 0:
		w.bury(h, ReasonAttempts, r.err)
	default:
		w.retryAfter(h, attempt, max(wait, minWait))
	}
}

func failureRule(r result) Rule {
	if r.stop != nil {
		return RuleStopped
	}
	return RuleFailed
}

// trouble is the wait after an error that is not the call's fault.
func (w *Worker) trouble(err error) time.Duration {
	if asked, ok := outcome.RetryAfter(err); ok {
		return jitter(max(asked, minWait))
	}
	return jitter(staleWait)
}

// jitter spreads a wait over up to a fifth more.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/5+1) }
