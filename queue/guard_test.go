package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// guardOf is the real idempotency guard, on a store of its own.
func guardOf(t *testing.T, c idempotency.Config) *idempotency.Guard {
	t.Helper()
	return must(idempotency.New(must(idempotency.NewMemory(idempotency.MemoryConfig{})), c))
}

// guarded is a station whose client and workers share one guard.
func guarded(t *testing.T, c idempotency.Config) (*station, *idempotency.Guard, WorkerConfig) {
	t.Helper()
	s, g := newStation(t, MemoryConfig{}), guardOf(t, c)
	s.client = must(NewClient(s.memory, ClientConfig{Once: g.Once, Ledger: s.ledger}))
	return s, g, WorkerConfig{Once: g.Once, OnceRetention: g.OnceRetention()}
}

func TestGuardKeepsCopiesFromRunning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, g, config := guarded(t, idempotency.Config{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.run(config)
		for range 5 {
			s.send(ID("same"))
		}
		time.Sleep(5 * time.Minute)
		ran := false
		err := g.Once(t.Context(), "billing.charge.v1/same", func(context.Context) error { ran = true; return nil })
		if err != nil || ran {
			t.Errorf("Once under <call name>/<call ID> = %v, ran %v, want the worker's key, done", err, ran)
		}
		s.close()
		if st := s.worker.Stats(); runs.Load() != 1 || st.Duplicates != 4 {
			t.Errorf("%d runs, %d duplicates, want 1 and 4", runs.Load(), st.Duplicates)
		}
	})
}

// TestGuardReconcilesWhatTryLeftOpen has Try end with an unknown outcome: client and worker must use one key.
func TestGuardReconcilesWhatTryLeftOpen(t *testing.T) {
	reconcile := func(done bool) func(context.Context, *idempotency.Attempt) (any, bool, error) {
		return func(context.Context, *idempotency.Attempt) (any, bool, error) { return nil, done, nil }
	}
	tests := []struct {
		name   string
		call   Call[charge]
		config idempotency.Config
		runs   int64
		dead   string
	}{
		{"held key", billing, idempotency.Config{}, 0, "[unknown_outcome]"},
		{"found done", billing, idempotency.Config{OnUnknown: idempotency.PolicyReconcile, Reconcile: reconcile(true)}, 0, "[]"},
		{"found not done", billing, idempotency.Config{OnUnknown: idempotency.PolicyReconcile, Reconcile: reconcile(false)}, 1, "[]"},
		{"repeatable", repeated, idempotency.Config{}, 1, "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, _, config := guarded(t, tt.config)
				var runs atomic.Int64
				Handle(s.mux, tt.call, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
				r, err := tt.call.Try(t.Context(), s.client, charge{}, func(context.Context, charge) error { return unknown })
				if err != nil || !r.Ambiguous || r.Via != ViaMemory {
					t.Fatalf("Try = %+v, %v, want it deferred and ambiguous", r, err)
				}
				s.run(config)
				time.Sleep(time.Minute)
				if got := fmt.Sprint(s.letters()); got != tt.dead || runs.Load() != tt.runs {
					t.Errorf("%d runs, dead %s, want %d and %s", runs.Load(), got, tt.runs, tt.dead)
				}
				s.close()
			})
		})
	}
}

func TestGuardInFlightCostsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, g, config := guarded(t, idempotency.Config{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{MaxAttempts: 1})
		elsewhere := make(chan error, 1)
		go func() {
			elsewhere <- g.Once(t.Context(), "billing.charge.v1/x", func(ctx context.Context) error { sleep(ctx, 10*time.Minute); return errPlain })
		}()
		time.Sleep(time.Second)
		err := g.Once(t.Context(), "billing.charge.v1/x", nil)
		if !errors.Is(err, idempotency.ErrInFlight) || retryAfter(err) < time.Second {
			t.Fatalf("Once = %v, want in flight with a wait", err)
		}
		s.send(ID("x"))
		s.run(config)
		time.Sleep(9 * time.Minute)
		if st := s.worker.Stats(); runs.Load() != 0 || st.PutOff < 10 || st.PutOff > 300 || st.Failed+st.Dead > 0 {
			t.Errorf("%d runs, %+v, want the call put off by the guard's waits, again and again", runs.Load(), st)
		}
		if err := <-elsewhere; !errors.Is(err, errPlain) {
			t.Errorf("the call elsewhere = %v, want %v", err, errPlain)
		}
		time.Sleep(2 * time.Minute)
		s.close()
		if st := s.worker.Stats(); runs.Load() != 1 || st.Done != 1 {
			t.Errorf("%d runs, %+v, want one once the key is free", runs.Load(), st)
		}
	})
}

func retryAfter(err error) time.Duration {
	e, _ := errors.AsType[*idempotency.Error](err)
	return e.RetryAfter()
}

func TestGuardAwayCostsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		store := &awayStore{Store: must(idempotency.NewMemory(idempotency.MemoryConfig{}))}
		store.away.Store(true)
		g := must(idempotency.New(store, idempotency.Config{}))
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{MaxAttempts: 1})
		s.run(WorkerConfig{Once: g.Once, OnceRetention: g.OnceRetention()})
		s.send()
		time.Sleep(10 * time.Minute)
		if st := s.worker.Stats(); runs.Load() != 0 || st.Dead > 0 {
			t.Errorf("%d runs, %+v while the store is away", runs.Load(), st)
		}
		store.away.Store(false)
		time.Sleep(10 * time.Minute)
		s.close()
		if runs.Load() != 1 {
			t.Errorf("%d runs after the store came back, want 1", runs.Load())
		}
	})
}

type awayStore struct {
	idempotency.Store
	away atomic.Bool
}

func (s *awayStore) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	if s.away.Load() {
		return idempotency.Answer{}, errPlain
	}
	return s.Store.Begin(ctx, c)
}

func TestGuardRetentionMakesCallsTooOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _, config := guarded(t, idempotency.Config{OnceRetention: time.Hour})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.send(ID("old"))
		time.Sleep(56 * time.Minute)
		s.send(ID("young"))
		s.run(config)
		time.Sleep(time.Minute)
		if got := fmt.Sprint(s.letters()); got != "[too_old]" || runs.Load() != 1 {
			t.Errorf("%d runs, dead %s, want the young one to run and the old one dead", runs.Load(), got)
		}
		s.close()
	})
}

func TestGuardForgetsWhatIsRedriven(t *testing.T) {
	for _, first := range []error{permanent, errPlain} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, _, config := guarded(t, idempotency.Config{})
				var runs atomic.Int64
				Handle(s.mux, billing, func(context.Context, charge) error {
					if runs.Add(1) == 1 {
						return first
					}
					return nil
				}, HandlerConfig{MaxAttempts: 1})
				s.run(config)
				s.send()
				time.Sleep(time.Minute)
				var audit strings.Builder
				if r, err := Redrive(t.Context(), s.memory.DeadLetters(), s.memory, Filter{}, RedriveConfig{By: "ops", Reason: "fixed", Audit: &audit}); err != nil || r.Redriven != 1 {
					t.Fatalf("Redrive = %+v, %v", r, err)
				}
				time.Sleep(time.Minute)
				s.close()
				if runs.Load() != 2 || s.worker.Stats().Done != 1 {
					t.Errorf("%d runs, %+v, want the redriven call to run and be done", runs.Load(), s.worker.Stats())
				}
			})
		})
	}
}

func TestGuardAfterADrain(t *testing.T) {
	for _, tt := range []struct {
		call Call[charge]
		runs int64
		dead string
	}{{repeated, 2, "[]"}, {billing, 1, "[unknown_outcome]"}} {
		t.Run(tt.call.Name(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, _, config := guarded(t, idempotency.Config{})
				var runs atomic.Int64
				Handle(s.mux, tt.call, func(ctx context.Context, _ charge) error {
					if runs.Add(1) > 1 {
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				}, HandlerConfig{})
				must(tt.call.Defer(t.Context(), s.client, charge{}))
				s.run(config)
				time.Sleep(time.Second)
				s.close()
				s.run(config)
				time.Sleep(time.Minute)
				if got := fmt.Sprint(s.letters()); got != tt.dead || runs.Load() != tt.runs {
					t.Errorf("%d runs, dead %s, want %d and %s", runs.Load(), got, tt.runs, tt.dead)
				}
				s.close()
			})
		})
	}
}

// TestGuardThatDetachesKeepsTheMessage: the drain ends while the call runs on without its caller, and fails then. A worker
// that took the guard's early return for the call's end would have deleted the message.
func TestGuardThatDetachesKeepsTheMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		g := guardOf(t, idempotency.Config{}).With(idempotency.Terms{MaxRun: time.Hour})
		config := WorkerConfig{Once: g.Once, OnceRetention: g.OnceRetention()}
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error {
			if runs.Add(1) > 1 {
				return nil
			}
			time.Sleep(2 * time.Minute)
			return errPlain
		}, HandlerConfig{})
		s.send()
		s.run(config)
		time.Sleep(time.Second)
		s.close() // closes the ledger too: the call is in the queue
		if st := s.worker.Stats(); st.Done != 0 || runs.Load() != 1 {
			t.Errorf("%d runs, %+v after the drain, want nothing done", runs.Load(), st)
		}
		s.run(config)
		time.Sleep(10 * time.Minute)
		s.close()
		if st := s.worker.Stats(); st.Done != 1 || runs.Load() != 2 {
			t.Errorf("%d runs, %+v, want the second run to be the done one", runs.Load(), st)
		}
	})
}
