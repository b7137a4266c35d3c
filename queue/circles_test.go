package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Nothing runs in circles: whatever a handler, its guard or its gates ask for, a message is not handed out again within a second.
func TestNothingRunsInCircles(t *testing.T) {
	const runs, doesNot = true, false
	older := func() (uint64, time.Time) { return 1, time.Time{} }
	busy := func(context.Context, string, func(context.Context) error) error { return hinted{marked{notRun: true}} }
	for name, tt := range map[string]struct {
		err    error
		config HandlerConfig
		worker WorkerConfig
		runs   bool
	}{
		"a snooze of nothing":          {Snooze(0), HandlerConfig{}, WorkerConfig{}, runs},
		"a snooze into the past":       {Snooze(-time.Hour), HandlerConfig{}, WorkerConfig{}, runs},
		"a hint of nothing":            {hinted{errPlain}, HandlerConfig{MaxAttempts: 100}, WorkerConfig{}, runs},
		"a back-off of nothing":        {errPlain, HandlerConfig{MaxAttempts: 100, Backoff: fixed(0)}, WorkerConfig{}, runs},
		"a back-off of a nanosecond":   {errPlain, HandlerConfig{MaxAttempts: 100, Backoff: fixed(1)}, WorkerConfig{}, runs},
		"a dependency that is away":    {nil, HandlerConfig{Ready: func() (time.Duration, bool) { return 0, false }}, WorkerConfig{}, doesNot},
		"a guard that is busy":         {nil, HandlerConfig{MaxAttempts: 100}, WorkerConfig{Once: busy, OnceRetention: time.Hour}, doesNot},
		"an epoch that is not known":   {nil, HandlerConfig{}, WorkerConfig{Epoch: older}, doesNot},
		"a call that is forwarded":     {nil, HandlerConfig{StaleFunc: func(context.Context, Envelope, uint64) StalePolicy { return StaleForward }}, WorkerConfig{Epoch: moving()}, doesNot},
		"a call that nobody knows yet": {nil, HandlerConfig{}, WorkerConfig{}, doesNot},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				s.client = must(NewClient(s.memory, ClientConfig{Ledger: s.ledger, Epoch: func() (uint64, time.Time) { return 2, time.Time{} }}))
				j := newJournal()
				if name != "a call that nobody knows yet" {
					Handle(s.mux, billing, func(context.Context, charge) error { j.add("run"); return tt.err }, tt.config)
				}
				Handle(s.mux, repeated, func(context.Context, charge) error { return nil }, HandlerConfig{}) // keeps the queue polled
				watched := &watching{Transport: s.memory}
				s.runOn(watched, tt.worker)
				s.send()
				time.Sleep(5 * time.Minute)
				s.close()
				at := watched.deliveries()
				for i := 1; i < len(at); i++ {
					if wait := at[i].Sub(at[i-1]); wait < time.Second {
						t.Fatalf("handed out again after %v, want at least a second", wait)
					}
				}
				if len(at) < 2 || tt.runs != (j.len() >= 2) || !tt.runs && j.len() > 0 {
					t.Errorf("handed out %d times and run %d times in five minutes: the test shows nothing", len(at), j.len())
				}
			})
		})
	}
}

// moving is an epoch that is another one at every look: what was forwarded is stale again.
func moving() func() (uint64, time.Time) {
	var now atomic.Uint64
	now.Store(2)
	return func() (uint64, time.Time) { return now.Add(1), time.Time{} }
}

// watching notes when messages are handed out.
type watching struct {
	Transport
	mu sync.Mutex // guards at
	at []time.Time
}

func (w *watching) Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error) {
	got, err := w.Transport.Receive(ctx, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	for range got {
		w.at = append(w.at, time.Now())
	}
	return got, err
}

func (w *watching) deliveries() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// hinted is an error that says when to come back.
type hinted struct{ error }

func (hinted) RetryAfter() time.Duration { return 1 }
