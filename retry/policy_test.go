package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/cenkalti/backoff/v4"
)

// marked is an error with the methods that packages talk through.
type marked struct {
	error
	notRun, unknown, permanent bool
	after                      time.Duration
}

func (m *marked) NotRun() bool              { return m.notRun }
func (m *marked) OutcomeUnknown() bool      { return m.unknown }
func (m *marked) Permanent() bool           { return m.permanent }
func (m *marked) RetryAfter() time.Duration { return m.after }
func (m *marked) Unwrap() error             { return m.error }

// script returns a func that returns the given errors in turn, then the number of the call.
func script(errs ...error) (fn func(context.Context) (int, error), calls *int) {
	calls = new(int)
	return func(context.Context) (int, error) {
		*calls++
		if *calls <= len(errs) {
			return -*calls, errs[*calls-1]
		}
		return *calls, nil
	}, calls
}

func alwaysDown(context.Context) (int, error) { return 0, errDown }

// asError returns err as an *Error with the given reason or fails the test.
func asError(t *testing.T, err error, reason Reason) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != reason {
		t.Fatalf("error = %v, want an *Error with reason %q", err, reason)
	}
	return e
}

func budget(t *testing.T, c BudgetConfig) *Budget {
	t.Helper()
	b, err := NewBudget(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDoReturnsTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for failures := range 4 {
			errs := make([]error, failures)
			for i := range errs {
				errs[i] = errDown
			}
			fn, calls := script(errs...)
			got, err := Do(t.Context(), &Policy{}, fn)
			if want := failures + 1; err != nil || got != want || *calls != want {
				t.Errorf("%d failures: Do = %d, %v in %d calls, want %d, nil", failures, got, err, *calls, want)
			}
		}
	})
}

func TestZeroAndNilPolicyHaveTheDocumentedDefaults(t *testing.T) {
	for name, p := range map[string]*Policy{"zero": {}, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var starts []time.Time
				_, err := Do(t.Context(), p, func(context.Context) (int, error) {
					starts = append(starts, time.Now())
					return 0, errDown
				})
				e := asError(t, err, ReasonAttempts)
				if len(starts) != 4 || e.Attempts != 4 || !errors.Is(err, errDown) {
					t.Errorf("%d attempts, error %v, want 4", len(starts), err)
				}
				for i, limit := range []time.Duration{50, 100, 200} {
					if wait := starts[i+1].Sub(starts[i]); wait > limit*time.Millisecond {
						t.Errorf("wait %d = %v, want at most %v ms", i+1, wait, limit)
					}
				}
			})
		})
	}
}

func TestExactTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := Do(t.Context(), &Policy{Name: "db", MaxAttempts: 3, Backoff: Fixed(time.Second, 2*time.Second)}, alwaysDown)
		if got, want := time.Since(start), 3*time.Second; got != want {
			t.Errorf("Do took %v, want %v", got, want)
		}
		e := asError(t, err, ReasonAttempts)
		if e.Elapsed != 3*time.Second || e.Name != "db" || len(e.History) != 3 || e.History[2] != (Tried{3, 2 * time.Second, errDown}) {
			t.Errorf("Error = %+v", e)
		}
		const want = `retry "db": attempts used up after 3 attempts in 3s: down`
		if err.Error() != want {
			t.Errorf("Error() = %q, want %q", err, want)
		}
	})
}

func TestWhatIsNotRepeatedComesBackUnchanged(t *testing.T) {
	permanent := &marked{error: errDown, permanent: true}
	tests := []struct {
		name string
		p    *Policy
		err  error
	}{
		{"permanent", nil, permanent},
		{"permanent beats Retryable", &Policy{Retryable: func(error) bool { return true }}, fmt.Errorf("x: %w", permanent)},
		{"v4's permanent", nil, backoff.Permanent(errDown)},
		{"unknown outcome", nil, &marked{error: errDown, unknown: true}},
		{"someone's cancel", nil, context.Canceled},
		{"not Retryable", &Policy{Retryable: IfNotRun}, errDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fn, calls := script(tt.err)
			value, err := Do(t.Context(), tt.p, fn)
			if err != tt.err || *calls != 1 || value != -1 {
				t.Errorf("Do = %d, %v in %d calls, want -1 and the error itself in 1", value, err, *calls)
			}
		})
	}
}

