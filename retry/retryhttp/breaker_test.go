package retryhttp

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/breakerhttp"
	"github.com/holdfast-go/holdfast/retry"
)

// A breaker below an AttemptTimeout must see a server that hangs as one that fails, not as a caller who cancels.
func TestABreakerInsideCountsAttemptsThatTimeOut(t *testing.T) {
	hang := roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	plain := func(next http.RoundTripper) http.RoundTripper { return next }
	derived := func(next http.RoundTripper) http.RoundTripper { // as a tracing layer may
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			return next.RoundTrip(r.WithContext(ctx))
		})
	}
	tests := []struct {
		name     string
		between  func(http.RoundTripper) http.RoundTripper
		base     http.RoundTripper
		deadline time.Duration // of the caller
		cancel   time.Duration
		want     breaker.State
	}{
		{"at once below", plain, hang, time.Hour, time.Hour, breaker.StateOpen},
		{"a layer between", derived, causes(hang), time.Hour, time.Hour, breaker.StateOpen},
		{"a short attempt of a short call", plain, hang, 400 * time.Millisecond, time.Hour, breaker.StateOpen},
		{"the caller cancels", plain, hang, time.Hour, 100 * time.Millisecond, breaker.StateClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := breaker.New(breaker.Config{ConsecutiveFailures: 1})
				if err != nil {
					t.Fatal(err)
				}
				guarded := &breakerhttp.Transport{Base: tt.base, Breaker: breakerhttp.One(b)}
				transport := &Transport{Policy: &retry.Policy{MaxAttempts: 1, AttemptTimeout: 200 * time.Millisecond}, Base: tt.between(guarded)}
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				timer := time.AfterFunc(tt.cancel, cancel)
				defer timer.Stop()
				_, err = transport.RoundTrip((&http.Request{Method: "GET"}).WithContext(ctx))
				if got := b.State(); got != tt.want {
					t.Errorf("after %v the breaker is %v, want %v", err, got, tt.want)
				}
			})
		})
	}
}

// causes returns the cause of a context that ended, as net/http does.
func causes(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil && r.Context().Err() != nil {
			err = context.Cause(r.Context())
		}
		return resp, err
	})
}
