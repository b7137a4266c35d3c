package breaker

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// probing is quick with a background probe.
func probing(probes int, probe func(context.Context) error) Config {
	return with(quick, func(c *Config) { c.Probes, c.Probe = probes, probe })
}

func TestBackgroundProbeCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		b := must(New(probing(3, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			if got := time.Until(deadline); got != 10*time.Second {
				t.Errorf("a probe has %v to live, want ProbeTimeout", got)
			}
			runs.Add(1)
			return nil
		})))
		times(1, b, errBoom)
		time.Sleep(1500 * time.Millisecond)
		wantState(t, b, StateHalfOpen)
		wantRuns(t, b, false) // calls do not pay for probing
		if wait, ok := b.Ready(); ok || wait <= 0 {
			t.Errorf("Ready = %v, %t, want a wait and false", wait, ok)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantState(t, b, StateClosed)
		if got := runs.Load(); got != 3 {
			t.Errorf("probed %d times, want 3", got)
		}
		time.Sleep(time.Hour)
		if got := runs.Load(); got != 3 {
			t.Errorf("probed %d times after closing, want 3", got)
		}
	})
}

func TestBackgroundProbeFails(t *testing.T) {
	fates := map[string]func(context.Context) error{
		"error":    func(context.Context) error { return after{errBoom, 20 * time.Second} },
		"panic":    func(context.Context) error { panic("x") },
		"Goexit":   func(context.Context) error { runtime.Goexit(); return nil },
		"time-out": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}
	waits := map[string]time.Duration{"error": 20 * time.Second, "panic": 2 * time.Second, "Goexit": 2 * time.Second, "time-out": 2 * time.Second}
	for name, fate := range fates {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var healthy atomic.Bool
				b := must(New(probing(1, func(ctx context.Context) error {
					if healthy.Load() {
						return nil
					}
					return fate(ctx)
				})))
				times(1, b, errBoom)
				time.Sleep(time.Second + time.Millisecond)
				if name == "time-out" {
					time.Sleep(10 * time.Second)
				}
				synctest.Wait()
				wantState(t, b, StateOpen)
				if got := b.Stats().Wait.Round(10 * time.Millisecond); got != waits[name] {
					t.Errorf("open for %v, want %v", got, waits[name])
				}
				healthy.Store(true)
				time.Sleep(waits[name] + time.Second)
				synctest.Wait()
				wantState(t, b, StateClosed)
			})
		})
	}
}

// TestStuckBackgroundProbeLetsCallsProbe: a Probe that ignores its context is not run twice, and cannot keep
// the breaker open.
func TestStuckBackgroundProbeLetsCallsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var runs atomic.Int32
		b := must(New(probing(1, func(context.Context) error { runs.Add(1); <-release; return errBoom })))
		times(1, b, errBoom)
		time.Sleep(time.Second + 10*time.Second + time.Millisecond)
		synctest.Wait()
		wantState(t, b, StateOpen) // its time is over: failed
		time.Sleep(2 * time.Second)
		wantState(t, b, StateHalfOpen)
		times(1, b, context.Canceled) // a neutral call gives the slot back to the next
		wantRuns(t, b, true)
		wantState(t, b, StateClosed)
		if got := runs.Load(); got != 1 {
			t.Errorf("%d probes run at once", got)
		}
		times(1, b, errBoom)
		time.Sleep(90 * time.Second)
		wantState(t, b, StateHalfOpen)
		permit, err := b.Allow() // takes the only slot
		if err != nil {
			t.Fatal(err)
		}
		close(release) // the stuck one comes back; its result is from another time
		time.Sleep(3 * time.Second)
		wantState(t, b, StateHalfOpen)
		permit.DoneAs(VerdictNeutral, nil)
		time.Sleep(3 * time.Second) // the background takes over again, and fails
		synctest.Wait()
		wantState(t, b, StateOpen)
		if got := runs.Load(); got != 2 {
			t.Errorf("probed %d times, want 2", got)
		}
	})
}

func TestDroppedBreakerStopsProbing(t *testing.T) {
	runs := make(chan struct{}, 1000)
	func() {
		b := must(New(Config{ConsecutiveFailures: 1, OpenFor: minOpenFor, MaxOpenFor: minOpenFor, Probe: func(context.Context) error {
			runs <- struct{}{}
			return errBoom
		}}))
		times(1, b, errBoom)
		<-runs
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		for len(runs) > 0 {
			<-runs
		}
		select { // several open times without a probe: nobody is left to start one
		case <-runs:
		case <-time.After(20 * minOpenFor):
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a dropped breaker still probes")
		}
	}
}

func TestRamp(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.Ramp = []float64{0.1, 0.5}; c.RampStep = 10 * time.Second })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		share := func() float64 {
			admitted := 0
			for range 5000 {
				if b.Do(t.Context(), ok) == nil {
					admitted++
				}
			}
			return float64(admitted) / 5000
		}
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		times(1, b, nil)
		wantState(t, b, StateRamp)
		if got := share(); got < 0.08 || got > 0.12 {
			t.Errorf("first step admits %v, want 0.1", got)
		}
		if wait, ok := b.Ready(); wait <= 0 || !ok {
			t.Errorf("Ready = %v, %t, want a wait and true", wait, ok)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if got := share(); got < 0.46 || got > 0.54 {
			t.Errorf("second step admits %v, want 0.5", got)
		}
		before := b.Stats().Window
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		wantState(t, b, StateClosed)
		if got := share(); got != 1 {
			t.Errorf("after the ramp %v is admitted, want all", got)
		}
		if before.Successes == 0 {
			t.Error("results of the ramp are not in the window")
		}
	})
}

func TestRampFallsBackAtARegression(t *testing.T) {
	cfg := Config{Probes: 2, OpenFor: time.Second, Jitter: Off, Ramp: []float64{1}, RampStep: time.Minute}
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		times(20, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		times(2, b, nil)
		wantState(t, b, StateRamp)
		times(1, b, nil)
		wantState(t, b, StateRamp)
		times(1, b, errBoom) // one of two: Probes results are enough while ramping
		wantState(t, b, StateOpen)
		if got := b.Stats().Wait; got != 2*time.Second {
			t.Errorf("open for %v, want 2s: the same outage", got)
		}
	})
}

func TestRampRejection(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.Ramp = []float64{1e-9}; c.RampStep = 10 * time.Second })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		times(1, b, nil)
		time.Sleep(4 * time.Second)
		err := b.Do(t.Context(), ok)
		open, _ := errors.AsType[*OpenError](err)
		if open == nil || open.State != StateRamp || open.RetryAfter().Round(time.Second) != 6*time.Second || open.Reason != "1 consecutive failures" {
			t.Errorf("rejected with %#v, want the ramp, its step's end and what began it", err)
		}
	})
}
