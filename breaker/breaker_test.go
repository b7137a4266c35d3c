package breaker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/sony/gobreaker/v2"
)

// bubble runs f with a fake clock and a breaker of cfg.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, b *Breaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, must(New(cfg))) })
}

// times makes n calls with the same result.
func times(n int, b *Breaker, result error) {
	for range n {
		_ = b.Do(context.Background(), func(context.Context) error { return result })
	}
}

// succeedAfter returns a call that takes d.
func succeedAfter(d time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return nil }
}

func wantState(t *testing.T, b *Breaker, want State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("State() = %v, want %v; %+v", got, want, b.Stats())
	}
}

// quick opens at the first failure for exactly a second.
var quick = Config{Name: "quick", ConsecutiveFailures: 1, OpenFor: time.Second, Jitter: Off, Probes: 1}

func with(cfg Config, change func(*Config)) Config {
	change(&cfg)
	return cfg
}

func TestTrips(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		act  func(b *Breaker)
		want State
	}{
		{"half of 20", Config{}, func(b *Breaker) { times(10, b, nil); times(10, b, errBoom) }, StateOpen},
		{"all of 19", Config{}, func(b *Breaker) { times(19, b, errBoom) }, StateClosed},
		{"9 of 20", Config{}, func(b *Breaker) { times(11, b, nil); times(9, b, errBoom) }, StateClosed},
		{"a rate of 1", Config{FailureRate: 1}, func(b *Breaker) { times(1, b, nil); times(50, b, errBoom) }, StateClosed},
		{"MinCalls 1", Config{MinCalls: 1}, func(b *Breaker) { times(1, b, errBoom) }, StateOpen},
		{"rate off", Config{FailureRate: Off}, func(b *Breaker) { times(1000, b, errBoom) }, StateClosed},
		{"spread over the window", Config{}, func(b *Breaker) {
			for range 20 {
				times(1, b, errBoom)
				time.Sleep(490 * time.Millisecond)
			}
		}, StateOpen},
		{"spread over more than the window", Config{}, func(b *Breaker) {
			for range 40 {
				times(1, b, errBoom)
				time.Sleep(600 * time.Millisecond)
			}
		}, StateClosed},
		{"5 in a row", Config{ConsecutiveFailures: 5}, func(b *Breaker) { times(5, b, errBoom) }, StateOpen},
		{"5, but not in a row", Config{ConsecutiveFailures: 5}, func(b *Breaker) { times(4, b, errBoom); times(1, b, nil); times(4, b, errBoom) }, StateClosed},
		{"a slow success ends a row", Config{ConsecutiveFailures: 3, SlowCall: time.Second}, func(b *Breaker) {
			times(2, b, errBoom)
			_ = b.Do(context.Background(), succeedAfter(2*time.Second))
			times(2, b, errBoom)
		}, StateClosed},
		{"neutral results do not end a row", Config{ConsecutiveFailures: 2}, func(b *Breaker) { times(1, b, errBoom); times(1, b, context.Canceled); times(1, b, errBoom) }, StateOpen},
		{"slow successes", Config{SlowCall: 100 * time.Millisecond}, func(b *Breaker) {
			for range 20 {
				_ = b.Do(context.Background(), succeedAfter(100*time.Millisecond))
			}
		}, StateOpen},
		{"just not slow", Config{SlowCall: 100 * time.Millisecond}, func(b *Breaker) {
			for range 40 {
				_ = b.Do(context.Background(), succeedAfter(99*time.Millisecond))
			}
		}, StateClosed},
		{"too few slow", Config{SlowCall: 100 * time.Millisecond, SlowRate: 0.8}, func(b *Breaker) {
			for range 20 {
				_ = b.Do(context.Background(), succeedAfter(100*time.Millisecond))
				times(1, b, nil)
			}
		}, StateClosed},
		{"trip now", Config{Verdict: func(error) Verdict { return VerdictTripNow }}, func(b *Breaker) { times(1, b, errBoom) }, StateOpen},
		{"errors that are successes", Config{Verdict: func(error) Verdict { return VerdictSuccess }}, func(b *Breaker) { times(50, b, errBoom) }, StateClosed},
		{"neutral errors", Config{Verdict: func(error) Verdict { return VerdictNeutral }}, func(b *Breaker) { times(50, b, errBoom) }, StateClosed},
		{"an unknown verdict is a failure", Config{Verdict: func(error) Verdict { return 77 }}, func(b *Breaker) { times(20, b, errBoom) }, StateOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.cfg, func(t *testing.T, b *Breaker) {
				tt.act(b)
				wantState(t, b, tt.want)
			})
		})
	}
}

