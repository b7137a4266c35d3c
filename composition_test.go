package holdfast_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/retry"
)

// An attempt that used all of a short AttemptTimeout speaks against the dependency, although the breaker sees only
// a deadline of its caller's.
func TestBreakerInsideRetryCountsAttemptTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := holdfast.Must(breaker.New(breaker.Config{Name: "hanging", MinCalls: 5}))
		p := &retry.Policy{Name: "hanging", AttemptTimeout: 100 * time.Millisecond, Budget: retry.NoBudget}
		for range 3 {
			_ = p.Do(t.Context(), func(ctx context.Context) error {
				return b.Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			})
		}
		if got := b.State(); got != breaker.StateOpen {
			t.Errorf("state %v after %+v, want open", got, b.Stats())
		}
	})
}
