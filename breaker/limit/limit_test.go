package limit

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/breaker"
)

var errBoom = errors.New("boom")

func ok(context.Context) error   { return nil }
func fail(context.Context) error { return errBoom }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
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

// A server takes so many calls at once, each for so long; others wait in line.
type server struct {
	places chan struct{}
	took   time.Duration
}

func newServer(capacity int, took time.Duration) *server {
	return &server{places: make(chan struct{}, capacity), took: took}
}

func (s *server) call(ctx context.Context) error {
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.places }()
	time.Sleep(s.took)
	return nil
}

// load makes clients call s through a without pause, for d. A refused client waits a little.
func load(a *Adaptive, s *server, clients int, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				if errors.Is(a.Do(ctx, s.call), ErrAdaptive) {
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}

func wantLimit(t *testing.T, a *Adaptive, least, most int) {
	t.Helper()
	if s := a.Stats(); s.Limit < least || s.Limit > most {
		t.Errorf("limit %d, want %d to %d; %+v", s.Limit, least, most, s)
	}
}

func TestAdaptiveFindsTheServersCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must(NewAdaptive(AdaptiveConfig{Name: "search"}))
		load(a, newServer(50, 20*time.Millisecond), 20, 10*time.Second) // learns what is normal
		load(a, newServer(50, 20*time.Millisecond), 200, 30*time.Second)
		wantLimit(t, a, 50, 150) // full, and a queue of at most two services' time
		load(a, newServer(10, 20*time.Millisecond), 200, 30*time.Second)
		wantLimit(t, a, 10, 40)
		load(a, newServer(50, 20*time.Millisecond), 200, 30*time.Second)
		wantLimit(t, a, 50, 150)
	})
}

func TestAdaptiveDoesNotLearnALastingOverloadAsNormal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must(NewAdaptive(AdaptiveConfig{}))
		load(a, newServer(20, 10*time.Millisecond), 5, 10*time.Second)
		for range 9 { // within Memory
			load(a, newServer(20, 10*time.Millisecond), 150, 15*time.Second)
			wantLimit(t, a, 20, 70)
		}
	})
}

func TestAdaptiveForgetsTheBestInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must(NewAdaptive(AdaptiveConfig{Memory: time.Minute}))
		load(a, newServer(100, 5*time.Millisecond), 10, 5*time.Second)
		slow := newServer(100, 50*time.Millisecond) // ten times slower for good: another machine
		load(a, slow, 80, 30*time.Second)
		wantLimit(t, a, 4, 15)
		load(a, slow, 80, 3*time.Minute)
		wantLimit(t, a, 40, 300)
	})
}

func TestAdaptiveGrowsOnlyWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must(NewAdaptive(AdaptiveConfig{Initial: 20}))
		load(a, newServer(1000, 10*time.Millisecond), 5, time.Minute)
		wantLimit(t, a, 20, 20)
	})
}

func TestAdaptiveShrinksWithFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must(NewAdaptive(AdaptiveConfig{Initial: 100}))
		for range 2000 {
			_ = a.Do(t.Context(), fail)
			time.Sleep(10 * time.Millisecond)
		}
		wantLimit(t, a, 8, 20) // 20 windows of 0.9
		for range 20000 {
			_ = a.Do(t.Context(), fail)
			time.Sleep(10 * time.Millisecond)
		}
		wantLimit(t, a, 4, 4)
	})
}

func TestAdaptiveIsNotTaughtByItsCallersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must(NewAdaptive(AdaptiveConfig{Initial: 100}))
		for range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_ = a.Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			cancel()
		}
		wantLimit(t, a, 100, 100)
	})
}

func TestAdaptiveRefusal(t *testing.T) {
	a := must(NewAdaptive(AdaptiveConfig{Name: "search", Initial: 1, Min: 1}))
	permit, err := a.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = a.Do(t.Context(), func(context.Context) error { t.Error("ran"); return nil })
	wantError(t, err, ErrAdaptive, `limit "search": limit: at the adaptive limit, retry in 1s`)
	permit.Done(nil)
	if err := a.Do(t.Context(), fail); err != errBoom {
		t.Errorf("Do = %v, want the call's error", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second Done does not panic")
		}
	}()
	permit.Done(nil)
}

// wantError checks what every refusal says.
func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	e, is := errors.AsType[*Error](err)
	if !is || !errors.Is(err, kind) || !e.NotRun() || e.OutcomeUnknown() || !e.LocalRefusal() || e.RetryAfter() <= 0 {
		t.Fatalf("error %#v, want %v, not run, with a wait", err, kind)
	}
	if text != "" && err.Error() != text {
		t.Errorf("text %q, want %q", err, text)
	}
	if breaker.DefaultVerdict(err) != breaker.VerdictNeutral {
		t.Error("a refusal counts against the dependency")
	}
}

