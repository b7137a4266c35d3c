package retry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// takes returns a func whose n-th attempt takes the n-th duration, unless its context ends first, and
// returns its number.
func takes(durations ...time.Duration) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		n := From(ctx).Number
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(durations[n-1]):
			return n, nil
		}
	}
}

func TestHedgeTakesTheFirstAnswer(t *testing.T) {
	tests := []struct {
		name     string
		h        *Hedging[int]
		attempts []time.Duration
		want     int
		took     time.Duration
	}{
		{"no need", &Hedging[int]{Delay: time.Second}, []time.Duration{999 * time.Millisecond}, 1, 999 * time.Millisecond},
		{"second wins", &Hedging[int]{Delay: time.Second}, []time.Duration{time.Minute, time.Second}, 2, 2 * time.Second},
		{"first wins all the same", &Hedging[int]{Delay: time.Second}, []time.Duration{2 * time.Second, time.Minute}, 1, 2 * time.Second},
		{"third wins", &Hedging[int]{Delay: time.Second, Max: 3}, []time.Duration{time.Hour, time.Hour, time.Second}, 3, 3 * time.Second},
		{"at most Max", &Hedging[int]{Delay: time.Second, Max: 2}, []time.Duration{5 * time.Second, time.Hour}, 1, 5 * time.Second},
		{"Max 1 never hedges", &Hedging[int]{Delay: time.Second, Max: 1}, []time.Duration{5 * time.Second}, 1, 5 * time.Second},
		{"unknown quantile without Delay", &Hedging[int]{}, []time.Duration{5 * time.Second}, 1, 5 * time.Second},
		{"unknown quantile with Delay", &Hedging[int]{Quantile: 0.5, Delay: time.Second}, []time.Duration{time.Hour, time.Second}, 2, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.h.Repeatable = true
				start := time.Now()
				got, err := Hedge(t.Context(), tt.h, takes(tt.attempts...))
				if took := time.Since(start); got != tt.want || err != nil || took != tt.took {
					t.Errorf("Hedge = %d, %v in %v, want %d in %v", got, err, took, tt.want, tt.took)
				}
			})
		})
	}
}

func TestHedgeLearnsTheQuantile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Quantile: 0.9}
		for i := range 20 {
			if _, err := Hedge(t.Context(), h, takes(time.Duration(i+1)*10*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		got, err := Hedge(t.Context(), h, takes(time.Hour, 0))
		if took := time.Since(start); got != 2 || err != nil || took != 180*time.Millisecond {
			t.Errorf("Hedge = %d, %v in %v, want 2 after the 90th percentile, 180ms", got, err, took)
		}
	})
}

func TestHedgesDoNotLowerTheirOwnQuantile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Quantile: 0.5, Budget: NoBudget}
		for range 20 {
			_, _ = Hedge(t.Context(), h, takes(10*time.Millisecond))
		}
		for range 100 { // the first attempt hangs, the hedge answers at once
			_, _ = Hedge(t.Context(), h, takes(time.Hour, 0))
		}
		if got := h.stateOf().patience(); got != 10*time.Millisecond {
			t.Errorf("the next hedge begins after %v, want 10ms", got)
		}
	})
}

func TestAFailedFirstAttemptTeachesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Quantile: 0.5, Delay: time.Second}
		_, _ = Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
			if From(ctx).Number == 1 {
				time.Sleep(2 * time.Second)
				return 0, errDown
			}
			time.Sleep(time.Minute)
			return 2, nil
		})
		if n := h.stateOf().seen.n; n != 0 {
			t.Errorf("%d latencies noted, want none", n)
		}
	})
}

func TestLatenciesComputeTheQuantile(t *testing.T) {
	for _, tt := range []struct {
		quantile float64
		want     time.Duration
	}{{0.5, 64}, {0.95, 122}, {1, 128}, {1e-9, 1}} {
		l := &latencies{quantile: tt.quantile}
		for i := range 2 * latencyWindow { // the first half is forgotten
			l.add(time.Duration(i - latencyWindow + 1))
		}
		l.mu.Lock()
		got := l.computeLocked()
		l.mu.Unlock()
		if got != tt.want {
			t.Errorf("quantile %v of 1…128 = %d, want %d", tt.quantile, got, tt.want)
		}
	}
}

