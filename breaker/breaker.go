package breaker

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/holdfast-go/holdfast/internal/striped"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// A Breaker rejects calls to a dependency that fails or hangs. Make one with [New] per dependency and
// share it: all methods are safe for concurrent use. It has no goroutine of its own and needs no closing.
type Breaker struct {
	// Read by every call, written by transitions only.
	word    atomic.Uint64 // generation, flags and state, see word.go
	refusal atomic.Pointer[OpenError]
	share   atomic.Uint64 // of 1<<32 calls those that pass while ramping
	timed   bool          // SlowCall is set: every call is timed
	base    time.Time     // the zero of now
	cfg     Config        // with defaults
	key     string        // in its group
	_       [64]byte

	window window

	// mu guards what follows, the rest of window, and every use of machine. No callback of the user
	// runs under it.
	mu          sync.Mutex
	machine     *gobreaker.TwoStepCircuitBreaker[struct{}]
	mode        Mode
	forced      Forced    // the current Force; zero when none
	forcedUntil int64     // its end
	why         cause     // of the transition that machine is about to report
	openUntil   int64     // while open
	dueFrom     int64     // when calls begin to look at the clock for it
	opens       int       // openings in a row, for the doubling
	closedAt    int64     // when the last recovery was complete
	rampStep    int       // index into cfg.Ramp
	rampUntil   int64     // its end
	probesOut   int       // probes without a result
	probing     bool      // cfg.Probe is running, perhaps past its time
	nextProbe   int64     // when cfg.Probe may run again; 0 while it runs
	opened      uint64    // transitions to StateOpen
	held        uint64    // trips that MaxOpenShare held back
	entered     [4]int64  // transitions by the state entered
	pool        *openPool // of the group; nil outside one
	inPool      bool      // this breaker holds a place of pool
	ticker      *time.Timer
	alarm       *time.Timer
	pending     []Transition // not yet delivered
	delivering  bool
}

// New returns a closed breaker.
func New(cfg Config) (*Breaker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := newBreaker(cfg.withDefaults(), "", nil)
	telemetry.Attach(cfg.MeterProvider, telemetry.Breaker, b, collectorOf(cfg.Name))
	return b, nil
}

// newBreaker makes a breaker of a complete cfg.
func newBreaker(cfg Config, key string, pool *openPool) *Breaker {
	cfg.Logger = telemetry.Logger(cfg.Logger)
	b := &Breaker{cfg: cfg, key: key, pool: pool, mode: cfg.Mode, timed: cfg.SlowCall > 0}
	b.base = time.Now().Add(-1) // now is never 0, which means "not read"
	b.window.period = int64(cfg.Window) / buckets
	b.window.resetLocked(b.now())
	b.newMachineLocked()
	b.setWordLocked(StateClosed)
	return b
}

// now is the time since base on the monotonic clock.
func (b *Breaker) now() int64 { return int64(time.Since(b.base)) }