func TestTransientAndIfNotRun(t *testing.T) {
	tests := []struct {
		name                string
		err                 error
		transient, ifNotRun bool
	}{
		{"nil", nil, false, false},
		{"plain", errDown, true, false},
		{"EOF", io.EOF, true, false},
		{"an attempt's deadline", context.DeadlineExceeded, true, false},
		{"AttemptTimeout", &attemptTimeout{time.Second, context.DeadlineExceeded}, true, false},
		{"cancel", fmt.Errorf("x: %w", context.Canceled), false, false},
		{"not run", &marked{error: errDown, notRun: true}, true, true},
		{"unknown", &marked{error: errDown, unknown: true}, false, false},
		{"permanent and not run", &marked{error: errDown, notRun: true, permanent: true}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Transient(tt.err); got != tt.transient {
				t.Errorf("Transient(%v) = %t, want %t", tt.err, got, tt.transient)
			}
			if got := IfNotRun(tt.err); got != tt.ifNotRun {
				t.Errorf("IfNotRun(%v) = %t, want %t", tt.err, got, tt.ifNotRun)
			}
		})
	}
}

func TestStopsAtOnceWhenTheNextDelayPassesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{time.Second, time.Minute} { // at and past the deadline
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, err := Do(ctx, &Policy{Backoff: Constant(wait)}, alwaysDown)
			asError(t, err, ReasonDeadline)
			if took := time.Since(start); took != 0 || !errors.Is(err, errDown) {
				t.Errorf("Do = %v after %v, want errDown at once", err, took)
			}
			cancel()
		}
	})
}

func TestMaxElapsedCountsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Policy{MaxAttempts: Unlimited, MaxElapsed: 10 * time.Second, Backoff: Constant(2 * time.Second), Budget: NoBudget}
		var starts []time.Duration
		begin := time.Now()
		_, err := Do(t.Context(), p, func(context.Context) (int, error) {
			starts = append(starts, time.Since(begin))
			time.Sleep(time.Second)
			return 0, errDown
		})
		e := asError(t, err, ReasonElapsed)
		if got := fmt.Sprint(starts); got != "[0s 3s 6s 9s]" || e.Elapsed != 10*time.Second {
			t.Errorf("attempts at %v, elapsed %v, want 0 3 6 9 s and 10 s", got, e.Elapsed)
		}
	})
}

func TestContextEndingInAWaitJoinsTheLastErrorAndTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel(why)
		}()
		start := time.Now()
		_, err := Do(ctx, &Policy{Backoff: Constant(time.Minute)}, alwaysDown)
		e := asError(t, err, ReasonContext)
		if took := time.Since(start); took != time.Second {
			t.Errorf("Do took %v, want 1s", took)
		}
		if !errors.Is(err, errDown) || !errors.Is(err, why) || e.Attempts != 1 {
			t.Errorf("Do = %v, want errDown joined with the cause", err)
		}
	})
}

func TestEndedContextStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []*Policy{nil, {}, {MaxElapsed: time.Hour}} {
		fn, calls := script()
		_, err := Do(ctx, p, fn)
		e := asError(t, err, ReasonContext)
		if *calls != 0 || !e.NotRun() || e.OutcomeUnknown() || !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v in %d calls, want NotRun, Canceled, none", err, *calls)
		}
	}
}

func TestOwnContextEndDuringTheFirstAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		fn := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		if _, err := Do(ctx, nil, fn); err != context.DeadlineExceeded {
			t.Errorf("Do = %v, want the context's error as it is", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Do(ctx, nil, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, io.EOF })
		if asError(t, err, ReasonContext); !errors.Is(err, io.EOF) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do = %v, want EOF and the deadline", err)
		}
	})
}

func TestSuccessAfterTheContextEndedIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, p := range []*Policy{nil, {}, {AttemptTimeout: time.Second}} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			got, err := Do(ctx, p, func(context.Context) (int, error) { time.Sleep(3 * time.Second); return 42, nil })
			if got != 42 || err != nil {
				t.Errorf("Do = %d, %v, want 42, nil", got, err)
			}
			cancel()
		}
	})
}

func TestAttemptTimeoutEndsAttemptsNotTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Policy{MaxAttempts: 3, AttemptTimeout: time.Second, Backoff: Constant(0)}
		n := 0
		got, err := Do(t.Context(), p, func(ctx context.Context) (string, error) {
			if n++; n == 3 {
				return "done", nil
			}
			<-ctx.Done()
			return "", ctx.Err()
		})
		if got != "done" || err != nil {
			t.Errorf("Do = %q, %v, want done", got, err)
		}
		_, err = Do(t.Context(), p, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		e := asError(t, err, ReasonAttempts)
		if !errors.Is(err, context.DeadlineExceeded) || !e.OutcomeUnknown() || e.Elapsed != 3*time.Second {
			t.Errorf("Do = %v, unknown %t, want DeadlineExceeded, unknown", err, e.OutcomeUnknown())
		}
		if want := "attempt ended after 1s: context deadline exceeded"; e.Last.Error() != want {
			t.Errorf("Last = %q, want %q", e.Last, want)
		}
	})
}

func TestHints(t *testing.T) {
	const year = 365 * 24 * time.Hour
	tests := []struct {
		name      string
		hint, max time.Duration
		want      time.Duration
	}{
		{"longer than the own delay", 5 * time.Second, 0, 5 * time.Second},
		{"shorter never shortens", time.Millisecond, 0, time.Second},
		{"none", 0, 0, time.Second},
		{"negative", -time.Hour, 0, time.Second},
		{"years are cut to own delay + 30 s", 10 * year, 0, 31 * time.Second},
		{"the largest duration", math.MaxInt64, 0, 31 * time.Second},
		{"MaxHint", year, time.Minute, 61 * time.Second},
		{"the largest MaxHint", math.MaxInt64, math.MaxInt64, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got time.Duration
			p := &Policy{Backoff: Constant(time.Second), MaxHint: tt.max, OnRetry: func(_ context.Context, a Attempt) {
				got = a.Wait
				panic("no need to wait")
			}}
			func() {
				defer func() { _ = recover() }()
				fn, _ := script(fmt.Errorf("x: %w", &marked{error: errDown, after: tt.hint}))
				_, _ = Do(t.Context(), p, fn)
			}()
			if got != tt.want {
				t.Errorf("wait = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHintPastTheDeadlineStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		hint := &marked{error: errDown, after: 15 * time.Second}
		_, err := Do(ctx, nil, func(context.Context) (int, error) { return 0, hint })
		if asError(t, err, ReasonDeadline); time.Since(start) != 0 {
			t.Errorf("Do took %v, want none", time.Since(start))
		}
	})
}

func TestBudgetIsAskedBeforeTheSleepAndNeverReplacesTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{Burst: 1, PerSecond: 1e-9, Ratio: 1e-6})
		p := &Policy{Name: "x", Budget: b, Backoff: Constant(time.Minute)}
		start := time.Now()
		_, err := Do(t.Context(), p, alwaysDown)
		e := asError(t, err, ReasonBudget)
		if took := time.Since(start); took != time.Minute || e.Attempts != 2 || !errors.Is(err, errDown) {
			t.Errorf("Do = %v after %v, want errDown after 2 attempts and 1 minute", err, took)
		}
		start = time.Now()
		_, err = Do(t.Context(), p, alwaysDown)
		if asError(t, err, ReasonBudget); time.Since(start) != 0 || e.Cause != nil {
			t.Errorf("an empty budget let the call sleep %v", time.Since(start))
		}
	})
}

