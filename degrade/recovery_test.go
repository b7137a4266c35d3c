package degrade

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A step is one expected change of level, with the span it must fall into, counted from the change before.
type step struct {
	to       Level
	min, max time.Duration
}

func wantSteps(t *testing.T, f *Feature, steps ...step) {
	t.Helper()
	for _, s := range steps {
		took := until(t, f, s.to, s.max+time.Minute)
		if took < s.min || took > s.max+10*time.Millisecond {
			t.Errorf("%v was reached after %v, want %v to %v", s.to, took, s.min, s.max)
		}
	}
}

// TestWayBackIsTakenInSteps: 30 s ± 20 % without a break for each level.
func TestWayBackIsTakenInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Reads: d})
		d.Report(StateDown)
		wantLevel(t, f, Offline, "down")
		d.Report(StateOK)
		wantLevel(t, f, Offline, "just up")
		wantSteps(t, f, step{ReadOnly, 24 * time.Second, 36 * time.Second}, step{Limited, 24 * time.Second, 36 * time.Second}, step{Normal, 24 * time.Second, 36 * time.Second})
	})
}

func TestRelapseDuringTheHoldStartsItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Reads: d})
		for range 20 { // up for 23 s, down for an instant: never 24 s without a break
			d.Report(StateDown)
			d.Report(StateOK)
			time.Sleep(23 * time.Second)
			wantLevel(t, f, Offline, "flapping")
		}
	})
}

// TestFlapDampingDoublesAndForgets lets a feature relapse after each first step.
func TestFlapDampingDoublesAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: 10 * time.Second, MaxHold: time.Minute, FlapWindow: 5 * time.Minute})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Writes: d}) // ReadOnly, then Limited
		relapse := func(hold time.Duration) {
			t.Helper()
			d.Report(StateDown)
			wantLevel(t, f, ReadOnly, "relapse")
			d.Report(StateOK)
			wantSteps(t, f, step{Limited, hold * 8 / 10, hold * 12 / 10})
		}
		relapse(10 * time.Second)
		relapse(20 * time.Second)
		relapse(40 * time.Second)
		relapse(time.Minute)
		relapse(time.Minute)
		time.Sleep(30 * time.Minute) // every 5 minutes forgive one
		wantLevel(t, f, Normal, "after half an hour")
		relapse(10 * time.Second)
	})
}

func TestPeopleDoNotRelapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: 10 * time.Second})
		f := c.Feature("f", FeatureConfig{})
		for range 5 {
			id := mustOverride(t, c, override("f", Limited))
			if err := c.Clear(t.Context(), id, Request{"over", "ana"}); err != nil {
				t.Fatal(err)
			}
			wantSteps(t, f, step{Normal, 8 * time.Second, 12 * time.Second})
		}
	})
}

// TestInstancesDoNotComeBackInLockstep: of 20 instances not all take the first step within a second.
func TestInstancesDoNotComeBackInLockstep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at [20]time.Duration
		begin := time.Now()
		for i := range at {
			c := start(t, Config{})
			d := c.Dependency("db", DependencyConfig{})
			f := c.Feature("f", FeatureConfig{Optional: d})
			c.Subscribe(func(e Event) {
				if e.Kind == EventLevel && e.To == "normal" {
					at[i] = time.Since(begin)
				}
			})
			d.Report(StateDown)
			wantLevel(t, f, Limited, "down")
			d.Report(StateOK)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		first, last := at[0], at[0]
		for _, a := range at {
			first, last = min(first, a), max(last, a)
		}
		if first == 0 || last-first < 2*time.Second {
			t.Errorf("20 instances came back between %v and %v", first, last)
		}
	})
}

func TestGateKeepsTheLevelUntilItOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait})
		d := c.Dependency("db", DependencyConfig{})
		var backlog atomic.Int64
		var calls atomic.Int64
		f := c.Feature("f", FeatureConfig{Writes: d, Gate: func(_ context.Context, from, to Level) error {
			if calls.Add(1); from == ReadOnly && to == Limited && backlog.Load() > 0 {
				return errors.New("backlog of deferred writes")
			}
			return nil
		}})
		backlog.Store(5)
		d.Report(StateDown)
		d.Report(StateOK)
		time.Sleep(time.Minute)
		wantLevel(t, f, ReadOnly, "behind the gate")
		if s := c.Status().Features[0]; !contains(s.Detail, "backlog of deferred writes") || s.Cause != CauseRecovery {
			t.Errorf("status = %+v, want the gate's reason", s)
		}
		if n := calls.Load(); n < 45 || n > 80 {
			t.Errorf("the gate was asked %d times in a minute, want about 60", n)
		}
		backlog.Store(0)
		time.Sleep(2 * time.Second)
		wantLevel(t, f, Normal, "gate open")
	})
}

func TestGateIsOverruledByItsDeadline(t *testing.T) {
	gates := map[string]func(context.Context, Level, Level) error{
		"refuses": func(context.Context, Level, Level) error { return errDown },
		"panics":  func(context.Context, Level, Level) error { panic("boom") },
		"hangs":   func(ctx context.Context, _, _ Level) error { <-ctx.Done(); return ctx.Err() },
	}
	for name, gate := range gates {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, Config{Hold: NoWait})
				d := c.Dependency("db", DependencyConfig{})
				f := c.Feature("f", FeatureConfig{Optional: d, Gate: gate})
				var forced atomic.Int64
				c.Subscribe(func(e Event) {
					if e.Kind == EventGateForced {
						forced.Add(1)
					}
				})
				d.Report(StateDown)
				d.Report(StateOK)
				time.Sleep(10*time.Minute - time.Second)
				wantLevel(t, f, Limited, "before the deadline")
				time.Sleep(2 * time.Second)
				wantLevel(t, f, Normal, "after the deadline")
				if forced.Load() != 1 {
					t.Errorf("%d events, want one", forced.Load())
				}
			})
		})
	}
}

func TestGateAnswerOfThePastIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait, PollTimeout: 10 * time.Second})
		d := c.Dependency("db", DependencyConfig{})
		asked := make(chan struct{}, 10)
		answer := make(chan error)
		f := c.Feature("f", FeatureConfig{Optional: d, Gate: func(context.Context, Level, Level) error {
			asked <- struct{}{}
			return <-answer
		}})
		d.Report(StateDown)
		d.Report(StateOK)
		<-asked
		time.Sleep(time.Second)
		d.Report(StateDown) // the step is off
		d.Report(StateOK)   // and on again: the gate must be asked anew, after the call under way
		select {
		case <-asked:
			t.Error("two calls of the gate at once")
		case <-time.After(time.Second):
		}
		answer <- nil
		<-asked
		wantLevel(t, f, Limited, "an old answer does not open")
		answer <- nil
		synctest.Wait()
		wantLevel(t, f, Normal, "a new one does")
	})
}

func TestSubscribersHearInOrderAndMayMisbehave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Reads: d})
		var heard []string
		cancel := c.Subscribe(func(e Event) {
			if e.Kind == EventLevel {
				heard = append(heard, e.From+">"+e.To)
			}
			c.Status() // may call back in
		})
		c.Subscribe(func(Event) { panic("boom") })
		d.Report(StateDown)
		d.Report(StateOK)
		synctest.Wait()
		if len(heard) != 2 || heard[0] != "normal>offline" || heard[1] != "offline>normal" {
			t.Errorf("heard %v", heard)
		}
		cancel()
		d.Report(StateDown)
		synctest.Wait()
		if len(heard) != 2 {
			t.Errorf("heard %v after cancel", heard)
		}
		wantLevel(t, f, Offline, "whatever subscribers do")
	})
}

func TestBlockedSubscriberDelaysNoLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := build(t, Config{})
		block := make(chan struct{})
		c.Subscribe(func(Event) { <-block })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Optional: d})
		d.Report(StateDown)
		d.Report(StateOK)
		time.Sleep(time.Minute)
		wantLevel(t, f, Normal, "recovered behind a blocked subscriber")
		cancel()
		if err := <-done; err == nil || !contains(err.Error(), "subscriber") {
			t.Errorf("Run = %v, want an error that names the subscriber", err)
		}
		close(block)
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		synctest.Wait()
		if err := c.Run(t.Context()); err == nil {
			t.Error("a second Run was accepted")
		}
	})
}
