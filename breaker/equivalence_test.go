package breaker

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A twin drives a gobreaker and one of ours with the same calls. Where gobreaker cannot do a thing ours does by
// default, ours is told not to: no jitter, no doubling, and gobreaker's rule.
type twin struct {
	t      *testing.T
	theirs *gobreaker.CircuitBreaker[int]
	ours   *Breaker
	random *rand.Rand
	window time.Duration
	step   int
}

func newTwin(t *testing.T, seed uint64) *twin {
	random := rand.New(rand.NewPCG(seed, 7))
	probes := 1 + random.IntN(4)
	window := time.Duration(1+random.IntN(10)) * time.Second
	openFor := time.Duration(10+random.IntN(5000)) * time.Millisecond
	return &twin{
		t: t, random: random, window: window,
		theirs: gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
			MaxRequests: uint32(probes), Interval: window,
			BucketPeriod: window / buckets, Timeout: openFor,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				results := c.TotalSuccesses + c.TotalFailures // Requests would count the neutral ones
				return results >= 20 && float64(c.TotalFailures) >= 0.5*float64(results)
			},
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		}),
		ours: must(New(Config{Window: window, OpenFor: openFor, MaxOpenFor: openFor, Jitter: Off, Probes: probes, ProbeTimeout: time.Hour})),
	}
}

// call makes the same call through both and compares what they say.
func (w *twin) call(result error) {
	w.t.Helper()
	_, theirErr := w.theirs.Execute(func() (int, error) { return w.step, result })
	ourErr := w.ours.Do(context.Background(), func(context.Context) error { return result })
	if !errors.Is(ourErr, theirErr) {
		w.t.Fatalf("step %d: error %v, gobreaker %v", w.step, ourErr, theirErr)
	}
	w.compareState()
	w.step++
}

func (w *twin) compareState() {
	w.t.Helper()
	stats := w.ours.Stats()
	theirs := w.theirs.State()
	if got := stats.State.String(); got != theirs.String() {
		w.t.Fatalf("step %d: state %v, gobreaker %v", w.step, got, theirs)
	}
	if counts := w.theirs.Counts(); theirs == gobreaker.StateClosed &&
		(stats.Window.Successes != uint64(counts.TotalSuccesses) || stats.Window.Failures != uint64(counts.TotalFailures)) {
		w.t.Fatalf("step %d: counts %+v, gobreaker %+v", w.step, stats.Window, counts)
	}
}

// pause sleeps not at all, within a bucket, about a bucket, or up to two windows. An odd number of
// nanoseconds never meets a timer, which are all at even ones plus one after an even start.
func (w *twin) pause() {
	longest := int64(0)
	switch n := w.random.IntN(20); {
	case n == 0:
		longest = int64(2 * w.window)
	case n < 5:
		longest = int64(w.window / buckets)
	case n < 13:
		longest = int64(w.window / 100)
	default:
		return
	}
	time.Sleep(time.Duration(w.random.Int64N(longest)/1000*1000 + 500))
}

// TestSameDecisionsAsGobreaker compares every admission, error, state and count over random windows, open
// times, probe numbers, failure phases and pauses.
func TestSameDecisionsAsGobreaker(t *testing.T) {
	const seeds, steps = 200, 3000
	var opened, rejected uint64
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			w := newTwin(t, seed)
			failing := 0.1
			for i := range steps {
				if i%150 == 0 {
					failing = []float64{0, 0.1, 0.45, 0.55, 0.9}[w.random.IntN(5)]
				}
				var result error
				switch p := w.random.Float64(); {
				case p < failing:
					result = errBoom
				case p > 0.97:
					result = context.Canceled // neutral in both
				}
				w.call(result)
				w.pause()
			}
			s := w.ours.Stats()
			opened += s.Opened
			rejected += s.Rejected
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if opened < seeds || rejected < seeds {
		t.Fatalf("%d openings and %d rejections prove nothing", opened, rejected)
	}
	t.Logf("%d calls, %d openings, %d rejections: no difference", seeds*steps, opened, rejected)
}

// The differences, one by one. Each test shows what gobreaker does too, so that a new version that
// changes its mind is noticed.

func theirTrip(c gobreaker.Counts) bool {
	return c.Requests >= 20 && float64(c.TotalFailures) >= 0.5*float64(c.Requests)
}

func theirRolling() *gobreaker.CircuitBreaker[int] {
	return gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
		Interval: 10 * time.Second, BucketPeriod: time.Second,
		Timeout: time.Second, ReadyToTrip: theirTrip,
	})
}