// permanent and refusal are errors of other packages' making.
type permanent struct{ error }

func (permanent) Permanent() bool { return true }

type refusal struct{ error }

func (refusal) LocalRefusal() bool { return true }

type after struct {
	error
	wait time.Duration
}

func (a after) RetryAfter() time.Duration { return a.wait }

func TestDefaultVerdict(t *testing.T) {
	tests := []struct {
		err  error
		want Verdict
	}{
		{nil, VerdictSuccess},
		{errBoom, VerdictFailure},
		{context.DeadlineExceeded, VerdictFailure},
		{fmt.Errorf("x: %w", context.Canceled), VerdictNeutral},
		{permanent{errBoom}, VerdictNeutral},
		{refusal{errBoom}, VerdictNeutral},
		{&OpenError{}, VerdictNeutral},
		{&FullError{}, VerdictNeutral},
		{errors.Join(&FullError{}, errBoom), VerdictFailure},
	}
	for _, tt := range tests {
		if got := DefaultVerdict(tt.err); got != tt.want {
			t.Errorf("DefaultVerdict(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestCallersEnd(t *testing.T) {
	const ms = time.Millisecond
	hang := func(ctx context.Context) error { <-ctx.Done(); return errBoom } // not even the context's error
	tests := []struct {
		name    string
		cfg     Config
		timeout time.Duration // 0 = the caller cancels after a minute
		want    Verdict
	}{
		{"cancel after a long time", Config{}, 0, VerdictNeutral},
		{"deadline with time enough", Config{}, 500 * ms, VerdictFailure},
		{"deadline with too little time", Config{}, 499 * ms, VerdictNeutral},
		{"SlowCall makes less time enough", Config{SlowCall: 100 * ms}, 100 * ms, VerdictFailure},
		{"a long SlowCall does not", Config{SlowCall: time.Hour}, 499 * ms, VerdictNeutral},
		{"DeadlineCounts as set", Config{DeadlineCounts: 50 * ms}, 50 * ms, VerdictFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.cfg, func(t *testing.T, b *Breaker) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.timeout > 0 {
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				} else {
					time.AfterFunc(time.Minute, cancel)
				}
				if err := b.Do(ctx, hang); err != errBoom {
					t.Fatalf("Do = %v, want the call's own error", err)
				}
				s := b.Stats()
				got := map[Verdict]uint64{VerdictFailure: s.Total.Failures, VerdictNeutral: s.Neutral}
				if got[tt.want] != 1 || s.Total.Failures+s.Neutral != 1 {
					t.Errorf("counted %+v, want one %v", s, tt.want)
				}
			})
		})
	}
}

func TestRejection(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(300 * time.Millisecond)
		ran := false
		v, err := Do(t.Context(), b, func(context.Context) (int, error) { ran = true; return 1, nil })
		open, isOpen := errors.AsType[*OpenError](err)
		if ran || v != 0 || !isOpen {
			t.Fatalf("Do = %d, %v, ran %t; want 0, *OpenError, false", v, err, ran)
		}
		if open.RetryAfter() != 700*time.Millisecond || !open.NotRun() || open.OutcomeUnknown() || !open.LocalRefusal() {
			t.Errorf("%+v: RetryAfter %v, want 700ms, not run, known, local", open, open.RetryAfter())
		}
		if !errors.Is(err, ErrOpen) || !errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
			t.Errorf("%v does not match ErrOpen and gobreaker's ErrOpenState alone", err)
		}
		if got, want := err.Error(), `breaker "quick": open, next try in 700ms: 1 consecutive failures`; got != want {
			t.Errorf("text %q, want %q", got, want)
		}
		time.Sleep(time.Hour)
		if got := open.RetryAfter(); got != 0 {
			t.Errorf("an hour later RetryAfter = %v, want 0", got)
		}
	})
}

