package idempotency

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A clock that was set back leaves a failure in the future: the store is asked again within a second all the same.
func TestHealthAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h health
		failed := time.Now().Add(time.Hour).UnixNano()
		h.downSince.Store(failed)
		h.lastFail.Store(failed)
		time.Sleep(probeEvery)
		if wait, ok := h.ready(); !ok || wait > probeEvery {
			t.Errorf("ready = %v, %t, want a try", wait, ok)
		}
	})
}

// A peer that has become slower than three times what it took, but not than its limit, comes back.
func TestPeerThatBecomesSlowerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{limit: 300 * time.Millisecond}
		take := func(d time.Duration) error {
			_, err := try(t.Context(), p, func(ctx context.Context) (struct{}, error) {
				select {
				case <-time.After(d):
					return struct{}{}, nil
				case <-ctx.Done():
					return struct{}{}, ctx.Err()
				}
			})
			return err
		}
		for range 200 {
			if err := take(20 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.patience(); got != 60*time.Millisecond {
			t.Fatalf("patience %v, want three times the usual", got)
		}
		failed, start := 0, time.Now()
		for ok := 0; ok < 100; {
			if !p.ready() {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			switch err := take(200 * time.Millisecond); {
			case err == nil:
				ok++
			case !errors.Is(err, context.DeadlineExceeded):
				t.Fatal(err)
			default:
				failed++
			}
			if time.Since(start) > 5*time.Minute {
				t.Fatalf("%d steps failed within %v, and %d did not", failed, time.Since(start), ok)
			}
		}
		if p.down.Load() || failed > 10 {
			t.Errorf("%d steps failed before it was taken as it is, want a few; down %t", failed, p.down.Load())
		}
	})
}