// Results count when calls end. gobreaker counts them in the bucket of their start, so that calls longer than
// the window never count.
func TestDifferenceHangingCallsTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, opened := time.Now(), time.Duration(0)
		ours, theirs := must(New(Config{OpenFor: time.Minute, OnStateChange: func(tr Transition) {
			if opened == 0 {
				opened = time.Since(start)
			}
		}})), theirRolling()
		hang := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		for range 1000 { // a call every 100 ms, each timing out after 30 s
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			go ours.Do(ctx, hang)
			go theirs.Execute(func() (int, error) { return 0, hang(ctx) })
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if opened < 30*time.Second || opened > 40*time.Second {
			t.Errorf("a dependency that hangs opened the breaker after %v, want within a window of the first results at 30s", opened)
		}
		if got := theirs.State(); got != gobreaker.StateClosed {
			t.Errorf("gobreaker is %v: the difference is gone", got)
		}
		time.Sleep(time.Minute)
	})
}

// Calls in flight do not dilute the rate.
func TestDifferenceInFlightDoesNotDilute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := must(New(Config{})), theirRolling()
		release := make(chan struct{})
		for range 100 {
			go ours.Do(context.Background(), func(context.Context) error { <-release; return nil })
			go theirs.Execute(func() (int, error) { <-release; return 0, nil })
		}
		synctest.Wait()
		for range 60 {
			_ = ours.Do(context.Background(), fail)
			_, _ = theirs.Execute(func() (int, error) { return 0, errBoom })
		}
		if got := ours.State(); got != StateOpen {
			t.Errorf("state %v with 60 of 60 results failed, want open", got)
		}
		if got := theirs.State(); got != gobreaker.StateClosed {
			t.Errorf("gobreaker is %v: the difference is gone", got)
		}
		close(release)
	})
}

// A probe that hangs is given up after ProbeTimeout; gobreaker waits for it for good.
func TestDifferenceHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours := must(New(Config{ConsecutiveFailures: 1, OpenFor: time.Second, Probes: 1, Jitter: Off}))
		theirs := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Timeout: time.Second, ReadyToTrip: func(gobreaker.Counts) bool { return true }})
		_ = ours.Do(context.Background(), fail)
		_, _ = theirs.Execute(func() (int, error) { return 0, errBoom })
		time.Sleep(time.Second + time.Millisecond)
		release := make(chan struct{})
		go ours.Do(context.Background(), func(context.Context) error { <-release; return nil })
		go theirs.Execute(func() (int, error) { <-release; return 0, nil })
		time.Sleep(time.Hour)
		if err := ours.Do(context.Background(), ok); err != nil {
			t.Errorf("an hour after a probe hung: %v", err)
		}
		if _, err := theirs.Execute(func() (int, error) { return 0, nil }); !errors.Is(err, gobreaker.ErrTooManyRequests) {
			t.Errorf("gobreaker says %v: the difference is gone", err)
		}
		close(release)
	})
}

// Consecutive failures are consecutive, however old; gobreaker forgets those that left the window.
func TestDifferenceConsecutiveFailuresAreNotWindowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours := must(New(Config{ConsecutiveFailures: 5}))
		theirs := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
			Interval: 10 * time.Second, BucketPeriod: time.Second,
			Timeout: time.Minute, ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 },
		})
		for range 5 {
			_ = ours.Do(context.Background(), fail)
			_, _ = theirs.Execute(func() (int, error) { return 0, errBoom })
			time.Sleep(4 * time.Second)
		}
		if got := ours.Stats().Opened; got != 1 {
			t.Errorf("opened %d times after 5 failures in a row, want 1", got)
		}
		if got := theirs.State(); got != gobreaker.StateClosed {
			t.Errorf("gobreaker is %v: the difference is gone", got)
		}
	})
}

// The open time ends by itself; gobreaker's ends when somebody asks. Nobody can tell but a listener.
func TestDifferenceOpenEndsByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []State
		ours := must(New(Config{ConsecutiveFailures: 1, OpenFor: time.Second, Jitter: Off, OnStateChange: func(tr Transition) { told = append(told, tr.To) }}))
		_ = ours.Do(context.Background(), fail)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(told) != 2 || told[1] != StateHalfOpen {
			t.Errorf("told %v, want open and half-open without a call", told)
		}
	})
}