func TestOpenTimeGrowsAndStartsOver(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.MaxOpenFor = 5 * time.Second })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		trip := func() time.Duration {
			times(1, b, errBoom)
			wait := b.Stats().Wait
			time.Sleep(wait + time.Millisecond)
			wantState(t, b, StateHalfOpen)
			return wait
		}
		for i, want := range []time.Duration{1, 2, 4, 5, 5} {
			if got := trip(); got != want*time.Second {
				t.Errorf("opening %d lasts %v, want %v", i, got, want*time.Second)
			}
		}
		times(1, b, nil) // closed
		if got, want := trip(), 5*time.Second; got != want {
			t.Errorf("an opening right after a recovery lasts %v, want %v", got, want)
		}
		times(1, b, nil)
		time.Sleep(11 * time.Second) // longer than a Window
		if got, want := trip(), time.Second; got != want {
			t.Errorf("an opening after a recovery that held lasts %v, want %v", got, want)
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		least, most := time.Hour, time.Duration(0)
		for range 300 {
			b := must(New(Config{MinCalls: 1}))
			times(1, b, errBoom)
			wait := b.Stats().Wait
			least, most = min(least, wait), max(most, wait)
		}
		if least < 4*time.Second || least > 4100*time.Millisecond || most > 5*time.Second || most < 4900*time.Millisecond {
			t.Errorf("open for %v to %v, want about 4s to 5s", least, most)
		}
	})
}

func TestRetryAfterIsTheOpenTime(t *testing.T) {
	tests := []struct{ hint, want time.Duration }{
		{20 * time.Second, 20 * time.Second},
		{0, time.Second},
		{time.Millisecond, time.Second},
		{24 * time.Hour, time.Minute},
		{1 << 62, time.Minute},
	}
	for _, tt := range tests {
		bubble(t, quick, func(t *testing.T, b *Breaker) {
			times(1, b, fmt.Errorf("busy: %w", after{errBoom, tt.hint}))
			if got := b.Stats().Wait; got != tt.want {
				t.Errorf("hint %v: open for %v, want %v", tt.hint, got, tt.want)
			}
			time.Sleep(tt.want + time.Millisecond)
			wantState(t, b, StateHalfOpen)
			times(1, b, after{errBoom, 30 * time.Second}) // a probe's hint
			if got := b.Stats().Wait; got != 30*time.Second {
				t.Errorf("a probe's hint of 30s: open for %v", got)
			}
		})
	}
}

func TestHalfOpenAdmitsProbesOnly(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.Probes = 3 })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		var in, refused atomic.Int32
		release := make(chan struct{})
		for range 50 {
			go func() {
				err := b.Do(context.Background(), func(context.Context) error { in.Add(1); <-release; return nil })
				if err != nil {
					refused.Add(1)
					if !errors.Is(err, gobreaker.ErrTooManyRequests) || errors.Is(err, gobreaker.ErrOpenState) || !errors.Is(err, ErrOpen) {
						t.Errorf("refused with %v", err)
					}
				}
			}()
		}
		synctest.Wait()
		if in.Load() != 3 || refused.Load() != 47 {
			t.Errorf("%d probes and %d refusals, want 3 and 47", in.Load(), refused.Load())
		}
		if wait, ok := b.Ready(); ok || wait <= 0 {
			t.Errorf("Ready with all probes under way = %v, %t, want a wait and false", wait, ok)
		}
		close(release)
		synctest.Wait()
		wantState(t, b, StateClosed)
	})
}

func TestNeutralProbeGivesItsSlotBack(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		for range 10 {
			times(1, b, context.Canceled)
			wantState(t, b, StateHalfOpen)
		}
		if s := b.Stats(); s.Probing != 0 {
			t.Errorf("%d probes under way, want 0", s.Probing)
		}
		times(1, b, nil)
		wantState(t, b, StateClosed)
	})
}

func TestNeutralProbeGivesItsSlotBackToThoseRefused(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		probe, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Allow(); !errors.Is(err, ErrOpen) {
			t.Fatalf("a second probe: %v", err)
		}
		probe.DoneAs(VerdictNeutral, nil)
		times(1, b, nil)
		wantState(t, b, StateClosed)
	})
}

