package retryhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/caller"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// An attempt is one exchange under AttemptTimeout, and its context. It lives until the body of the response has been read or closed.
type attempt struct {
	context.Context // of context.WithCancelCause
	cancel          context.CancelCauseFunc
	timeout         time.Duration
	expired         timeoutError
	trace           httptrace.ClientTrace
	asked, got      atomic.Bool // whether net/http looked for a connection and found one; other transports tell nothing
	body            body
}

// sendWithin sends req and gives up if the response's header is not there after timeout. The body is not
// under the timeout: the attempt's context lives until it has been read or closed.
func sendWithin(base http.RoundTripper, req *http.Request, timeout time.Duration) (*http.Response, error) {
	a := &attempt{timeout: timeout, expired: timeoutError{after: timeout, cause: context.DeadlineExceeded}}
	a.Context, a.cancel = context.WithCancelCause(req.Context())
	a.trace.GetConn = func(string) { a.asked.Store(true) }
	a.trace.GotConn = func(httptrace.GotConnInfo) { a.got.Store(true) }
	timer := time.AfterFunc(timeout, a.expire)
	resp, err := base.RoundTrip(req.WithContext(httptrace.WithClientTrace(a, &a.trace)))
	if !timer.Stop() {
		a.expire() // the timer has fired, but may not have come to this yet
	}
	late := context.Cause(a.Context) == &a.expired
	switch {
	case err == nil && (resp == nil || resp.Body == nil): // a broken or forgiving Base
	case err == nil && !late:
		resp.Body = a.until(resp.Body)
		return resp, nil
	case err == nil: // the header came, but the body cannot be read any more
		_ = resp.Body.Close()
		return nil, &a.expired
	case late:
		if a.unconnected() || outcome.Of(err) == outcome.NotRun {
			err = &timeoutError{after: timeout, cause: noConnection{}} // a new one: the transport may hold the other
		} else {
			err = &a.expired
		}
	}
	a.cancel(nil)
	return resp, err
}

func (a *attempt) expire() { a.cancel(&a.expired) }

// unconnected reports that the request waited for a connection and got none.
func (a *attempt) unconnected() bool { return a.asked.Load() && !a.got.Load() }

// Err says of an attempt that AttemptTimeout has cancelled that its deadline passed: what runs below, such as a
// breaker, tells an attempt that took too long from a caller who went away.
func (a *attempt) Err() error {
	err := a.Context.Err()
	if err != nil && errors.Is(context.Cause(a.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// Value tells what runs below how long the attempt may take.
func (a *attempt) Value(key any) any {
	if caller.AsksAttempt(key) {
		return a.timeout
	}
	return a.Context.Value(key)
}

// timeoutError is the error of an attempt that AttemptTimeout ended. What is known of the attempt is its cause's to say.
type timeoutError struct {
	after time.Duration
	cause error
}

func (e *timeoutError) Error() string { return fmt.Sprintf("no response header after %v", e.after) }
func (e *timeoutError) Unwrap() error { return e.cause }
func (e *timeoutError) Timeout() bool { return true }

// noConnection is a deadline that passed before there was a connection to send anything on.
type noConnection struct{}

func (noConnection) Error() string        { return "no connection" }
func (noConnection) Unwrap() error        { return context.DeadlineExceeded }
func (noConnection) NotRun() bool         { return true }
func (noConnection) OutcomeUnknown() bool { return false }

// A body ends its attempt when it has been read or closed.
type body struct {
	io.ReadCloser
	attempt *attempt
}

// until returns b as a body that ends the attempt. The body of a response that switches protocols can be written to as well, and stays so.
func (a *attempt) until(b io.ReadCloser) io.ReadCloser {
	if b == http.NoBody {
		a.cancel(nil)
		return b
	}
	a.body = body{b, a}
	if w, ok := b.(io.Writer); ok {
		return struct {
			*body
			io.Writer
		}{&a.body, w}
	}
	return &a.body
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.attempt.cancel(nil)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.attempt.cancel(nil)
	return err
}
