package retry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// A Sequence is one call's attempts, for callers who must make the attempts themselves: transports whose results
// outlive the attempt, streams, clients with a loop of their own. [Do] is a loop around one:
//
//	seq, err := policy.Start(ctx, nil)
//	if err != nil {
//		return err
//	}
//	defer seq.End()
//	for {
//		err := send(seq.Context())
//		if err == nil {
//			return nil
//		}
//		wait, err := seq.Next(err) // decides and pays
//		if err != nil {
//			return err
//		}
//		release() // what must not be held during the wait
//		if err := seq.Wait(wait); err != nil {
//			return err
//		}
//	}
//
// AttemptTimeout is not applied: it is the caller's, who makes the attempts. A Sequence is for one goroutine.
type Sequence struct {
	ctx       context.Context // of the one call that the Sequence is; attempts get Context
	state     *state
	retryable func(error) bool // nil = Transient
	schedule  backoff.BackOff
	mark      *mark
	span      trace.Span // nil unless a span is recorded
	started   time.Time

	attempts  int
	uncounted int           // repetitions not yet added to the policy's count
	wait      time.Duration // before the current attempt
	first     [inlineTries]failure
	more      *laterTries
}

// failure is a Tried whose place says its number. A Sequence is cleared for each call that fails: it is kept small.
type failure struct {
	wait time.Duration
	err  error
}

// laterTries are the failures that first has no room for.
type laterTries struct {
	last    []Tried
	dropped outcome.Outcome // joined, of attempts that History has no room for
}

const (
	inlineTries = 4 // a call with the default policy allocates no history unless it is given up
	moreTries   = 28
)

// Start begins a call: it counts its first attempt. It returns an [Error] that is NotRun if the call must not
// start, because ctx has ended or p is unusable. retryable replaces p's Retryable; nil keeps it.
func (p *Policy) Start(ctx context.Context, retryable func(error) bool) (*Sequence, error) {
	return new(Sequence).start(ctx, p, retryable) // is inlined, so that the Sequence can lie on its caller's stack
}

func (q *Sequence) start(ctx context.Context, p *Policy, retryable func(error) bool) (*Sequence, error) {
	s := p.stateOf()
	if refused := s.begin(ctx, false); refused != nil {
		return nil, refused
	}
	q.ctx, q.state, q.attempts, q.retryable = ctx, s, 1, retryable
	if retryable == nil {
		q.retryable = s.owner.Retryable
	}
	if s.timed {
		q.started = time.Now()
	}
	return q, nil
}

// Context returns the context of the current attempt.
func (q *Sequence) Context() context.Context {
	if q.mark != nil {
		return q.mark
	}
	return q.ctx
}

// Next says what follows the failure of the current attempt with err, which must not be nil: either how long to
// wait for the next attempt, which the budget has then paid for, or the error to return, as described at [Do].
func (q *Sequence) Next(err error) (wait time.Duration, stop error) {
	if q.attempts <= inlineTries {
		q.first[q.attempts-1] = failure{q.wait, err}
	} else {
		q.record(err)
	}
	if wait, stop = q.decide(err); stop != nil {
		return 0, stop
	}
	q.wait = wait
	q.uncounted++
	if wait > 0 {
		q.count()
	}
	if q.attempts == 1 {
		q.startSpan()
	}
	if q.span != nil || q.state.owner.OnRetry != nil {
		q.announce(err)
	}
	return wait, nil
}

// Wait waits for d, which Next returned, and begins the next attempt. If the context ends first, or MaxElapsed has passed,
// it returns the error to return, which joins the last attempt's error and, of a context, [context.Cause].
func (q *Sequence) Wait(d time.Duration) (stop error) {
	if d > 0 {
		q.sleep(d)
	}
	if q.ctx.Err() != nil {
		return q.giveUp(ReasonContext, context.Cause(q.ctx))
	}
	if limit := q.state.owner.MaxElapsed; limit > 0 && time.Since(q.started) > limit { // OnRetry or the caller took their time
		return q.giveUp(ReasonElapsed, nil)
	}
	q.advance()
	return nil
}