func TestSlowProbeFails(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.SlowCall = time.Second })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		_ = b.Do(t.Context(), succeedAfter(time.Second))
		wantState(t, b, StateOpen)
	})
}

func TestHungProbe(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		release := make(chan struct{})
		var got error
		go func() { got = b.Do(context.Background(), func(context.Context) error { <-release; return nil }) }()
		time.Sleep(10*time.Second - 1)
		wantState(t, b, StateHalfOpen)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		wantState(t, b, StateOpen)
		if s := b.Stats(); s.Probing != 0 || s.Wait != 2*time.Second {
			t.Errorf("%d probing, open for %v; want 0 and 2s: the hung probe has failed", s.Probing, s.Wait)
		}
		time.Sleep(2*time.Second + time.Millisecond)
		times(1, b, nil) // its slot is free
		wantState(t, b, StateClosed)
		close(release)
		synctest.Wait()
		if got != nil {
			t.Errorf("the late probe's own caller got %v, want its result", got)
		}
		wantState(t, b, StateClosed)
	})
}

func TestStaleResultsAreDropped(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		release := make(chan struct{})
		for range 30 { // admitted while closed, failing after the recovery
			go b.Do(context.Background(), func(context.Context) error { <-release; return errBoom })
		}
		synctest.Wait()
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		times(1, b, nil)
		wantState(t, b, StateClosed)
		close(release)
		synctest.Wait()
		wantState(t, b, StateClosed)
		if got := b.Stats().Window.Failures; got != 0 {
			t.Errorf("%d stale failures counted", got)
		}
	})
}

// abandon calls f where its panic or Goexit does not end the test.
func abandon(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

func TestPanicAndGoexitCountAsFailures(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("x") }, "Goexit": runtime.Goexit} {
		for _, cfg := range []Config{quick, with(quick, func(c *Config) { c.SlowCall = time.Minute })} {
			t.Run(name, func(t *testing.T) {
				bubble(t, cfg, func(t *testing.T, b *Breaker) {
					call := func() { _ = b.Do(context.Background(), func(context.Context) error { leave(); return nil }) }
					abandon(call)
					wantState(t, b, StateOpen)
					time.Sleep(time.Second + time.Millisecond)
					abandon(call) // as a probe
					wantState(t, b, StateOpen)
					time.Sleep(2*time.Second + time.Millisecond)
					times(1, b, nil)
					wantState(t, b, StateClosed)
				})
			})
		}
	}
}

func TestPanicKeepsItsValue(t *testing.T) {
	b := must(New(Config{}))
	defer func() {
		if got := recover(); got != "original" {
			t.Errorf("recovered %v, want the call's own panic", got)
		}
	}()
	_ = b.Do(t.Context(), func(context.Context) error { panic("original") })
}

func TestPanickingVerdictCountsAsFailure(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.Verdict = func(error) Verdict { panic("verdict") } })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		abandon(func() { times(1, b, errBoom) })
		wantState(t, b, StateOpen)
		time.Sleep(time.Second + time.Millisecond)
		abandon(func() { times(1, b, errBoom) })
		wantState(t, b, StateOpen)
	})
}

func TestListenerIsToldInOrderAndMayCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *Breaker
		var told []string
		cfg := with(quick, func(c *Config) {
			c.OnStateChange = func(tr Transition) {
				told = append(told, fmt.Sprintf("%v>%v", tr.From, tr.To))
				_ = b.Stats()
				_, _ = b.Ready()
				times(1, b, nil) // closes a half-open breaker from within
				if tr.To == StateClosed && len(told) < 8 {
					times(1, b, errBoom) // and opens it again
				}
			}
		})
		b = must(New(cfg))
		times(1, b, errBoom)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Join(told, " "); got != "closed>open open>half-open half-open>closed closed>open open>half-open half-open>closed closed>open open>half-open half-open>closed" {
			t.Errorf("told %s", got)
		}
	})
}

func TestBlockedListenerBlocksNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told atomic.Int32
		b := must(New(with(quick, func(c *Config) { c.OnStateChange = func(Transition) { told.Add(1); <-release } })))
		go times(1, b, errBoom)
		synctest.Wait()
		for range 300 {
			time.Sleep(b.Stats().Wait + time.Millisecond)
			times(1, b, nil)
			times(1, b, errBoom)
		}
		if s := b.Stats(); s.Opened != 301 || told.Load() != 1 {
			t.Errorf("opened %d times while the listener blocked, told %d; want 301, 1", s.Opened, told.Load())
		}
		close(release)
		synctest.Wait()
		if got := told.Load(); got != 1+maxPending {
			t.Errorf("told %d, want %d: the newest %d and the first", got, 1+maxPending, maxPending)
		}
	})
}

func TestPanickingListenerDoesNotStopTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		b := must(New(with(quick, func(c *Config) {
			c.OnStateChange = func(tr Transition) {
				if told++; told == 1 {
					panic("listener")
				}
			}
		})))
		abandon(func() { times(1, b, errBoom) })
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		times(1, b, nil)
		if told != 3 {
			t.Errorf("told %d times, want 3", told)
		}
	})
}

func TestReady(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		want := func(wantWait time.Duration, wantOK bool) {
			t.Helper()
			if wait, ok := b.Ready(); wait != wantWait || ok != wantOK {
				t.Errorf("Ready in %v = %v, %t, want %v, %t", b.State(), wait, ok, wantWait, wantOK)
			}
		}
		want(0, true)
		times(1, b, errBoom)
		want(time.Second, false)
		time.Sleep(time.Second + time.Millisecond)
		want(retrySoon, true)
		times(1, b, nil)
		want(0, true)
	})
}

// TestReadingChangesNothing runs the same calls with and without somebody who reads all the time.
func TestReadingChangesNothing(t *testing.T) {
	run := func(read func(*Breaker)) (result string) {
		synctest.Test(t, func(t *testing.T) {
			b := must(New(with(quick, func(c *Config) { c.ConsecutiveFailures = 0; c.MinCalls = 4 })))
			random := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				read(b)
				var err error
				if random.IntN(3) == 0 {
					err = errBoom
				}
				got := b.Do(t.Context(), func(context.Context) error { return err })
				result += fmt.Sprint(errors.Is(got, ErrOpen))
				time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			}
		})
		return result
	}
	quiet := run(func(*Breaker) {})
	watched := run(func(b *Breaker) { b.State(); b.Stats(); b.Ready() })
	if quiet != watched {
		t.Error("reading a breaker changes its decisions")
	}
	if !strings.Contains(quiet, "true") {
		t.Error("no rejection: this proves nothing")
	}
}

func TestTwoStep(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		permit, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		permit.Done(errBoom)
		wantState(t, b, StateOpen)
		if _, err := b.Allow(); !errors.Is(err, ErrOpen) {
			t.Fatalf("Allow while open: %v", err)
		}
		time.Sleep(time.Second + time.Millisecond)
		probe, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		probe.DoneAs(VerdictNeutral, nil)
		wantState(t, b, StateHalfOpen)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a probe's second Done does not panic")
				}
			}()
			probe.Done(nil)
		}()
		probe, _ = b.Allow()
		probe.DoneAs(VerdictFailure, after{errBoom, 7 * time.Second})
		if got := b.Stats().Wait; got != 7*time.Second {
			t.Errorf("open for %v, want the hint 7s", got)
		}
	})
}

func TestDoneOfAZeroPermitPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Permit{}.Done(nil)
}

func TestDoneAsKeepsTheCallersEndNeutral(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		ctx, cancel := context.WithCancel(t.Context())
		permit, _ := b.Acquire(ctx)
		cancel()
		permit.DoneAs(VerdictFailure, nil)
		wantState(t, b, StateClosed)
	})
}

func TestAnsweredStopsTheClock(t *testing.T) {
	cfg := Config{SlowCall: time.Second, MinCalls: 1}
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		permit, _ := b.Acquire(t.Context())
		time.Sleep(time.Second - 1)
		permit = permit.Answered()
		time.Sleep(time.Hour)
		permit.Done(nil)
		if s := b.Stats(); s.Total.Slow != 0 || s.Total.Successes != 1 {
			t.Errorf("%+v, want one success that was not slow", s)
		}
	})
}

