package retry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/striped"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

const (
	defaultHedges   = 2
	maxHedges       = 100
	defaultQuantile = 0.95
)

// A Hedging says when a slow call is begun a second time. Only Repeatable has no usable zero value. Make one long-lived
// value per dependency and share its address, as with a [Policy]; it must not be changed once used.
type Hedging[T any] struct {
	// Name is the dependency's, in errors and metrics, and the Name of [From] and [WithAttempt].
	Name string

	// Max is how many attempts may run at once, the first included. Zero means 2; 1 never hedges;
	// more than 100 is an error.
	Max int

	// Delay is how long each attempt is given before the next is begun. With a Quantile it serves until that is
	// known; zero then means not to hedge before.
	Delay time.Duration

	// Quantile, in (0, 1], begins the next attempt once the newest one takes longer than this share of the last 128
	// first attempts did; it is known after 20. Zero means to use Delay alone, or 0.95 if that is zero too.
	Quantile float64

	// Budget pays for attempts after the first. Nil means a private one of 20 % of the calls plus 3 a second, which lives with
	// this value. [NoBudget] opts out.
	Budget *Budget

	// Discard receives what losers return with a nil error, after their context has ended. With Discard, Hedge returns as
	// soon as an attempt has won, and Discard runs later, on another goroutine. Nil means that Hedge waits for the
	// losers to return and drops their values.
	Discard func(T)

	// Repeatable says that the call may run twice, at the same time. Without it Hedge refuses to run.
	Repeatable bool

	// Logger receives the stacks of attempts that panicked. Nil is silent.
	Logger *slog.Logger

	// MeterProvider receives the metrics of docs/metrics.md. Nil means OpenTelemetry's global provider.
	MeterProvider metric.MeterProvider

	state atomic.Pointer[hedging] // made at the first use
}

// Hedge calls fn, and again while the running attempts are slow, and returns the first value that comes with a nil error.
// The attempts run concurrently, each on a goroutine of its own. The context of losers ends with the cause "another attempt
// won"; so does the winner's when Hedge returns: fn must have read all it needs.
//
// A failed attempt is not repeated: put Hedge inside [Do] for that. If all attempts that were begun fail, Hedge returns
// the error of the only one as it is, or an [Error] that answers for all of them. If h is nil, not Repeatable or invalid, or
// ctx has ended, fn is not called and the Error is NotRun. In a repeated attempt of h's Name ([WithAttempt]) there is no hedge.
//
// A panic of an attempt reaches the caller with its value, once the other attempts have returned, and so does
// [runtime.Goexit]. Only a panic of a loser that Hedge no longer waits for, because of Discard, is logged and ends there.
func Hedge[T any](ctx context.Context, h *Hedging[T], fn func(context.Context) (T, error)) (T, error) {
	s := h.stateOf()
	if cause := s.unusable(ctx, fn == nil); cause != nil {
		var zero T
		return zero, cause
	}
	s.calls.Add(1)
	s.budget.payInFor(ctx, s.name)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errLost)
	r := race[T]{hedging: s, ctx: ctx, cancel: cancel, fn: fn, discard: h.Discard, results: make(chan result[T], s.max)}
	return r.run()
}

var errLost = errors.New("retry: another attempt won")

// Validate reports the first field that is unusable.
func (h *Hedging[T]) Validate() error {
	switch {
	case h == nil || !h.Repeatable:
		return errors.New("retry: Hedging.Repeatable: is false: the call may not run twice")
	case h.Max < 0 || h.Max > maxHedges:
		return fmt.Errorf("retry: Hedging.Max: %d is outside [0, %d]", h.Max, maxHedges)
	case h.Delay < 0:
		return fmt.Errorf("retry: Hedging.Delay: %v is negative", h.Delay)
	case !(h.Quantile >= 0 && h.Quantile <= 1):
		return fmt.Errorf("retry: Hedging.Quantile: %v is outside [0, 1]", h.Quantile)
	case h.Budget != nil && !h.Budget.usable():
		return errors.New("retry: Hedging.Budget: not made by NewBudget")
	}
	return nil
}