// advance begins the next attempt.
func (q *Sequence) advance() {
	q.attempts++
	if q.mark == nil {
		q.makeMark()
	} else {
		q.mark.store(q.attempts)
	}
}

// End ends the call: it completes its counts and its span. Defer it.
func (q *Sequence) End() {
	q.count()
	if q.span != nil {
		q.span.End()
		q.span = nil
	}
}

func (q *Sequence) sleep(d time.Duration) {
	if q.started.IsZero() {
		q.started = time.Now()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-q.ctx.Done():
	case <-timer.C:
	}
}

// elapsed is the time since the start, or since the first wait: a call that repeats at once reads no clock.
func (q *Sequence) elapsed() time.Duration {
	if q.started.IsZero() {
		return 0
	}
	return time.Since(q.started)
}

// decide returns the wait for the next attempt, or the error of a call that has none. The budget comes last: only a
// repetition that will happen is paid for.
func (q *Sequence) decide(err error) (wait time.Duration, stop error) {
	if q.ctx.Err() != nil {
		return 0, q.giveUp(ReasonContext, context.Cause(q.ctx))
	}
	signs, hint := outcome.Read(err)
	if !q.mayRepeat(signs, err) {
		return 0, q.giveUp(ReasonNotRetryable, nil)
	}
	if !q.state.owner.allows(q.attempts + 1) {
		return 0, q.giveUp(ReasonAttempts, nil)
	}
	if q.schedule == nil {
		if reason, cause := q.firstFailure(); reason != 0 {
			return 0, q.giveUp(reason, cause)
		}
	}
	if wait = q.schedule.NextBackOff(); wait < 0 { // backoff.Stop, or a broken schedule
		return 0, q.giveUp(ReasonSchedule, nil)
	}
	if hint > wait {
		wait = q.state.owner.hinted(wait, hint)
	}
	if reason := q.outOfTime(wait); reason != 0 {
		return 0, q.giveUp(reason, nil)
	}
	if !q.state.budget.spendFor(err) {
		return 0, q.giveUp(ReasonBudget, nil)
	}
	return wait, nil
}

// firstFailure does what a call needs once, when its first attempt has failed.
func (q *Sequence) firstFailure() (reason Reason, cause error) {
	if nested(q.ctx, q.state.owner.Name) {
		return ReasonNested, nil
	}
	if q.schedule, cause = newSchedule(q.state.owner.Backoff); cause != nil {
		return ReasonInvalid, cause
	}
	return 0, nil
}

func (q *Sequence) mayRepeat(signs outcome.Signs, err error) bool {
	if q.retryable == nil {
		return transient(signs)
	}
	return q.askRetryable(signs, err)
}

func (q *Sequence) askRetryable(signs outcome.Signs, err error) bool {
	return signs&outcome.SaysPermanent == 0 && q.retryable(err)
}

// outOfTime returns the limit that an attempt after wait would miss. Without a wait the context alone
// decides, which has been asked, and a call that repeats at once reads no clock here.
func (q *Sequence) outOfTime(wait time.Duration) Reason {
	if wait == 0 && !q.state.timed {
		return 0
	}
	return q.outOfTimeAfter(wait)
}

func (q *Sequence) outOfTimeAfter(wait time.Duration) Reason {
	if limit := q.state.owner.MaxElapsed; limit > 0 && limit-time.Since(q.started) < wait {
		return ReasonElapsed
	}
	if wait > 0 && pastDeadline(q.ctx, wait) {
		return ReasonDeadline
	}
	return 0
}

func pastDeadline(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= wait
}

// record keeps the failure of an attempt that first has no room for.
func (q *Sequence) record(err error) {
	if q.more == nil {
		q.more = &laterTries{dropped: outcome.NotRun}
	}
	if len(q.more.last) == moreTries {
		q.more.drop()
	}
	q.more.last = append(q.more.last, Tried{Number: q.attempts, Wait: q.wait, Err: err})
}

// drop makes room: the oldest goes, but not what it says about the outcome.
func (l *laterTries) drop() {
	l.dropped = outcome.Join(l.dropped, outcome.Of(l.last[0].Err))
	l.last = l.last[:copy(l.last, l.last[1:])]
}