func TestPanicsAndGoexitLeaveTheBudgetIntact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{PerSecond: 1e-9, Ratio: 1e-6})
		p := &Policy{Budget: b, Backoff: Constant(0)}
		for _, end := range []func(){func() { panic("x") }, runtime.Goexit} {
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() { _ = recover() }()
				n := 0
				_ = p.Do(t.Context(), func(context.Context) error {
					if n++; n == 2 {
						end()
					}
					return errDown
				})
			})
			wg.Wait()
		}
		if got := b.Stats(); got.Spent != 2 || got.Tokens < 7.99 || got.Tokens > 8.01 {
			t.Errorf("Stats = %+v, want 2 spent of 10", got)
		}
		if err := p.Do(t.Context(), func(context.Context) error { return nil }); err != nil {
			t.Errorf("Do after a panic = %v", err)
		}
	})
}

func TestPanicValueReachesTheCaller(t *testing.T) {
	for _, p := range []*Policy{nil, {AttemptTimeout: time.Second}} {
		func() {
			defer func() {
				if got := recover(); got != errDown {
					t.Errorf("recovered %v, want errDown", got)
				}
			}()
			_ = p.Do(t.Context(), func(context.Context) error { panic(errDown) })
		}()
	}
}

func TestUnusablePoliciesRunNothing(t *testing.T) {
	tests := []struct {
		field string
		p     *Policy
	}{
		{"Policy.MaxAttempts: -2", &Policy{MaxAttempts: -2}},
		{"Policy.MaxElapsed: -1s", &Policy{MaxElapsed: -time.Second}},
		{"Policy.MaxHint: -1ns", &Policy{MaxHint: -1}},
		{"Policy.AttemptTimeout: -1ns", &Policy{AttemptTimeout: -1}},
		{"Policy.Budget", &Policy{Budget: new(Budget)}},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			if err := tt.p.Validate(); err == nil || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("Validate = %v, want %s named", err, tt.field)
			}
			fn, calls := script()
			_, err := Do(t.Context(), tt.p, fn)
			e := asError(t, err, ReasonInvalid)
			if *calls != 0 || !e.NotRun() || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("Do = %v in %d calls, want %s named and none", err, *calls, tt.field)
			}
			if _, err := tt.p.Start(t.Context(), nil); !errors.As(err, &e) || !e.NotRun() {
				t.Errorf("Start = %v, want an *Error that is NotRun", err)
			}
			if err := tt.p.Admit(t.Context()); !errors.As(err, &e) || !e.NotRun() {
				t.Errorf("Admit = %v, want an *Error that is NotRun", err)
			}
		})
	}
}

func TestNilFuncIsRefused(t *testing.T) {
	for _, p := range []*Policy{nil, {}, {AttemptTimeout: 1}} {
		_, err := Do[int](t.Context(), p, nil)
		if e := asError(t, err, ReasonInvalid); !e.NotRun() {
			t.Errorf("Do(nil) = %v, want NotRun", err)
		}
		if e := asError(t, p.Do(t.Context(), nil), ReasonInvalid); !e.NotRun() {
			t.Errorf("p.Do(nil) = %v, want NotRun", e)
		}
	}
}

