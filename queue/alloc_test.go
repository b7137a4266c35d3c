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