// makeMark makes the context of the attempts after the first.
func (q *Sequence) makeMark() {
	q.mark = &mark{Context: q.ctx, name: &q.state.owner.Name, number: int64(q.attempts)}
	if q.span != nil {
		q.mark.Context = trace.ContextWithSpan(q.ctx, q.span)
	}
}

// count adds the repetitions of the call to the policy's. Those without a wait between them are added
// together: an atomic add is a tenth of what such a repetition costs.
func (q *Sequence) count() {
	if q.uncounted > 0 {
		q.state.retries.Add(int64(q.uncounted))
		q.uncounted = 0
	}
}

// startSpan starts the span of a call that is repeated, if the call belongs to one that is recorded.
func (q *Sequence) startSpan() {
	if _, ok := telemetry.Recording(q.ctx); ok {
		_, q.span = telemetry.Tracer(q.state.owner.TracerProvider, telemetry.Retry).Start(q.ctx, "retry",
			trace.WithAttributes(attribute.String("holdfast.retry.name", q.state.owner.Name)))
	}
}

// announce tells those who want to know of the repetition that has been decided.
func (q *Sequence) announce(err error) {
	next := Attempt{Name: q.state.owner.Name, Number: q.attempts + 1, Wait: q.wait, Elapsed: q.elapsed(), Err: err}
	if q.span != nil {
		q.span.AddEvent("retry", trace.WithAttributes(attribute.Int("holdfast.retry.attempt", next.Number),
			attribute.Float64("holdfast.retry.wait", next.Wait.Seconds())))
	}
	if q.state.owner.OnRetry != nil {
		q.state.owner.OnRetry(q.ctx, next)
	}
}

// giveUp makes the error of a call that ends without success.
func (q *Sequence) giveUp(reason Reason, cause error) error {
	q.state.gaveUp[reason].Add(1)
	if q.attempts == 1 && needsNoError(reason, q.first[0].err, cause) {
		return q.first[0].err
	}
	history := q.history()
	e := &Error{
		Name: q.state.owner.Name, Attempts: q.attempts, Elapsed: q.elapsed(), Reason: reason, Cause: cause,
		History: history, outcome: q.joinOutcome(history),
	}
	if len(history) > 0 {
		e.Last = history[len(history)-1].Err
	}
	q.report(e)
	return e
}

// needsNoError reports whether the error of a single attempt says all that an Error around it would.
func needsNoError(reason Reason, err, cause error) bool {
	switch reason {
	case ReasonNotRetryable, ReasonNested:
		return true
	case ReasonContext:
		return errors.Is(err, cause)
	}
	return false
}

func (q *Sequence) history() []Tried {
	var later []Tried
	if q.more != nil {
		later = q.more.last
	}
	inline := q.first[:min(q.attempts, inlineTries)]
	history := make([]Tried, 0, len(inline)+len(later))
	for i, f := range inline {
		history = append(history, Tried{Number: i + 1, Wait: f.wait, Err: f.err})
	}
	return append(history, later...)
}

func (q *Sequence) joinOutcome(history []Tried) outcome.Outcome {
	joined := outcome.NotRun
	if q.more != nil {
		joined = q.more.dropped
	}
	for _, t := range history {
		joined = outcome.Join(joined, outcome.Of(t.Err))
	}
	return joined
}

// report writes the give-up to the span and, where it is not what the caller asked for, to the log.
func (q *Sequence) report(e *Error) {
	if q.span != nil {
		telemetry.Fail(q.span, e.Reason.String())
	} else if span, ok := telemetry.Recording(q.ctx); ok {
		span.AddEvent("retry.give_up", trace.WithAttributes(attribute.String("reason", e.Reason.text().short)))
	}
	if e.Reason == ReasonContext || e.Reason == ReasonNotRetryable {
		return
	}
	q.state.logger.LogAttrs(q.ctx, slog.LevelWarn, "retry gave up", slog.String("name", e.Name), slog.Int("attempts", e.Attempts),
		slog.Duration("elapsed", e.Elapsed), slog.String("reason", e.Reason.String()), slog.Any("error", errors.Join(e.Last, e.Cause)))
}
