package retryhttp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/retry"
)

// within sends a GET of ctx through a Base that sees the attempt's context, under an AttemptTimeout of a second.
func within(ctx context.Context, t *testing.T, base func(ctx context.Context) (*http.Response, error)) (*http.Response, error) {
	t.Helper()
	transport := &Transport{
		Policy: &retry.Policy{Budget: retry.NoBudget, MaxAttempts: 1, AttemptTimeout: time.Second},
		Base:   roundTripper(func(r *http.Request) (*http.Response, error) { return base(r.Context()) }),
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport.RoundTrip(r)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A transport may look at its context or wait for it, early or late: it finds the same.
func TestAnAttemptsContextEndsHoweverItIsAsked(t *testing.T) {
	for _, tt := range []struct {
		name string
		ask  func(context.Context) // before the time is over
	}{
		{"nobody asked before", func(context.Context) {}},
		{"Done was asked for", func(ctx context.Context) { ctx.Done() }},
		{"a context was made from it", func(ctx context.Context) { context.AfterFunc(ctx, func() {}) }},
	} {
		t.Run(tt.name+", the time is over", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := within(t.Context(), t, func(ctx context.Context) (*http.Response, error) {
					tt.ask(ctx)
					time.Sleep(time.Second - 1)
					if err := ctx.Err(); err != nil {
						t.Errorf("Err = %v before the time is over", err)
					}
					time.Sleep(time.Nanosecond)
					synctest.Wait()
					if err := ctx.Err(); err != context.DeadlineExceeded || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) || !closed(ctx.Done()) {
						t.Errorf("Err = %v, Cause = %v, want a deadline, and Done closed", err, context.Cause(ctx))
					}
					return nil, ctx.Err()
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("RoundTrip = %v, want a time-out", err)
				}
			})
		})
		t.Run(tt.name+", the caller leaves", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := errors.New("gone")
				ctx, leave := context.WithCancelCause(t.Context())
				_, err := within(ctx, t, func(ctx context.Context) (*http.Response, error) {
					tt.ask(ctx)
					leave(gone)
					if err := ctx.Err(); err != context.Canceled || context.Cause(ctx) != gone || !closed(ctx.Done()) {
						t.Errorf("Err = %v, Cause = %v, want Canceled because %v, and Done closed", err, context.Cause(ctx), gone)
					}
					time.Sleep(2 * time.Second)
					if err := ctx.Err(); err != context.Canceled {
						t.Errorf("Err = %v later, want what it was", err)
					}
					return nil, ctx.Err()
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("RoundTrip = %v, want Canceled", err)
				}
			})
		})
		t.Run(tt.name+", the answer is read for longer", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var attempt context.Context
				resp, err := within(t.Context(), t, func(ctx context.Context) (*http.Response, error) {
					attempt = ctx
					tt.ask(ctx)
					return response(http.StatusOK, "text"), nil
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if err := attempt.Err(); err != nil || closed(attempt.Done()) {
					t.Errorf("Err = %v while the body is read, want none, and Done open", err)
				}
				_ = resp.Body.Close()
				if err := attempt.Err(); err != context.Canceled || !closed(attempt.Done()) {
					t.Errorf("Err = %v when the body is closed, want Canceled, and Done closed", err)
				}
			})
		})
	}
}

// The caller's deadline stays one for what runs below, also when the caller gave it another cause.
func TestAnAttemptKnowsItsCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("too slow for us"))
		defer cancel()
		_, _ = within(ctx, t, func(attempt context.Context) (*http.Response, error) {
			want, _ := ctx.Deadline()
			if got, ok := attempt.Deadline(); !ok || !got.Equal(want) {
				t.Errorf("Deadline = %v, %v, want the caller's", got, ok)
			}
			<-attempt.Done()
			if err := attempt.Err(); err != context.DeadlineExceeded {
				t.Errorf("Err = %v, want a deadline", err)
			}
			return nil, attempt.Err()
		})
	})
}

// The hooks of an attempt do not take the place of its caller's.
func TestTheCallersHooksAreCalled(t *testing.T) {
	var asked, got int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { asked++ }, GotConn: func(httptrace.GotConnInfo) { got++ },
	})
	_, _ = within(ctx, t, func(ctx context.Context) (*http.Response, error) {
		a := ctx.(*attempt)
		hooks := httptrace.ContextClientTrace(ctx)
		hooks.GetConn("a:80")
		if !a.unconnected() {
			t.Error("the attempt does not know that it waits for a connection")
		}
		httptrace.ContextClientTrace(context.WithoutCancel(ctx)).GotConn(httptrace.GotConnInfo{})
		if a.unconnected() {
			t.Error("the attempt does not know that it has got a connection")
		}
		return response(http.StatusOK, ""), nil
	})
	if asked != 1 || got != 1 {
		t.Errorf("the caller's hooks were called %d and %d times, want once each", asked, got)
	}
}