// hedging is what a Hedging carries beside its settings, whatever its type.
type hedging struct {
	owner   any // the *Hedging: a copy of a used one finds another's state and makes its own
	name    string
	max     int
	delay   time.Duration
	invalid error
	budget  *Budget
	logger  *slog.Logger
	seen    *latencies // nil with a fixed delay

	set          telemetry.Set
	calls        striped.Counter
	hedges, wins atomic.Int64
}

func (h *Hedging[T]) stateOf() *hedging {
	if h == nil {
		return &hedging{invalid: h.Validate()}
	}
	old := h.state.Load()
	if old != nil && old.owner == any(h) {
		return old
	}
	s := h.buildState()
	if !h.state.CompareAndSwap(old, s) {
		return h.stateOf()
	}
	telemetry.Attach(h.MeterProvider, telemetry.Retry, s, (*hedging).collect)
	return s
}

func (h *Hedging[T]) buildState() *hedging {
	s := &hedging{
		owner:   h,
		name:    h.Name,
		max:     orDefault(h.Max, defaultHedges),
		delay:   h.Delay,
		invalid: h.Validate(),
		budget:  h.Budget,
		logger:  telemetry.Logger(h.Logger),
		set:     telemetry.NewSet(attribute.String(telemetry.NameAttribute.Key, h.Name)),
	}
	if s.budget == nil {
		s.budget, _ = NewBudget(BudgetConfig{Name: h.Name, MeterProvider: h.MeterProvider}) // defaults are valid
	}
	if h.Quantile > 0 || h.Delay == 0 {
		s.seen = &latencies{quantile: orDefault(h.Quantile, defaultQuantile)}
	}
	return s
}

func (s *hedging) collect(c *telemetry.Collector) {
	c.Int(telemetry.RetryHedgeCalls, s.calls.Load(), s.set)
	c.Int(telemetry.RetryHedgeHedges, s.hedges.Load(), s.set)
	c.Int(telemetry.RetryHedgeWins, s.wins.Load(), s.set)
}

// unusable is the error of a call that must not start, or nil.
func (s *hedging) unusable(ctx context.Context, nilFunc bool) error {
	switch {
	case s.invalid != nil:
		return &Error{Name: s.name, Reason: ReasonInvalid, Cause: s.invalid}
	case nilFunc:
		return &Error{Name: s.name, Reason: ReasonInvalid, Cause: errNilFunc}
	case ctx.Err() != nil:
		return &Error{Name: s.name, Reason: ReasonContext, Cause: context.Cause(ctx)}
	}
	return nil
}

// patience is how long to wait for an answer before the next attempt; 0 = for ever.
func (s *hedging) patience() time.Duration {
	if s.seen != nil {
		if d, known := s.seen.get(); known {
			return max(d, 1)
		}
	}
	return s.delay
}

func (s *hedging) observe(took time.Duration) {
	if s.seen != nil {
		s.seen.add(took)
	}
}

// race is one hedged call.
type race[T any] struct {
	*hedging
	ctx     context.Context // of all attempts
	cancel  context.CancelCauseFunc
	fn      func(context.Context) (T, error)
	discard func(T)
	results chan result[T] // has room for all: an attempt never waits to report

	begun, running int
	start          time.Time // of the first
	firstFailed    bool
	timer          *time.Timer
	next           <-chan time.Time // nil when no further attempt may begin
	failed         []Tried
	crashed        *result[T] // the first attempt that panicked or exited
}

// result is how an attempt ended.
type result[T any] struct {
	number   int
	value    T
	err      error
	returned bool // else it panicked, or called Goexit if recovered is nil
	recover  any
	stack    []byte
}

func (r *race[T]) run() (T, error) {
	r.start = time.Now()
	r.begin()
	if !nested(r.ctx, r.name) {
		r.arm()
	}
	defer r.disarm()
	for r.running > 0 {
		select {
		case res := <-r.results:
			if r.ended(res) {
				return r.win(res)
			}
		case <-r.next:
			r.hedge()
		}
	}
	r.rethrow()
	var zero T
	return zero, r.failure()
}

// begin starts the next attempt.
func (r *race[T]) begin() {
	r.begun++
	r.running++
	ctx := r.ctx
	if r.begun > 1 {
		ctx = WithAttempt(ctx, Attempt{Name: r.name, Number: r.begun})
	}
	go r.attempt(ctx, r.begun)
}

