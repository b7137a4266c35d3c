package failover

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A refusal is what breakers, bulkheads and limits return: nothing was sent.
type localRefusal struct{}

func (localRefusal) Error() string             { return "breaker: open" }
func (localRefusal) NotRun() bool              { return true }
func (localRefusal) OutcomeUnknown() bool      { return false }
func (localRefusal) RetryAfter() time.Duration { return time.Second }
func (localRefusal) LocalRefusal() bool        { return true }

// Callers who give up, and refusals of our own, say nothing about a Region, however many they are: nothing is suspected, no read moves.
func TestCallersAndOwnRefusalsAreNeutral(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, leave func()) error{
		"callers who leave": func(ctx context.Context, leave func()) error { leave(); return ctx.Err() },
		"callers who leave in the middle of a connection": func(_ context.Context, leave func()) error { leave(); return errLost },
		"an open breaker": func(context.Context, func()) error { return fmt.Errorf("orders: %w", localRefusal{}) },
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, f *fleet) {
				f.standard()
				n := f.nodes[0]
				for range 600 {
					ctx, leave := context.WithCancel(t.Context())
					for _, client := range f.nodes[:2] {
						_ = client.client.Read(ctx, func(ctx context.Context, b *backend) error {
							if b.region != east {
								return nil // were all Regions bad, none would be suspected
							}
							return call(ctx, leave)
						})
					}
					leave()
					time.Sleep(100 * time.Millisecond)
				}
				if d := n.ctl.Decision(); d.Health[east] != HealthHealthy || d.Writer != east || d.Regions[0] != east {
					t.Errorf("after a minute of them: %+v, want nothing suspected", d)
				}
			})
		})
	}
}

// A contended coordinator: every store conflicts.
type contended struct {
	Coordinator
	mu     sync.Mutex // guards stores
	stores []time.Time
}

func (c *contended) CompareAndSwap(context.Context, uint64, Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stores = append(c.stores, time.Now())
	return ErrConflict
}

// take returns the stores since the last time.
func (c *contended) take() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	stores := c.stores
	c.stores = nil
	return stores
}

// Stores of the record that conflict are repeated, and at least 50 ms lie between two of them.
func TestConflictingStoresHaveAFloor(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		busy := &contended{Coordinator: f.coord}
		cfg := f.config(east, "busy")
		cfg.Coordinator = busy
		ctl := f.add(cfg).ctl
		time.Sleep(time.Minute) // it has probed and voted
		busy.take()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := ctl.Failover(ctx, west, Request{Reason: "drill", By: "ann", Second: "bob"})
		stores := busy.take()
		if n := len(stores); n < 90 || n > 201 || err == nil {
			t.Errorf("Failover = %v after %d stores in 10 s, want one in 50 to 100 ms", err, n)
		}
		for i := 1; i < len(stores); i++ {
			if wait := stores[i].Sub(stores[i-1]); wait < 50*time.Millisecond {
				t.Errorf("stored again after %v, want at least 50ms", wait)
			}
		}
	})
}