func TestHedgeCancelsAndWaitsForLosers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		h := &Hedging[int]{Repeatable: true, Delay: time.Second}
		start := time.Now()
		got, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
			if From(ctx).Number == 2 {
				return 2, nil
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
			time.Sleep(time.Second) // slow to let go
			return 1, nil
		})
		if took := time.Since(start); got != 2 || err != nil || took != 2*time.Second {
			t.Errorf("Hedge = %d, %v in %v, want 2 in 2s", got, err, took)
		}
		if cause != errLost {
			t.Errorf("the loser's cause = %v, want %v", cause, errLost)
		}
	})
}

func TestHedgeHandsLosersToDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var discarded []int
		h := &Hedging[int]{Repeatable: true, Delay: time.Second, Max: 3, Discard: func(v int) {
			mu.Lock()
			defer mu.Unlock()
			discarded = append(discarded, v)
		}}
		start := time.Now()
		got, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
			n := From(ctx).Number
			if n < 3 {
				time.Sleep(time.Minute) // deaf to its context
			}
			return n, nil
		})
		if took := time.Since(start); got != 3 || err != nil || took != 2*time.Second {
			t.Errorf("Hedge = %d, %v in %v, want 3 in 2s", got, err, took)
		}
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if slices.Sort(discarded); !slices.Equal(discarded, []int{1, 2}) {
			t.Errorf("discarded %v, want 1 and 2", discarded)
		}
	})
}

func TestHedgeRefusals(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var none *Hedging[int]
	tests := []struct {
		text string
		ctx  context.Context
		h    *Hedging[int]
	}{
		{"Repeatable", t.Context(), none},
		{"Repeatable", t.Context(), &Hedging[int]{}},
		{"Hedging.Max: -1", t.Context(), &Hedging[int]{Repeatable: true, Max: -1}},
		{"Hedging.Max: 101", t.Context(), &Hedging[int]{Repeatable: true, Max: 101}},
		{"Hedging.Delay: -1ns", t.Context(), &Hedging[int]{Repeatable: true, Delay: -1}},
		{"Hedging.Quantile: 1.1", t.Context(), &Hedging[int]{Repeatable: true, Quantile: 1.1}},
		{"Hedging.Quantile: NaN", t.Context(), &Hedging[int]{Repeatable: true, Quantile: math.NaN()}},
		{"Hedging.Budget", t.Context(), &Hedging[int]{Repeatable: true, Budget: new(Budget)}},
		{"context canceled", ended, &Hedging[int]{Repeatable: true}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			fn, calls := script()
			_, err := Hedge(tt.ctx, tt.h, fn)
			e, ok := err.(*Error)
			if !ok || *calls != 0 || !e.NotRun() || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Hedge = %v in %d calls, want %q and NotRun in none", err, *calls, tt.text)
			}
		})
	}
	_, err := Hedge(t.Context(), &Hedging[int]{Repeatable: true}, nil)
	asError(t, err, ReasonInvalid)
}

func TestHedgeAsksTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, BudgetConfig{PerSecond: 1e-9, Ratio: 1e-6, Burst: 1})
		h := &Hedging[int]{Repeatable: true, Delay: time.Second, Budget: b}
		for i, want := range []int{2, 1, 1} {
			got, err := Hedge(t.Context(), h, takes(3*time.Second, 0))
			if got != want || err != nil {
				t.Errorf("call %d = %d, %v, want attempt %d to win", i+1, got, err, want)
			}
		}
	})
}

func TestHedgeDoesNotHedgeInARepeatedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Name: "db", Repeatable: true, Delay: time.Second}
		var calls atomic.Int64
		_, _ = Hedge(WithAttempt(t.Context(), Attempt{Name: "db", Number: 2}), h, func(context.Context) (int, error) {
			calls.Add(1)
			time.Sleep(time.Minute)
			return 0, nil
		})
		if calls.Load() != 1 {
			t.Errorf("%d attempts, want 1", calls.Load())
		}
	})
}

func TestHedgeReturnsTheOnlyErrorUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Delay: time.Second}
		if _, err := Hedge(t.Context(), h, alwaysDown); err != errDown {
			t.Errorf("Hedge = %v, want errDown itself", err)
		}
	})
}

func TestHedgePrefersAnyAnswerToAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Delay: time.Second}
		for _, failing := range []int{1, 2} {
			got, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
				n := From(ctx).Number
				if n == failing {
					time.Sleep(2 * time.Second)
					return 0, errDown
				}
				time.Sleep(time.Minute)
				return n, nil
			})
			if want := 3 - failing; got != want || err != nil {
				t.Errorf("attempt %d fails: Hedge = %d, %v, want %d", failing, got, err, want)
			}
		}
	})
}

func TestHedgeStopsAfterAPermanentError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Delay: time.Second, Max: 5}
		var calls atomic.Int64
		_, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
			calls.Add(1)
			if From(ctx).Number == 1 {
				time.Sleep(time.Minute)
				return 0, errDown
			}
			return 0, &marked{error: errDown, permanent: true}
		})
		if calls.Load() != 2 || !errors.Is(err, errDown) {
			t.Errorf("%d attempts, %v, want 2", calls.Load(), err)
		}
	})
}

func TestHedgeEndsWithTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		h := &Hedging[int]{Repeatable: true, Delay: time.Second}
		start := time.Now()
		_, err := Hedge(ctx, h, takes(time.Hour, time.Hour))
		e := asError(t, err, ReasonContext)
		if time.Since(start) != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) || !e.OutcomeUnknown() {
			t.Errorf("Hedge = %v after %v", err, time.Since(start))
		}
	})
}

func TestHedgePanicsReachTheCaller(t *testing.T) {
	for _, panicking := range []int{1, 2} {
		for _, other := range []string{"answers first", "answers later", "never answers"} {
			t.Run(fmt.Sprintf("attempt %d panics, the other %s", panicking, other), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					h := &Hedging[int]{Repeatable: true, Delay: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))}
					defer func() {
						if got := recover(); got != errDown {
							t.Errorf("recovered %v, want errDown", got)
						}
						if !strings.Contains(log.String(), "hedge_test.go") {
							t.Errorf("the attempt's stack is not logged: %s", log.String())
						}
					}()
					_, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
						if From(ctx).Number == panicking {
							time.Sleep(10 * time.Second)
							panic(errDown)
						}
						switch other {
						case "answers first":
							time.Sleep(5 * time.Second)
						case "answers later":
							time.Sleep(15 * time.Second)
						default:
							<-ctx.Done()
							return 0, ctx.Err()
						}
						return 1, nil
					})
					t.Errorf("Hedge returned %v", err)
				})
			})
		}
	}
}

func TestHedgeGoexitReachesTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Delay: time.Second}
		returned := false
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = Hedge(t.Context(), h, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
			returned = true
		})
		wg.Wait()
		if returned {
			t.Error("Hedge returned from an attempt that exited")
		}
	})
}

func TestHedgeLogsPanicsOfAbandonedLosers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &Hedging[int]{Name: "db", Repeatable: true, Delay: time.Second, Discard: func(int) {}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		got, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
			if From(ctx).Number == 1 {
				time.Sleep(time.Minute)
				panic("late")
			}
			return 2, nil
		})
		if got != 2 || err != nil {
			t.Errorf("Hedge = %d, %v", got, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !strings.Contains(log.String(), "panic=late") {
			t.Errorf("log = %q, want the panic", log.String())
		}
	})
}

func TestOneHedgingServesAllGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hedging[int]{Repeatable: true, Delay: time.Millisecond, Budget: NoBudget}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 20 {
					if got, err := Hedge(t.Context(), h, takes(time.Second, time.Millisecond)); got != 2 || err != nil {
						t.Errorf("Hedge = %d, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
		s := h.stateOf()
		if s.calls.Load() != 320 || s.hedges.Load() != 320 || s.wins.Load() != 320 {
			t.Errorf("calls %d, hedges %d, wins %d, want 320 each", s.calls.Load(), s.hedges.Load(), s.wins.Load())
		}
	})
}