// Do runs fn if b admits it and counts its result; else it returns an [OpenError] at once. It returns what
// fn returned, unchanged. A panic or runtime.Goexit in fn counts as a failure and passes through.
func Do[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (value T, err error) {
	word := b.word.Load()
	if word&(stateMask|observeBit|dueBit) == uint64(StateOpen) {
		return value, b.refuse(ctx)
	}
	if word&stateMask != uint64(StateClosed) || b.mustTime(ctx) {
		return doTracked(ctx, b, fn)
	}
	returned := false
	defer func() {
		if !returned {
			b.count(word, VerdictFailure, false, errAbandoned)
		}
	}()
	value, err = fn(ctx)
	returned = true
	if err == nil {
		b.succeed(word)
	} else {
		b.finish(ctx, admission{word: word}, err)
	}
	return value, err
}

// doTracked is Do where more than the generation must be remembered.
func doTracked[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (value T, err error) {
	a, err := b.admit(ctx)
	if err != nil {
		return value, err
	}
	returned := false
	defer func() {
		if !returned {
			b.record(a, VerdictFailure, errAbandoned)
		}
	}()
	value, err = fn(ctx)
	returned = true
	b.finish(ctx, a, err)
	return value, err
}

// Do runs call as the function [Do] does. The path of a closed breaker is written out: through the function it would
// take a closure and a dictionary, a tenth of a retry, a breaker and a bulkhead together.
func (b *Breaker) Do(ctx context.Context, call func(context.Context) error) error {
	word := b.word.Load()
	if word&stateMask != uint64(StateClosed) || b.mustTime(ctx) {
		_, err := Do(ctx, b, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
		return err
	}
	returned := false
	defer func() {
		if !returned {
			b.count(word, VerdictFailure, false, errAbandoned)
		}
	}()
	err := call(ctx)
	returned = true
	if err == nil {
		b.succeed(word)
		return nil
	}
	b.finish(ctx, admission{word: word}, err)
	return err
}

// An admission is what the end of a call must know of its start.
type admission struct {
	word  uint64 // the generation its result counts for
	start int64  // when it started; 0 if nobody needs it
	took  int64  // fixed by Permit.Answered; 0 otherwise
	probe *probe // while half-open
}

// mustTime reports whether a call's start must be known: for SlowCall, or to tell what its deadline left it.
func (b *Breaker) mustTime(ctx context.Context) bool {
	if b.timed {
		return true
	}
	_, ok := ctx.Deadline()
	return ok
}

// admit lets a call in or returns the refusal.
func (b *Breaker) admit(ctx context.Context) (admission, error) {
	a := admission{word: b.word.Load()}
	if a.word&dueBit != 0 {
		if b.openIsOver() {
			b.ring()
		}
		a.word = b.word.Load()
	}
	switch stateOf(a.word) {
	case StateOpen:
		return b.reject(ctx, a.word)
	case StateRamp:
		if uint64(rand.Uint32()) >= b.share.Load() {
			return b.reject(ctx, a.word)
		}
	case StateHalfOpen:
		if a.word&fullBit != 0 {
			return b.reject(ctx, a.word)
		}
		var ok bool
		if a, ok = b.admitProbe(); !ok {
			return b.reject(ctx, a.word)
		}
	}
	if b.mustTime(ctx) {
		a.start = b.now()
	}
	return a, nil
}

// openIsOver reports whether the time has come that the rejections of the open breaker tell. Another who is ending the opening right
// now may have put the next state's rejection in its place already.
func (b *Breaker) openIsOver() bool {
	refusal := b.refusal.Load()
	return refusal.State != StateOpen || refusal.RetryAfter() == 0
}

// reject refuses a call; when only observing it admits it without counting its result.
func (b *Breaker) reject(ctx context.Context, word uint64) (admission, error) {
	if word&observeBit != 0 {
		b.window.stripes[striped.Index(stripes)].observed.Add(1)
		return admission{word: staleWord}, nil
	}
	return admission{}, b.refuse(ctx)
}

// refuse counts a rejection and returns its error.
func (b *Breaker) refuse(ctx context.Context) error {
	b.window.stripes[striped.Index(stripes)].rejected.Add(1)
	err := b.refusal.Load()
	if ctx != context.Background() { // to look for a span costs half of a rejection
		traceRejection(ctx, err)
	}
	return err
}

// traceRejection adds an event to the caller's span if that is recorded.
func traceRejection(ctx context.Context, err *OpenError) {
	if span, ok := telemetry.Recording(ctx); ok {
		span.AddEvent("holdfast.breaker.rejected", rejectedBy(err))
	}
}

// finish judges and records a call's result; a failure if the judge panics.
func (b *Breaker) finish(ctx context.Context, a admission, err error) {
	if err == nil {
		b.record(a, VerdictSuccess, nil)
		return
	}
	judged := false
	defer func() {
		if !judged {
			b.record(a, VerdictFailure, errAbandoned)
		}
	}()
	verdict := b.judge(ctx, a.start, err)
	judged = true // from here a panic comes from a listener, and the result is counted
	b.record(a, verdict, err)
}

// record counts a judged result. err is asked for its hint only.
func (b *Breaker) record(a admission, verdict Verdict, err error) {
	switch {
	case a.probe != nil:
		b.settle(a.probe, verdict, b.slow(a), err)
	case verdict == VerdictNeutral:
		b.window.stripes[striped.Index(stripes)].neutral.Add(1)
	case verdict == VerdictSuccess && !b.slow(a):
		b.succeed(a.word)
	default:
		b.count(a.word, verdict, b.slow(a), err)
	}
}

// slow reports whether a call took at least SlowCall.
func (b *Breaker) slow(a admission) bool {
	if !b.timed || a.start == 0 {
		return false
	}
	if a.took == 0 {
		a.took = b.now() - a.start
	}
	return a.took >= int64(b.cfg.SlowCall)
}

// succeed counts a success that was not slow. This is the hot path: two loads and an add.
func (b *Breaker) succeed(word uint64) {
	if (b.word.Load()^word)>>generationShift != 0 {
		return // stale: it says nothing about the dependency of now
	}
	cur := b.window.cur.Load()
	if cur&flagMask != armedFlag {
		b.succeedSlowly(word)
		return
	}
	b.window.stripes[striped.Index(stripes)].ok[cur>>indexShift&indexMask].Add(1)
}

// succeedSlowly counts a success that must start the window's timer or end a row of failures.
func (b *Breaker) succeedSlowly(word uint64) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if (b.word.Load()^word)>>generationShift != 0 {
		return
	}
	b.window.advanceLocked(now)
	b.window.streak = 0
	if b.window.cur.Load()&armedFlag == 0 {
		b.window.quiet = 0
		setTimer(&b.ticker, b, (*Breaker).tick, b.window.nextLocked()-now)
	}
	b.window.publishLocked(true)
	b.window.stripes[0].ok[b.window.indexLocked()].Add(1)
}

// count counts a failure or a slow success and opens the breaker if a rule says so.
func (b *Breaker) count(word uint64, verdict Verdict, slow bool, err error) {
	hint := hintOf(err)
	now := b.now()
	b.mu.Lock()
	if (b.word.Load()^word)>>generationShift == 0 {
		b.window.advanceLocked(now)
		b.window.addLocked(verdict, slow, b.cfg.ConsecutiveFailures > 0)
		b.judgeLocked(now, verdict, hint)
	}
	b.unlockAndNotify()
}

// tick moves the window on while there is traffic and stops itself after a window without any.
func (b *Breaker) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &b.window
	if w.cur.Load()&armedFlag == 0 {
		return
	}
	if w.bucketLocked(w.indexLocked()) == (Counts{}) {
		w.quiet++
	} else {
		w.quiet = 0
	}
	now := b.now()
	w.advanceLocked(now)
	if w.quiet > buckets {
		w.publishLocked(false)
		return
	}
	setTimer(&b.ticker, b, (*Breaker).tick, w.nextLocked()-now)
}
