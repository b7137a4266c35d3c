package queue

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// TestRegionalWithBreakers puts a real breaker around each Region: an outage costs the first calls their time-out, the others
// none, and home has its calls back when it answers.
func TestRegionalWithBreakers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := must(NewMemory(MemoryConfig{Region: "a"})), must(NewMemory(MemoryConfig{Region: "b"}))
		fa := &failing{Transport: a}
		group := must(breaker.NewGroup(breaker.Config{Name: "regions", ConsecutiveFailures: 3}, breaker.GroupConfig{}))
		r := must(NewRegional(func() ([]string, string) { return []string{"a", "b"}, "a" }, map[string]Transport{"a": fa, "b": b},
			RegionalConfig{Around: group.Do}))
		ledger := NewLedger()
		c := must(NewClient(r, ClientConfig{Ledger: ledger}))
		fa.set(&fa.send, hang)
		var slow, elsewhere int
		for range 30 {
			began := time.Now()
			rec, err := billing.Defer(t.Context(), c, charge{})
			if err != nil {
				t.Fatal(err)
			}
			if time.Since(began) > 0 {
				slow++
			}
			if rec.Region == "b" {
				elsewhere++
			}
		}
		if elsewhere != 30 || slow < 1 || slow > 5 {
			t.Errorf("%d of 30 calls went to b, %d waited for a, want all and only the first few", elsewhere, slow)
		}
		if _, ok := group.Get("a").Ready(); ok {
			t.Error("the breaker of a is closed")
		}
		fa.set(&fa.send, nil)
		back := false
		for range 120 {
			time.Sleep(time.Second)
			back = must(billing.Defer(t.Context(), c, charge{})).Region == "a"
		}
		if !back {
			t.Error("a answers again for two minutes and gets no calls")
		}
		mux := NewMux()
		var runs atomic.Int64
		Handle(mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		w := must(NewWorker(r, mux, WorkerConfig{Ledger: ledger}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Minute)
		stop()
		if err := <-done; err != nil || runs.Load() != 150 {
			t.Errorf("Run = %v, %d runs, want 150", err, runs.Load())
		}
		if rep := ledger.Check(t.Context(), map[string]Holding{"a": a, "b": b}); !rep.Balanced() || rep.Held != 0 {
			t.Errorf("ledger %+v", rep)
		}
	})
}