func TestUnusableSchedulesEndTheCallWithTheRealError(t *testing.T) {
	tests := []struct {
		name    string
		backoff func() backoff.BackOff
	}{
		{"returned nil", func() backoff.BackOff { return nil }},
		{"returned a nil *backoff.ExponentialBackOff", func() backoff.BackOff { return (*backoff.ExponentialBackOff)(nil) }},
		{"returned a nil *retry.scripted", func() backoff.BackOff { return (*scripted)(nil) }},
		{"Constant: -1ns is negative", Constant(-1)},
		{"Fixed: delay 1: -1s is negative", Fixed(0, -time.Second)},
		{"FullJitter: base 0s is not positive", FullJitter(0, time.Second)},
		{"EqualJitter: base -1s is not positive", EqualJitter(-time.Second, time.Second)},
		{"DecorrelatedJitter: limit 1ms is below base 1s", DecorrelatedJitter(time.Second, time.Millisecond)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Policy{Backoff: tt.backoff}
			if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("Validate = %v, want %q", err, tt.name)
			}
			fn, calls := script(errDown)
			_, err := Do(t.Context(), p, fn)
			asError(t, err, ReasonInvalid)
			if *calls != 1 || !errors.Is(err, errDown) || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("Do = %v in %d calls, want errDown and %q in 1", err, *calls, tt.name)
			}
			if _, err := p.Delay(1, errDown); err == nil {
				t.Error("Delay = nil, want an error")
			}
		})
	}
}

func TestBackoffIsMadeAtTheFirstFailureOnly(t *testing.T) {
	made := 0
	p := &Policy{Backoff: func() backoff.BackOff { made++; return constant(0) }}
	fn, _ := script()
	_, _ = Do(t.Context(), p, fn)
	if made != 0 {
		t.Errorf("a success made %d schedules", made)
	}
	fn, _ = script(errDown, errDown)
	_, _ = Do(t.Context(), p, fn)
	if made != 1 {
		t.Errorf("one call made %d schedules, want 1", made)
	}
}

func TestOnRetryHearsOfEachRepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []Attempt
		p := &Policy{Name: "db", MaxAttempts: 3, Backoff: Fixed(time.Second, 0), OnRetry: func(_ context.Context, a Attempt) { heard = append(heard, a) }}
		_, _ = Do(t.Context(), p, alwaysDown)
		want := []Attempt{{"db", 2, time.Second, 0, errDown}, {"db", 3, 0, time.Second, errDown}}
		if fmt.Sprint(heard) != fmt.Sprint(want) {
			t.Errorf("OnRetry heard %v, want %v", heard, want)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	n := 0
	p := &Policy{MaxAttempts: 100, Backoff: Constant(0), Budget: NoBudget}
	_, err := Do(t.Context(), p, func(context.Context) (int, error) {
		if n++; n == 50 {
			return 0, io.EOF // the only one of unknown outcome, and it will be dropped
		}
		return 0, &marked{error: errDown, notRun: true}
	})
	e := asError(t, err, ReasonAttempts)
	if len(e.History) != 32 || e.History[3].Number != 4 || e.History[4].Number != 73 || e.History[31].Number != 100 {
		t.Errorf("History has %d entries, 4th %d, 5th %d, last %d", len(e.History), e.History[3].Number, e.History[4].Number, e.History[31].Number)
	}
	if e.NotRun() || !e.OutcomeUnknown() {
		t.Error("what a dropped attempt said is lost")
	}
}

func TestACopyOfAUsedPolicyStartsAnew(t *testing.T) {
	p := &Policy{Name: "a"}
	_, _ = Do(t.Context(), p, succeed)
	var q Policy
	copyPolicy(&q, p)
	_, _ = Do(t.Context(), &q, succeed)
	if p.stateOf() == q.stateOf() || p.stateOf().budget == q.stateOf().budget {
		t.Error("a copy shares the original's budget and counts")
	}
}

// copyPolicy copies what go vet would not let us copy.
func copyPolicy(dst, src *Policy) {
	size := unsafe.Sizeof(*src)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(dst)), size), unsafe.Slice((*byte)(unsafe.Pointer(src)), size))
}

