package holdfast_test

import (
	"context"
	"errors"
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

// A refusal of the breaker is not run, is repeated by retry after the breaker's own wait, and stays visible.
func TestRetryWaitsForAnOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := holdfast.Must(breaker.New(breaker.Config{Name: "down", ConsecutiveFailures: 1, OpenFor: 2 * time.Second, Jitter: breaker.Off}))
		down := errors.New("down")
		_ = b.Do(t.Context(), func(context.Context) error { return down })
		p := &retry.Policy{Name: "down", MaxAttempts: 2, Retryable: retry.IfNotRun, Backoff: retry.Constant(time.Millisecond), Budget: retry.NoBudget}
		start := time.Now()
		calls := 0
		err := p.Do(t.Context(), func(ctx context.Context) error {
			return b.Do(ctx, func(context.Context) error { calls++; return nil })
		})
		if err != nil || calls != 1 || time.Since(start) < 2*time.Second {
			t.Errorf("Do = %v after %d calls and %v, want success by the probe after the open time", err, calls, time.Since(start))
		}
	})
}
