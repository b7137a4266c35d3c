//go:build !race

// The race detector drops what pools keep, so that allocations are counted without it.

package queue

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestDeferAllocations defers from as many goroutines as a batch has room for. A call may allocate its ID, its body and its
// share of what a batch does.
func TestDeferAllocations(t *testing.T) {
	const batch, calls = 10, 100
	client := must(NewClient(newNear(50*time.Microsecond), ClientConfig{}))
	allocs := testing.AllocsPerRun(10, func() {
		var wg sync.WaitGroup
		for range batch {
			wg.Go(func() {
				for range calls {
					if _, err := billing.Defer(context.Background(), client, charge{"o-1", 42}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	if got := allocs / (batch * calls); got > 3 {
		t.Errorf("Defer allocates %.2f times, want at most 3", got)
	} else {
		t.Logf("Defer allocates %.2f times", got)
	}
}

// TestDeferAloneAllocations: a call costs its ID, its body and a little over what its queue does for it; a Region adds its attempt.
func TestDeferAloneAllocations(t *testing.T) {
	m, regional := alone(nil)
	out := []Outgoing{{CallID: "a", Body: "b"}}
	queue := testing.AllocsPerRun(500, func() { m.Send(t.Context(), out) })
	for _, tt := range []struct {
		name string
		Transport
		over float64
	}{{"memory", m, 2}, {"regional", regional, 4}} {
		client := must(NewClient(tt.Transport, ClientConfig{}))
		got := testing.AllocsPerRun(500, func() {
			if _, err := billing.Defer(t.Context(), client, charge{"o-1", 42}); err != nil {
				t.Error(err)
			}
		})
		if got > queue+tt.over {
			t.Errorf("%s: Defer allocates %.0f times, the queue %.0f: want at most %.0f over it", tt.name, got, queue, tt.over)
		}
	}
}