func TestIdleBreakerHasNoTimer(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *Breaker) {
		armed := func() bool { return b.window.cur.Load()&armedFlag != 0 }
		if armed() {
			t.Error("armed before the first call")
		}
		times(1, b, nil)
		if !armed() {
			t.Error("not armed while there is traffic")
		}
		time.Sleep(5 * time.Second)
		times(1, b, nil)
		time.Sleep(10 * time.Second)
		if !armed() {
			t.Error("disarmed while the window holds a result")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if armed() {
			t.Error("still armed after a window without traffic")
		}
		times(3, b, nil)
		if got := b.Stats().Window.Successes; got != 3 {
			t.Errorf("%d successes after a rest, want 3", got)
		}
	})
}

func TestDroppedBreakerIsCollected(t *testing.T) {
	made := func() weak.Pointer[Breaker] {
		b := must(New(with(quick, func(c *Config) { c.OpenFor = time.Hour; c.MaxOpenFor = time.Hour })))
		times(5, b, nil)
		times(1, b, errBoom) // its alarm is an hour off
		return weak.Make(b)
	}()
	for deadline := time.Now().Add(10 * time.Second); made.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("a dropped breaker is still there")
		}
	}
}

func TestAllocations(t *testing.T) {
	ctx := context.Background()
	deadline, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	closed, timed := must(New(Config{})), must(New(Config{SlowCall: time.Minute}))
	open := must(New(with(quick, func(c *Config) { c.OpenFor = time.Hour; c.MaxOpenFor = time.Hour })))
	times(1, open, errBoom)
	due := must(New(open.cfg))
	times(1, due, errBoom)
	due.word.Or(dueBit)
	never := must(New(Config{FailureRate: Off}))
	tests := map[string]func(){
		"success":                func() { _, _ = Do(ctx, closed, work) },
		"success method":         func() { _ = closed.Do(ctx, ok) },
		"success with deadline":  func() { _ = closed.Do(deadline, ok) },
		"success timed":          func() { _ = timed.Do(ctx, ok) },
		"two-step":               func() { p, _ := closed.Allow(); p.Done(nil) },
		"rejection":              func() { _ = open.Do(ctx, ok) },
		"rejection near the end": func() { _ = due.Do(ctx, ok) },
		"failure":                func() { _ = never.Do(ctx, fail) },
		"Ready":                  func() { _, _ = open.Ready() },
		"Stats":                  func() { _ = open.Stats() },
	}
	for name, f := range tests {
		if got := testing.AllocsPerRun(200, f); got != 0 {
			t.Errorf("%s allocates %v times, want 0", name, got)
		}
	}
}

// TestConcurrentUse: whatever 16 goroutines do, transitions are legal and in order, each starts where the last
// ended, and nobody deadlocks.
func TestConcurrentUse(t *testing.T) {
	legal := map[[2]State]bool{
		{StateClosed, StateOpen}: true, {StateOpen, StateHalfOpen}: true, {StateHalfOpen, StateRamp}: true,
		{StateHalfOpen, StateOpen}: true, {StateRamp, StateClosed}: true, {StateRamp, StateOpen}: true,
	}
	var b *Breaker
	var last State // guarded by the breaker's promise to call one listener at a time; -race checks it
	var told atomic.Int64
	b = must(New(Config{
		Window: 100 * time.Millisecond, OpenFor: minOpenFor, MaxOpenFor: minOpenFor, ProbeTimeout: 5 * time.Millisecond, SlowCall: time.Millisecond,
		Ramp: []float64{0.5}, RampStep: 5 * time.Millisecond, OnStateChange: func(tr Transition) {
			if !legal[[2]State{tr.From, tr.To}] || tr.From != last {
				t.Errorf("transition %v to %v after %v", tr.From, tr.To, last)
			}
			last = tr.To
			told.Add(1)
			_ = b.Stats()
		},
	}))
	var bad atomic.Bool
	var ran, refused atomic.Int64
	var wg sync.WaitGroup
	const enough = 50 // transitions, however slow the machine
	stop := time.Now().Add(time.Minute)
	for g := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for told.Load() < enough && time.Now().Before(stop) {
				abandonHere(func() {
					err := b.Do(context.Background(), func(context.Context) error {
						ran.Add(1)
						return mischief(random, bad.Load())
					})
					if errors.Is(err, ErrOpen) {
						refused.Add(1)
						runtime.Gosched()
					}
				})
				if random.IntN(2000) == 0 {
					bad.Store(!bad.Load())
				}
			}
		})
	}
	wg.Wait()
	if told.Load() < enough || ran.Load() == 0 || refused.Load() == 0 {
		t.Errorf("ran %d, refused %d, %d transitions: this proves nothing", ran.Load(), refused.Load(), told.Load())
	}
}