func TestPermitsComeBack(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("x") }, "Goexit": runtime.Goexit} {
		a := must(NewAdaptive(AdaptiveConfig{Initial: 4}))
		th := must(NewThrottle(ThrottleConfig{}))
		for range 4 {
			abandon(func() { _ = a.Do(context.Background(), func(context.Context) error { leave(); return nil }) })
			abandon(func() { _ = th.Do(context.Background(), func(context.Context) error { leave(); return nil }) })
		}
		if s := a.Stats(); s.InFlight != 0 || s.Ended != 4 || a.sample.failed != 4 {
			t.Errorf("after %s: %+v, want 4 failures and none in flight", name, s)
		}
		if s := th.Stats(); s.Requests != 4 || s.Accepts != 0 {
			t.Errorf("after %s: %+v, want 4 requests without accepts", name, s)
		}
	}
}

func TestThrottleFollowsTheRefusals(t *testing.T) {
	tests := []struct {
		name   string
		accept float64 // share of calls that the server accepts
		want   float64 // share of calls that is sent
	}{
		{"all accepted", 1, 1},
		{"half accepted", 0.5, 1}, // K = 2
		{"a tenth accepted", 0.1, 0.2},
		{"none accepted", 0, 0.1}, // MaxReject
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				th := must(NewThrottle(ThrottleConfig{}))
				asked, sent := 0, 0
				for asked < 60000 { // ten minutes; the server takes a fixed number a second
					asked++
					accepts := float64(asked%100) < tt.accept*100
					_ = th.Do(t.Context(), func(context.Context) error {
						sent++
						if accepts {
							return nil
						}
						return errBoom
					})
					time.Sleep(10 * time.Millisecond)
				}
				// What the throttle keeps back is not accepted either, so the share sent falls below K times
				// the accepted one; it must stay above MaxReject's rest.
				if got := float64(sent) / float64(asked); got > tt.want*1.15 || got < 0.09 {
					t.Errorf("%v of the calls sent, want at most about %v", got, tt.want)
				}
				s := th.Stats()
				if tt.accept == 1 && s.Refused > 0 {
					t.Errorf("refused %d though all were accepted", s.Refused)
				}
			})
		})
	}
}

func TestThrottleRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := must(NewThrottle(ThrottleConfig{Name: "search"}))
		var refusal error
		for range 12000 {
			if err := th.Do(t.Context(), fail); err != errBoom {
				refusal = err
			}
			time.Sleep(10 * time.Millisecond)
		}
		wantError(t, refusal, ErrThrottled, `limit "search": limit: throttled, retry in 1s`)
		if s := th.Stats(); s.Reject != 0.9 {
			t.Errorf("rejects with probability %v, want 0.9", s.Reject)
		}
		for range 24000 { // four minutes: twice the window
			_ = th.Do(t.Context(), ok)
			time.Sleep(10 * time.Millisecond)
		}
		if s := th.Stats(); s.Reject != 0 {
			t.Errorf("four minutes after the recovery it rejects with probability %v, want 0", s.Reject)
		}
	})
}

func TestThrottleNeedsVolumeAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := must(NewThrottle(ThrottleConfig{}))
		for range 19 {
			_ = th.Do(t.Context(), fail)
		}
		if got := th.Stats().Reject; got != 0 {
			t.Errorf("rejects with probability %v after 19 requests, want 0", got)
		}
		permit, err := th.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		permit.Done(context.Canceled) // neutral: never was a request
		if got := th.Stats().Requests; got != 19 {
			t.Errorf("%d requests, want 19", got)
		}
		time.Sleep(2*time.Minute + 10*time.Second)
		if s := th.Stats(); s.Requests != 0 || s.Accepts != 0 {
			t.Errorf("%+v after a window, want nothing", s)
		}
		permit, _ = th.Acquire(t.Context())
		time.Sleep(time.Hour)
		permit.Done(context.Canceled) // its bucket is long gone
		if s := th.Stats(); s.Requests != 0 {
			t.Errorf("%d requests, want 0", s.Requests)
		}
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := must(NewRate(rate.NewLimiter(1, 2), RateConfig{Name: "api", MaxWait: 1500 * time.Millisecond}))
		start := time.Now()
		for range 3 { // two of the burst, one after a second
			if err := r.Do(t.Context(), ok); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("three calls took %v, want 1s", got)
		}
		go r.Do(context.Background(), ok) // takes the next token
		synctest.Wait()
		err := r.Do(t.Context(), ok)
		wantError(t, err, ErrRate, `limit "api": limit: rate exceeded, retry in 2s`)
		time.Sleep(time.Second)
		synctest.Wait() // both sleepers wake at this instant
		if got := r.Stats(); got.Admitted != 4 || got.Refused != 1 || got.Tokens != 0 {
			t.Errorf("%+v: the refused call took a token", got)
		}
	})
}

func TestRateLooksAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := must(NewRate(rate.NewLimiter(1, 1), RateConfig{MaxWait: time.Minute}))
		_ = r.Do(t.Context(), ok)
		ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		start := time.Now()
		wantError(t, r.Do(ctx, ok), ErrRate, "")
		if got := time.Since(start); got != 0 {
			t.Errorf("refused after %v, want at once", got)
		}
		why := errors.New("user left")
		ctx, cancelCause := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancelCause(why) })
		if err := r.Do(ctx, ok); !errors.Is(err, ErrRate) || !errors.Is(err, why) {
			t.Errorf("Do = %v, want ErrRate and the cause", err)
		}
	})
}

func TestRateOfNothing(t *testing.T) {
	r := must(NewRate(rate.NewLimiter(1, 0), RateConfig{}))
	wantError(t, r.Do(t.Context(), ok), ErrRate, "")
}

func TestConfigErrorsNameTheField(t *testing.T) {
	adaptive := func(c AdaptiveConfig) error { c.Name = "x"; _, err := NewAdaptive(c); return err }
	throttle := func(c ThrottleConfig) error { c.Name = "x"; _, err := NewThrottle(c); return err }
	_, nilLimiter := NewRate(nil, RateConfig{Name: "x"})
	_, negative := NewRate(rate.NewLimiter(1, 1), RateConfig{Name: "x", MaxWait: -1})
	tests := []struct {
		want string
		err  error
	}{
		{"AdaptiveConfig.Min: -1 is outside", adaptive(AdaptiveConfig{Min: -1})},
		{"AdaptiveConfig.Max: 3 is outside [4, ", adaptive(AdaptiveConfig{Max: 3})},
		{"AdaptiveConfig.Initial: 2000 is outside [4, 1000]", adaptive(AdaptiveConfig{Initial: 2000})},
		{"AdaptiveConfig.Tolerance: 0.5 is outside [1, 10]", adaptive(AdaptiveConfig{Tolerance: 0.5})},
		{"AdaptiveConfig.Window: 1ns is outside [10ms, ", adaptive(AdaptiveConfig{Window: 1})},
		{"AdaptiveConfig.Memory: 9s is outside [10s, ", adaptive(AdaptiveConfig{Memory: 9 * time.Second})},
		{"ThrottleConfig.Window: 1ms is outside [120ms, ", throttle(ThrottleConfig{Window: time.Millisecond})},
		{"ThrottleConfig.K: 0.5 is outside [1, 10]", throttle(ThrottleConfig{K: 0.5})},
		{"ThrottleConfig.MinCalls: -1 is outside", throttle(ThrottleConfig{MinCalls: -1})},
		{"ThrottleConfig.MaxReject: 2 is outside", throttle(ThrottleConfig{MaxReject: 2})},
		{"RateConfig.MaxWait: -1ns is outside", negative},
		{"NewRate.l: nil", nilLimiter},
	}
	for _, tt := range tests {
		if tt.err == nil || !strings.HasPrefix(tt.err.Error(), `limit "x": `+tt.want) {
			t.Errorf("error %v, want %s", tt.err, tt.want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	a := must(NewAdaptive(AdaptiveConfig{Initial: 4, Max: 8, Window: 10 * time.Millisecond}))
	th := must(NewThrottle(ThrottleConfig{Window: 120 * time.Millisecond}))
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := range 2000 {
				call := ok
				if (g+n)%3 == 0 {
					call = fail
				}
				_ = a.Do(context.Background(), call)
				_ = th.Do(context.Background(), call)
			}
		})
	}
	wg.Wait()
	if s := a.Stats(); s.InFlight != 0 || s.Limit > 8 || s.Ended+s.Refused != 32000 {
		t.Errorf("%+v, want none in flight and 32000 calls", s)
	}
	if s := th.Stats(); s.Admitted+s.Refused != 32000 {
		t.Errorf("%+v, want 32000 calls", s)
	}
}

func TestAllocations(t *testing.T) {
	ctx := context.Background()
	a, full := must(NewAdaptive(AdaptiveConfig{})), must(NewAdaptive(AdaptiveConfig{Initial: 1, Min: 1}))
	if _, err := full.Acquire(ctx); err != nil {
		t.Fatal(err)
	}
	th := must(NewThrottle(ThrottleConfig{}))
	r := must(NewRate(rate.NewLimiter(1e9, 1e9), RateConfig{}))
	tests := map[string]func(){
		"Adaptive.Do":      func() { _ = a.Do(ctx, ok) },
		"Adaptive refusal": func() { _ = full.Do(ctx, ok) },
		"Throttle.Do":      func() { _ = th.Do(ctx, ok) },
		"Rate.Do":          func() { _ = r.Do(ctx, ok) },
	}
	for name, f := range tests {
		if got := testing.AllocsPerRun(200, f); got != 0 {
			t.Errorf("%s allocates %v times, want 0", name, got)
		}
	}
}
