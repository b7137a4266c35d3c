package breaker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// operator is an order as a person would give it.
func operator(m Mode, d time.Duration) Forced {
	return Forced{Mode: m, Reason: "maintenance", By: "ada", For: d}
}

func mustForce(t *testing.T, b *Breaker, f Forced) {
	t.Helper()
	if err := b.Force(f); err != nil {
		t.Fatal(err)
	}
}

func wantRuns(t *testing.T, b *Breaker, want bool) {
	t.Helper()
	ran := false
	_ = b.Do(context.Background(), func(context.Context) error { ran = true; return nil })
	if ran != want {
		t.Fatalf("the call ran: %t, want %t; %+v", ran, want, b.Stats())
	}
}

func TestForceValidates(t *testing.T) {
	tests := []struct {
		field string
		f     Forced
	}{
		{"Forced.Mode", Forced{Mode: 9, Reason: "r", By: "b", For: 1}},
		{"Forced.Reason", Forced{Mode: ModeOpen, By: "b", For: 1}},
		{"Forced.By", Forced{Mode: ModeOpen, Reason: "r", For: 1}},
		{"Forced.For", Forced{Mode: ModeOpen, Reason: "r", By: "b"}},
		{"Forced.For", Forced{Mode: ModeClosed, Reason: "r", By: "b", For: -1}},
		{"Forced.For", Forced{Mode: ModeObserve, Reason: "r", By: "b", For: 366 * 24 * time.Hour}},
		{"Forced.For", Forced{Mode: ModeAuto, Reason: "r", By: "b", For: 1}},
	}
	b := must(New(Config{Name: "x"}))
	for _, tt := range tests {
		err := b.Force(tt.f)
		if err == nil || !strings.HasPrefix(err.Error(), `breaker "x": `+tt.field+": ") {
			t.Errorf("Force(%+v) = %v, want an error that names %s", tt.f, err, tt.field)
		}
	}
	if s := b.Stats(); s.Mode != ModeAuto || s.State != StateClosed {
		t.Errorf("refused orders changed the breaker: %+v", s)
	}
}

func TestForceOpenExpiresIntoProbing(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		mustForce(t, b, operator(ModeOpen, time.Hour))
		wantRuns(t, b, false)
		err := b.Do(t.Context(), ok)
		open, _ := errors.AsType[*OpenError](err)
		if open == nil || open.By != "ada" || open.Reason != "maintenance" || open.RetryAfter() != time.Hour {
			t.Errorf("rejected with %v, want who, why and until when", err)
		}
		time.Sleep(time.Hour + time.Millisecond)
		synctest.Wait()
		if s := b.Stats(); s.Mode != ModeAuto || s.State != StateHalfOpen {
			t.Fatalf("after its end %+v, want auto and half-open", s)
		}
		wantRuns(t, b, true)
		wantState(t, b, StateClosed)
	})
}

func TestForceOpenEndedByHand(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		mustForce(t, b, operator(ModeOpen, time.Hour))
		mustForce(t, b, operator(ModeAuto, 0)) // at the same instant of a fake clock
		time.Sleep(time.Millisecond)
		wantState(t, b, StateHalfOpen)
		mustForce(t, b, operator(ModeOpen, time.Minute)) // and from half-open
		mustForce(t, b, operator(ModeOpen, time.Hour))   // replaced by a longer one
		time.Sleep(2 * time.Minute)
		wantState(t, b, StateOpen)
		wantRuns(t, b, false)
		mustForce(t, b, operator(ModeObserve, time.Hour))
		wantRuns(t, b, true)
	})
}

func TestForceClosedNeverTrips(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		wantState(t, b, StateOpen)
		mustForce(t, b, operator(ModeClosed, time.Hour))
		wantState(t, b, StateClosed)
		for range 100 {
			times(1, b, errBoom)
			wantRuns(t, b, true)
		}
		times(1, b, errBoom)
		wantState(t, b, StateClosed)
		if s := b.Stats(); s.Window.Failures != 101 || s.Mode != ModeClosed {
			t.Errorf("%+v, want its results counted", s)
		}
		time.Sleep(time.Hour + time.Millisecond)
		synctest.Wait()
		if got := b.Stats().Mode; got != ModeAuto {
			t.Errorf("mode %v after its end, want auto", got)
		}
		times(1, b, errBoom)
		wantState(t, b, StateOpen)
	})
}

func TestForceDropsProbesUnderWay(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		time.Sleep(time.Second + time.Millisecond)
		probe, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		mustForce(t, b, operator(ModeClosed, time.Hour))
		probe.Done(errBoom)
		wantState(t, b, StateClosed)
		time.Sleep(time.Minute) // past the probe's time, too
		wantState(t, b, StateClosed)
	})
}

func TestObserveAdmitsAndCounts(t *testing.T) {
	cfg := with(quick, func(c *Config) { c.Mode = ModeObserve })
	bubble(t, cfg, func(t *testing.T, b *Breaker) {
		times(1, b, errBoom)
		wantState(t, b, StateOpen)
		if wait, ok := b.Ready(); wait != 0 || !ok {
			t.Errorf("Ready = %v, %t, want 0, true", wait, ok)
		}
		for range 5 {
			wantRuns(t, b, true)
		}
		if s := b.Stats(); s.Observed != 5 || s.Rejected != 0 {
			t.Errorf("%d observed, %d rejected, want 5, 0", s.Observed, s.Rejected)
		}
		time.Sleep(time.Second + time.Millisecond)
		wantState(t, b, StateHalfOpen)
		wantRuns(t, b, true) // is the probe
		wantState(t, b, StateClosed)

		mustForce(t, b, Forced{Mode: ModeOpen, Reason: "really", By: "ada", For: time.Minute})
		wantRuns(t, b, false)
		mustForce(t, b, operator(ModeAuto, 0))
		if got := b.Stats().Mode; got != ModeObserve {
			t.Errorf("mode %v after ModeAuto, want the configured observe", got)
		}
	})
}

func TestForcedObserveBecomesRealAtItsEnd(t *testing.T) {
	bubble(t, quick, func(t *testing.T, b *Breaker) {
		mustForce(t, b, operator(ModeObserve, 500*time.Millisecond))
		times(1, b, errBoom)
		wantRuns(t, b, true)
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		wantState(t, b, StateOpen)
		wantRuns(t, b, false)
	})
}

func TestForceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Transition
		b := must(New(with(quick, func(c *Config) { c.OnStateChange = func(tr Transition) { told = append(told, tr) } })))
		mustForce(t, b, operator(ModeObserve, time.Minute))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(told) != 2 {
			t.Fatalf("told %+v, want the order and its end", told)
		}
		if tr := told[0]; tr.Mode != ModeObserve || tr.By != "ada" || tr.Reason != "maintenance" || tr.From != tr.To {
			t.Errorf("the order: %+v", tr)
		}
		if tr := told[1]; tr.Mode != ModeAuto || tr.By != "" || tr.Reason != "observe has expired: maintenance" {
			t.Errorf("its end: %+v", tr)
		}
	})
}
