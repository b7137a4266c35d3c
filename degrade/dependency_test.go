package degrade

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func pollOK(context.Context) (State, error) { return StateOK, nil }

// readyWhen is a Ready joint that answers what is stored: nil = ready.
func readyWhen(answer *atomic.Int64) func() (time.Duration, bool) {
	return func() (time.Duration, bool) {
		if answer == nil {
			return 0, true
		}
		switch n := answer.Load(); {
		case n < 0:
			return time.Second, false
		default:
			return time.Duration(n), true
		}
	}
}

func TestReadyJoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait})
		var answer atomic.Int64
		f := c.Feature("f", FeatureConfig{Reads: c.Dependency("pay", DependencyConfig{Ready: readyWhen(&answer)})})
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Normal, "ready")
		answer.Store(-1)
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Offline, "not ready")
		answer.Store(int64(time.Second))
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Limited, "probes only")
		answer.Store(0)
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Normal, "ready again")
	})
}

func TestImpairedCountsAfterAWhileAndDownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Reads: d})
		d.Report(StateImpaired)
		time.Sleep(4 * time.Second)
		wantLevel(t, f, Normal, "impaired for 4 s")
		d.Report(StateOK)
		d.Report(StateImpaired)
		time.Sleep(4 * time.Second)
		wantLevel(t, f, Normal, "impaired for 4 s after a break")
		time.Sleep(time.Second + time.Millisecond)
		wantLevel(t, f, Limited, "impaired for 5 s")
		d.Report(StateDown)
		wantLevel(t, f, Offline, "down")
	})
}

func TestDownAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		d := c.Dependency("db", DependencyConfig{DownAfter: 3 * time.Second})
		f := c.Feature("f", FeatureConfig{Reads: d})
		d.Report(StateDown)
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Normal, "down for 2 s")
		time.Sleep(time.Second + time.Millisecond)
		wantLevel(t, f, Offline, "down for 3 s")
	})
}

// TestSilentSource follows a push source that stops reporting: Unknown after MaxAge, believed for UnknownHold, then Impaired.
func TestSilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{UnknownHold: 20 * time.Second, Hold: NoWait})
		d := c.Dependency("db", DependencyConfig{MaxAge: 10 * time.Second})
		f := c.Feature("f", FeatureConfig{Reads: d})
		time.Sleep(time.Minute)
		wantLevel(t, f, Normal, "never reported")
		if s := c.Status().Dependencies[0]; !s.Unproven {
			t.Error("a dependency that never reported is shown as proven")
		}
		d.Report(StateOK)
		for range 5 { // unchanged reports keep it young
			time.Sleep(9 * time.Second)
			d.Report(StateOK)
		}
		time.Sleep(29 * time.Second)
		wantLevel(t, f, Normal, "silent for 29 s")
		time.Sleep(time.Second + time.Millisecond)
		wantLevel(t, f, Limited, "silent for 30 s")
		d.Report(StateOK)
		wantLevel(t, f, Normal, "heard again")
	})
}

func TestUnknownAfterDownDoesNotKeepAFeatureOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait})
		d := c.Dependency("db", DependencyConfig{MaxAge: time.Second})
		f := c.Feature("f", FeatureConfig{Reads: d})
		d.Report(StateDown)
		time.Sleep(30 * time.Second)
		wantLevel(t, f, Offline, "unknown for 29 s")
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Limited, "unknown for 31 s")
	})
}

// TestPollThatHangsPanicsOrFails shows that the loop goes on and the state becomes Impaired.
func TestPollThatHangsPanicsOrFails(t *testing.T) {
	polls := map[string]func(context.Context) (State, error){
		"fails":               func(context.Context) (State, error) { return StateOK, errDown },
		"panics":              func(context.Context) (State, error) { panic("boom") },
		"hangs till its end":  func(ctx context.Context) (State, error) { <-ctx.Done(); return StateOK, ctx.Err() },
		"reports no state":    func(context.Context) (State, error) { return 77, nil },
		"says it cannot tell": func(context.Context) (State, error) { return StateUnknown, nil },
	}
	for name, poll := range polls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, Config{})
				healthy := c.Dependency("healthy", DependencyConfig{})
				beside := c.Feature("beside", FeatureConfig{Reads: healthy})
				f := c.Feature("f", FeatureConfig{Reads: c.Dependency("bad", DependencyConfig{Poll: poll})})
				time.Sleep(29 * time.Second)
				wantLevel(t, f, Normal, "before UnknownHold")
				healthy.Report(StateDown)
				wantLevel(t, beside, Offline, "the loop goes on")
				time.Sleep(7 * time.Second)
				wantLevel(t, f, Limited, "after UnknownHold")
			})
		})
	}
}

func TestPollThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := build(t, Config{})
		f := c.Feature("f", FeatureConfig{Reads: c.Dependency("wedged", DependencyConfig{
			Poll: func(context.Context) (State, error) { <-release; return StateOK, nil },
		})})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(36 * time.Second)
		wantLevel(t, f, Limited, "MaxAge 4 s and UnknownHold 30 s later")
		cancel()
		begin := time.Now()
		err := <-done
		if err == nil || !contains(err.Error(), "poll of dependency wedged") || time.Since(begin) != stopTimeout {
			t.Errorf("Run = %v after %v, want the poll's name after %v", err, time.Since(begin), stopTimeout)
		}
		close(release)
		synctest.Wait()
	})
}

func TestWatermark(t *testing.T) {
	numbers := []float64{0, 100, 101, 60, 50, 49, 1001, 600, 499, 49, 2000}
	want := []State{StateOK, StateOK, StateImpaired, StateImpaired, StateImpaired, StateOK, StateDown, StateDown, StateImpaired, StateOK, StateDown}
	i := 0
	poll, err := Watermark(func(context.Context) (float64, error) { return numbers[i], nil },
		Marks{ImpairedHigh: 100, ImpairedLow: 50, DownHigh: 1000, DownLow: 500})
	if err != nil {
		t.Fatal(err)
	}
	for i = range numbers {
		if got, err := poll(t.Context()); got != want[i] || err != nil {
			t.Errorf("poll at %v = %v, %v, want %v", numbers[i], got, err, want[i])
		}
	}
}

func TestWatermarkRefusals(t *testing.T) {
	nan := func(context.Context) (float64, error) { var zero float64; return zero / zero, nil }
	for _, m := range []Marks{{ImpairedHigh: 1, ImpairedLow: 2}, {ImpairedHigh: 5, DownHigh: 4, DownLow: 1}, {DownHigh: 1, DownLow: 2}} {
		if _, err := Watermark(nan, m); err == nil {
			t.Errorf("Watermark(%+v) was accepted", m)
		}
	}
	poll, _ := Watermark(nan, Marks{ImpairedHigh: 1})
	if _, err := poll(t.Context()); err == nil {
		t.Error("not a number is a state")
	}
	poll, _ = Watermark(func(context.Context) (float64, error) { return 1e300, nil }, Marks{ImpairedHigh: 1})
	if s, _ := poll(t.Context()); s != StateImpaired {
		t.Errorf("without DownHigh 1e300 is %v, want impaired", s)
	}
	poll, _ = Watermark(func(context.Context) (float64, error) { return 0, errDown }, Marks{})
	if _, err := poll(t.Context()); err != errDown {
		t.Errorf("poll = %v, want %v", err, errDown)
	}
}