func TestOnePolicyServesAllGoroutines(t *testing.T) {
	p := &Policy{Backoff: func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(1), backoff.WithMaxInterval(1))
	}, Budget: NoBudget}
	var wg sync.WaitGroup
	var attempts atomic.Int64
	for range 16 {
		wg.Go(func() {
			for range 100 {
				n := 0
				_, err := Do(t.Context(), p, func(ctx context.Context) (int, error) {
					attempts.Add(1)
					if n++; n < 3 {
						return 0, errDown
					}
					return From(ctx).Number, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s := p.stateOf()
	if s.retries.Load() != 3200 || attempts.Load() != 4800 {
		t.Errorf("retries %d, attempts %d, want 3200, 4800", s.retries.Load(), attempts.Load())
	}
}

func TestAllocations(t *testing.T) {
	ctx := context.Background()
	n := 0
	failTwice := func(context.Context) (int, error) {
		if n++; n%3 != 0 {
			return 0, errDown
		}
		return 1, nil
	}
	call := func(context.Context) error { return nil }
	fast := &Policy{Backoff: Constant(0), Budget: NoBudget}
	plain := &Policy{Name: "x"}
	elapsed := &Policy{MaxElapsed: time.Hour}
	var none *Policy
	tests := []struct {
		name string
		want float64
		run  func()
	}{
		{"success", 0, func() { _, _ = Do(ctx, plain, succeed) }},
		{"success of the method", 0, func() { _ = plain.Do(ctx, call) }},
		{"success with a nil policy", 0, func() { _ = none.Do(ctx, call) }},
		{"success with MaxElapsed", 0, func() { _, _ = Do(ctx, elapsed, succeed) }},
		{"two retries without delay", 1, func() { _, _ = Do(ctx, fast, failTwice) }},
		{"error that is not repeated", 0, func() { _, _ = Do(ctx, plain, func(context.Context) (int, error) { return 0, context.Canceled }) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, tt.run); got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
	if size := unsafe.Sizeof(mark{}); size > 32 {
		t.Errorf("a retry allocates %d bytes, want at most 32", size)
	}
}

func TestNestedAttemptTimeoutsNameTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := &Policy{Name: "outer", MaxAttempts: 1, AttemptTimeout: time.Second}
		inner := &Policy{Name: "inner", AttemptTimeout: time.Minute}
		var fromInner error
		err := outer.Do(t.Context(), func(ctx context.Context) error {
			fromInner = inner.Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			return fromInner
		})
		if fromInner == nil || strings.Contains(fromInner.Error(), "1m") {
			t.Errorf("the inner call blames its own timeout: %v", fromInner)
		}
		if !strings.Contains(err.Error(), "attempt ended after 1s") {
			t.Errorf("the outer call does not name its timeout: %v", err)
		}
	})
}

func TestATimeOutIsTheCauseOfTheAttemptsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Policy{MaxAttempts: 1, AttemptTimeout: time.Second}
		_ = p.Do(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			if got := context.Cause(ctx).Error(); got != "attempt ended after 1s: context deadline exceeded" {
				t.Errorf("Cause = %q", got)
			}
			return ctx.Err()
		})
	})
}

func TestMaxElapsedHoldsWhenTheCallerTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Policy{
			MaxElapsed: 10 * time.Second, Backoff: Constant(5 * time.Second), Budget: NoBudget,
			OnRetry: func(context.Context, Attempt) { time.Sleep(7 * time.Second) },
		}
		fn, calls := script(errDown, errDown)
		_, err := Do(t.Context(), p, fn)
		if asError(t, err, ReasonElapsed); *calls != 1 || !errors.Is(err, errDown) {
			t.Errorf("Do = %v in %d calls, want errDown in 1: the second would start after 12s", err, *calls)
		}
	})
}

// pending is a func type that is a BackOff.
type pending func() time.Duration

func (f pending) NextBackOff() time.Duration { return f() }
func (f pending) Reset()                     {}

func TestANilFuncScheduleIsRefused(t *testing.T) {
	p := &Policy{Backoff: func() backoff.BackOff { return pending(nil) }}
	fn, _ := script(errDown)
	_, err := Do(t.Context(), p, fn)
	if asError(t, err, ReasonInvalid); !errors.Is(err, errDown) {
		t.Errorf("Do = %v, want errDown", err)
	}
}