// attempt runs fn and reports how it ended, whatever that is.
func (r *race[T]) attempt(ctx context.Context, number int) {
	res := result[T]{number: number}
	defer func() {
		if !res.returned {
			res.recover = recover()
			res.stack = debug.Stack()
		}
		r.results <- res
	}()
	res.value, res.err = r.fn(ctx)
	res.returned = true
}

// arm sets the time at which the next attempt begins.
func (r *race[T]) arm() {
	patience := r.patience()
	if patience == 0 || r.begun >= r.max {
		r.disarm()
		return
	}
	if r.timer == nil {
		r.timer = time.NewTimer(patience)
	} else {
		r.timer.Reset(patience)
	}
	r.next = r.timer.C
}

func (r *race[T]) disarm() {
	r.next = nil
	if r.timer != nil {
		r.timer.Stop()
	}
}

// hedge begins a further attempt, if it is paid for. A budget that refuses is not asked again by this call.
func (r *race[T]) hedge() {
	if r.ctx.Err() != nil || !r.budget.Spend() {
		r.disarm()
		return
	}
	r.hedges.Add(1)
	r.begin()
	r.arm()
}

// ended takes note of an attempt that has ended and reports whether it won.
func (r *race[T]) ended(res result[T]) (won bool) {
	r.running--
	switch {
	case !res.returned:
		r.crash(res)
		return false
	case res.err == nil && r.crashed == nil:
		return true
	case res.err == nil:
		r.drop(res.value)
		return false
	}
	r.failed = append(r.failed, Tried{Number: res.number, Err: res.err})
	r.firstFailed = r.firstFailed || res.number == 1
	if outcome.Permanent(res.err) {
		r.disarm()
	}
	return false
}

// crash remembers the first panic and lets the other attempts go: the caller gets the panic, not their answers.
func (r *race[T]) crash(res result[T]) {
	r.disarm()
	r.cancel(errLost)
	if r.crashed == nil {
		r.crashed = &res
	}
}

// win returns the value of the winner and deals with the losers.
func (r *race[T]) win(winner result[T]) (T, error) {
	r.disarm()
	r.cancel(errLost)
	if winner.number > 1 {
		r.wins.Add(1)
	}
	// What a first attempt that lost would have taken is unknown, but longer than until now. Leaving it out
	// would make hedges lower the very quantile that they wait for.
	if !r.firstFailed {
		r.observe(time.Since(r.start))
	}
	if r.running == 0 {
		return winner.value, nil
	}
	if r.discard != nil {
		go r.settle()
		return winner.value, nil
	}
	for range r.running {
		if res := <-r.results; !res.returned {
			r.crash(res)
		}
	}
	r.rethrow()
	return winner.value, nil
}

// settle hands the losers' values to Discard as they come.
func (r *race[T]) settle() {
	for range r.running {
		switch res := <-r.results; {
		case !res.returned:
			r.logPanic(res)
		case res.err == nil:
			r.drop(res.value)
		}
	}
}

func (r *race[T]) drop(value T) {
	if r.discard != nil {
		r.discard(value)
	}
}

// rethrow continues the panic or Goexit of an attempt on the caller's goroutine.
func (r *race[T]) rethrow() {
	if r.crashed == nil {
		return
	}
	if r.crashed.recover == nil {
		runtime.Goexit()
	}
	r.logPanic(*r.crashed)
	panic(r.crashed.recover)
}

func (r *race[T]) logPanic(res result[T]) {
	r.logger.LogAttrs(r.ctx, slog.LevelError, "hedged attempt panicked", slog.String("name", r.name), slog.Int("attempt", res.number),
		slog.Any("panic", res.recover), slog.String("stack", string(res.stack)))
}

// failure is the error of a call whose attempts have all failed.
func (r *race[T]) failure() error {
	last := r.failed[len(r.failed)-1].Err
	if len(r.failed) == 1 {
		return last
	}
	joined := outcome.NotRun
	for _, t := range r.failed {
		joined = outcome.Join(joined, outcome.Of(t.Err))
	}
	e := &Error{
		Name: r.name, Attempts: len(r.failed), Elapsed: time.Since(r.start), Reason: ReasonAttempts,
		Last: last, History: r.failed, outcome: joined,
	}
	if r.ctx.Err() != nil {
		e.Reason, e.Cause = ReasonContext, context.Cause(r.ctx)
	}
	return e
}
