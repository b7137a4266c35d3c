package retry

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetConfigIsValidated(t *testing.T) {
	tests := []struct {
		field string
		c     BudgetConfig
	}{
		{"Ratio", BudgetConfig{Ratio: -0.1}},
		{"Ratio", BudgetConfig{Ratio: 1.1}},
		{"Ratio", BudgetConfig{Ratio: math.NaN()}},
		{"Ratio", BudgetConfig{Ratio: 1e-7}},
		{"PerSecond", BudgetConfig{PerSecond: -1}},
		{"PerSecond", BudgetConfig{PerSecond: math.Inf(1)}},
		{"Burst", BudgetConfig{Burst: -1}},
		{"Burst", BudgetConfig{Burst: math.MaxInt}},
	}
	for _, tt := range tests {
		if _, err := NewBudget(tt.c); err == nil || !strings.Contains(err.Error(), "BudgetConfig."+tt.field+":") {
			t.Errorf("NewBudget(%+v) = %v, want %s named", tt.c, err, tt.field)
		}
	}
	if _, err := NewBudget(BudgetConfig{Ratio: 1, PerSecond: 1e9, Burst: maxBurst}); err != nil {
		t.Errorf("NewBudget at the limits = %v", err)
	}
}

// drain spends all that b holds.
func drain(b *Budget) (n int) {
	for b.Spend() {
		n++
	}
	return n
}

func TestBudgetHoldsItsBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{})
		if got := drain(b); got != 10 {
			t.Errorf("a new budget grants %d, want 10", got)
		}
		if got := b.Stats(); got != (BudgetStats{Tokens: 0, Burst: 10, Spent: 10, Refused: 1}) {
			t.Errorf("Stats = %+v", got)
		}
	})
}

func TestBudgetEarnsByCallsAndByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{Ratio: 0.1, PerSecond: 2, Burst: 5})
		drain(b)
		for range 30 {
			b.Deposit()
		}
		if got := drain(b); got != 3 {
			t.Errorf("30 calls pay for %d, want 3", got)
		}
		time.Sleep(time.Second)
		if got := drain(b); got != 2 {
			t.Errorf("a second pays for %d, want 2", got)
		}
		time.Sleep(time.Hour)
		for range 1000 {
			b.Deposit()
		}
		if got := drain(b); got != 5 {
			t.Errorf("the budget saved %d, want Burst 5", got)
		}
	})
}

func TestBudgetKeepsFractionsOfShortWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{PerSecond: 0.001})
		drain(b)
		for range 10_000 {
			time.Sleep(100 * time.Microsecond) // pays for a tenth of the smallest amount
			b.Stats()
		}
		if got := b.Stats().Tokens; got < 0.0009 || got > 0.001 {
			t.Errorf("a second in small steps pays for %v, want 0.001", got)
		}
	})
}

func TestTimeoutsAreDearer(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int64
	}{
		{"error", errDown, 1},
		{"time-out", context.DeadlineExceeded, 2},
		{"AttemptTimeout", &attemptTimeout{1, context.DeadlineExceeded}, 2},
		{"time-out that did not run", &marked{error: context.DeadlineExceeded, notRun: true}, 1},
		{"joined time-out", errors.Join(errDown, context.DeadlineExceeded), 2},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			b := budget(t, BudgetConfig{})
			if !b.spendFor(tt.err) {
				t.Fatal("a full budget refuses")
			}
			if got := 10 - int64(b.Stats().Tokens); got != tt.want {
				t.Errorf("%s costs %d, want %d", tt.name, got, tt.want)
			}
		})
	}
	if b := budget(t, BudgetConfig{Burst: 1}); !b.spendFor(context.DeadlineExceeded) {
		t.Error("a Burst of 1 can never repeat a time-out")
	}
}

func TestZeroBudgetGrantsNothingAndNoBudgetAll(t *testing.T) {
	var zero Budget
	zero.Deposit()
	if zero.Spend() {
		t.Error("a zero Budget grants")
	}
	for range 1000 {
		if !NoBudget.Spend() {
			t.Fatal("NoBudget refuses")
		}
	}
	if got := NoBudget.Stats(); got != (BudgetStats{}) {
		t.Errorf("NoBudget.Stats() = %+v", got)
	}
}

func TestBudgetNeverGrantsMoreThanItEarned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still: all that is granted was deposited
		b := budget(t, BudgetConfig{Ratio: 0.5, Burst: 100})
		drain(b)
		var granted, deposited atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 500 {
					b.Deposit()
					deposited.Add(1)
					if b.Spend() {
						granted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got, most := granted.Load(), deposited.Load()/2; got > most || got < most-100 {
			t.Errorf("granted %d of %d deposits, want %d", got, deposited.Load(), most)
		}
	})
}

func TestBudgetOutlivesItsBubble(t *testing.T) {
	b := budget(t, BudgetConfig{PerSecond: 1, Burst: 3})
	for range 2 { // the clock jumps back and forth between the bubbles and outside
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Minute)
			drain(b)
			time.Sleep(2 * time.Second)
			if got := drain(b); got != 2 {
				t.Errorf("2 s pay for %d, want 2", got)
			}
		})
		if b.Stats().Tokens > 3 {
			t.Errorf("Stats = %+v", b.Stats())
		}
	}
}

func TestBudgetIsSharedByAnyNumberOfPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{PerSecond: 1e-9, Ratio: 1e-6, Burst: 5})
		attempts := 0
		for range 10 {
			p := &Policy{Budget: b, Backoff: Constant(0)}
			_ = p.Do(t.Context(), func(context.Context) error { attempts++; return errDown })
		}
		h := &Hedging[int]{Budget: b, Repeatable: true, Delay: time.Second}
		_, _ = Hedge(t.Context(), h, func(context.Context) (int, error) { attempts++; time.Sleep(time.Minute); return 0, nil })
		if attempts != 11+5 {
			t.Errorf("%d attempts, want 11 first ones and 5 repetitions", attempts)
		}
	})
}

func TestDepositAndSpendAllocateNothing(t *testing.T) {
	b := budget(t, BudgetConfig{})
	if got := testing.AllocsPerRun(100, func() { b.Deposit(); b.Spend(); b.spendFor(errDown) }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

// A call inside a repeated attempt is part of the repetition. Were it to pay in, retries would pay for retries.
func TestCallsInARepeatedAttemptPayNothingIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{Ratio: 1, PerSecond: 1e-9})
		for range 5 {
			b.Spend()
		}
		p := &Policy{Name: "db", Budget: b}
		h := &Hedging[int]{Name: "db", Repeatable: true, Budget: b}
		again := WithAttempt(t.Context(), Attempt{Name: "db", Number: 2})
		_, _ = Do(again, p, succeed)
		_, _ = Hedge(again, h, succeed)
		if q, err := p.Start(again, nil); err == nil {
			q.End()
		}
		_ = p.Admit(again)
		if got := b.Stats().Tokens; got != 5 {
			t.Errorf("%v tokens after calls in a repeated attempt, want 5", got)
		}
		other := &Policy{Name: "other", Budget: b}
		_, _ = Do(again, other, succeed)
		_, _ = Do(WithAttempt(t.Context(), Attempt{Name: "db", Number: 1}), p, succeed)
		if got := b.Stats().Tokens; got != 7 {
			t.Errorf("%v tokens after two first attempts, want 7", got)
		}
	})
}
