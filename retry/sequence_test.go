package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSequenceIsWhatDoDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Policy{Name: "db", MaxAttempts: 3, Backoff: Fixed(time.Second, 2*time.Second)}
		q, err := p.Start(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer q.End()
		for i, want := range []time.Duration{time.Second, 2 * time.Second} {
			if got := From(q.Context()).Number; got != i+1 {
				t.Errorf("attempt %d is number %d", i+1, got)
			}
			wait, stop := q.Next(errDown)
			if wait != want || stop != nil {
				t.Fatalf("Next = %v, %v, want %v", wait, stop, want)
			}
			if stop = q.Wait(wait); stop != nil {
				t.Fatal(stop)
			}
		}
		_, stop := q.Next(errDown)
		if e := asError(t, stop, ReasonAttempts); e.Attempts != 3 || !errors.Is(e, errDown) {
			t.Errorf("Next = %+v", e)
		}
		if s := p.stateOf(); s.retries.Load() != 2 || s.gaveUp[ReasonAttempts].Load() != 1 {
			t.Error("the sequence is not counted as a call")
		}
	})
}

func TestSequenceTakesItsOwnRetryable(t *testing.T) {
	p := &Policy{Retryable: func(error) bool { t.Error("the policy is asked"); return true }}
	q, err := p.Start(t.Context(), func(error) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	if _, stop := q.Next(errDown); stop != errDown {
		t.Errorf("Next = %v, want errDown itself", stop)
	}
}

func TestSequenceWaitNoticesAContextThatEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	q, err := (&Policy{Backoff: Constant(0)}).Start(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	wait, stop := q.Next(errDown)
	if stop != nil {
		t.Fatal(stop)
	}
	cancel()
	asError(t, q.Wait(wait), ReasonContext)
}

func TestAdmitSpendDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{Ratio: 0.5, PerSecond: 1e-9, Burst: 3})
		p := &Policy{Name: "sqs", Budget: b, Backoff: Fixed(time.Second, 2*time.Second)}
		ctx := t.Context()
		attempts, granted := 0, 0
		for range 6 { // 6 calls of two attempts each, if the budget lets them
			if err := p.Admit(ctx); err != nil {
				t.Fatal(err)
			}
			attempts++
			switch reason := p.Spend(ctx, errDown); reason {
			case 0:
				granted++
				attempts++
				if err := p.Admit(ctx); err != nil { // the repetition pays nothing in
					t.Fatal(err)
				}
			case ReasonBudget:
			default:
				t.Errorf("Spend = %v", reason)
			}
		}
		if s := p.stateOf(); granted != 5 || s.retries.Load() != 5 || s.gaveUp[ReasonBudget].Load() != 1 {
			t.Errorf("granted %d, retries %d, want 5, 5", granted, s.retries.Load())
		}
		for n, want := range []time.Duration{time.Second, time.Second, 2 * time.Second} { // number 0 counts as 1
			if got, err := p.Delay(n, errDown); got != want || err != nil {
				t.Errorf("Delay(%d) = %v, %v, want %v", n, got, err, want)
			}
		}
		if _, err := p.Delay(3, errDown); err == nil {
			t.Error("Delay of an ended schedule = nil, want an error")
		}
		if got, _ := p.Delay(1, &marked{error: errDown, after: 5 * time.Second}); got != 5*time.Second {
			t.Errorf("Delay with a hint = %v, want 5s", got)
		}
	})
}

func TestSpendRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended, end := context.WithCancel(t.Context())
		end()
		tests := []struct {
			name string
			ctx  context.Context
			err  error
			want Reason
		}{
			{"granted", t.Context(), errDown, 0},
			{"context ended", ended, errDown, ReasonContext},
			{"nested", WithAttempt(t.Context(), Attempt{Name: "sqs", Number: 2}), errDown, ReasonNested},
			{"hint within the deadline", short, &marked{error: errDown, after: time.Millisecond}, 0},
			{"hint past the deadline", short, &marked{error: errDown, after: time.Minute}, ReasonDeadline},
		}
		p := &Policy{Name: "sqs"}
		for _, tt := range tests {
			if got := p.Spend(tt.ctx, tt.err); got != tt.want {
				t.Errorf("%s: Spend = %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}