func abandonHere(f func()) {
	defer func() { _ = recover() }()
	f()
}

// mischief is a call that may succeed, fail, panic or take long.
func mischief(random *rand.Rand, bad bool) error {
	switch {
	case random.IntN(500) == 0:
		panic("x")
	case bad && random.IntN(10) < 8:
		return errBoom
	case random.IntN(50) == 0:
		time.Sleep(time.Duration(random.IntN(8)) * time.Millisecond)
	}
	return nil
}

// Waiting for as long as a rejection says is enough, to the nanosecond, whichever timer is first and even if ours
// is late.
func TestToldWaitSuffices(t *testing.T) {
	waits := map[string]func(b *Breaker, err error) time.Duration{
		"RetryAfter": func(_ *Breaker, err error) time.Duration {
			open, _ := errors.AsType[*OpenError](err)
			return open.RetryAfter()
		},
		"Ready": func(b *Breaker, _ error) time.Duration { wait, _ := b.Ready(); return wait },
		"Stats": func(b *Breaker, _ error) time.Duration { return b.Stats().Wait },
	}
	openings := map[string]func(b *Breaker){
		"tripped": func(b *Breaker) { times(1, b, errBoom) },
		"forced": func(b *Breaker) {
			_ = b.Force(Forced{Mode: ModeOpen, Reason: "test", By: "test", For: time.Minute})
		},
	}
	for how, wait := range waits {
		for opening, open := range openings {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprint(how, opening, late), func(t *testing.T) {
					bubble(t, with(quick, func(c *Config) { c.Jitter = 0.5 }), func(t *testing.T, b *Breaker) {
						open(b)
						err := b.Do(t.Context(), ok)
						told := wait(b, err)
						time.Sleep(told / 4 * 3)
						if err := b.Do(t.Context(), ok); !errors.Is(err, ErrOpen) {
							t.Errorf("before its time: %v", err)
						}
						time.Sleep(told - told/4*3 - time.Millisecond)
						if err := b.Do(t.Context(), ok); !errors.Is(err, ErrOpen) {
							t.Errorf("a millisecond before its time: %v", err)
						}
						if late {
							b.alarm.Stop()
						}
						time.Sleep(time.Millisecond)
						if _, ok := b.Ready(); !ok {
							t.Error("not ready after the wait")
						}
						if err := b.Do(t.Context(), ok); err != nil {
							t.Errorf("after the wait: %v", err)
						}
						wantState(t, b, StateClosed)
					})
				})
			}
		}
	}
}

// A share that is met exactly opens, though 0.55 × 100 is more than 55 in floating point.
func TestExactShareTrips(t *testing.T) {
	for percent := 1; percent <= 100; percent++ {
		cfg := Config{FailureRate: float64(percent) / 100, MinCalls: 100}
		bubble(t, cfg, func(t *testing.T, b *Breaker) {
			times(100-percent, b, nil)
			times(percent-1, b, errBoom)
			wantState(t, b, StateClosed)
			times(1, b, errBoom)
			if got := b.State(); got != StateOpen {
				t.Errorf("%d of 100 calls failed at FailureRate %v: %v", percent, cfg.FailureRate, got)
			}
		})
	}
}

func TestPanickingVerdictEndsThePermit(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.Verdict = func(error) Verdict { panic("verdict") } })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		done := func() {
			permit, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			abandon(func() { permit.Done(errBoom) })
		}
		done()
		wantState(t, b, StateOpen)
		time.Sleep(time.Second)
		done()
		wantState(t, b, StateOpen)
	})
}
