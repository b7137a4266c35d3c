package retryhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/caller"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// sendWithin sends req and gives up if the response's header is not there after timeout. The body is not
// under the timeout: the attempt's context lives until it has been read or closed.
func sendWithin(base http.RoundTripper, req *http.Request, timeout time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(caller.WithAttempt(req.Context(), timeout))
	expired := &timeoutError{after: timeout, cause: context.DeadlineExceeded}
	timer := time.AfterFunc(timeout, func() { cancel(expired) })
	var conn connTrace
	resp, err := base.RoundTrip(req.WithContext(httptrace.WithClientTrace(attemptContext{ctx}, conn.hooks())))
	if !timer.Stop() {
		cancel(expired) // the timer has fired, but may not have come to this yet
	}
	late := context.Cause(ctx) == expired
	switch {
	case err == nil && (resp == nil || resp.Body == nil): // a broken or forgiving Base
	case err == nil && !late:
		resp.Body = newBody(resp.Body, cancel)
		return resp, nil
	case err == nil: // the header came, but the body cannot be read any more
		_ = resp.Body.Close()
		return nil, expired
	case late:
		if conn.never() || outcome.Of(err) == outcome.NotRun {
			expired = &timeoutError{after: timeout, cause: noConnection{}} // a new one: the transport may hold the other
		}
		err = expired
	}
	cancel(nil)
	return resp, err
}

// attemptContext says of a context that AttemptTimeout has cancelled that its deadline passed: what runs below, such as a
// breaker, tells an attempt that took too long from a caller who went away.
type attemptContext struct{ context.Context }

func (c attemptContext) Err() error {
	err := c.Context.Err()
	if err != nil && errors.Is(context.Cause(c.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// connTrace sees whether net/http found a connection for a request. Other transports tell it nothing.
type connTrace struct{ asked, got atomic.Bool }

func (c *connTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { c.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { c.got.Store(true) },
	}
}

// never reports that the request waited for a connection and got none.
func (c *connTrace) never() bool { return c.asked.Load() && !c.got.Load() }

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

// body ends the context of its attempt when it has been read or closed.
type body struct {
	io.ReadCloser
	end func()
}

// newBody wraps b. The body of a response that switches protocols can be written to as well, and stays so.
func newBody(b io.ReadCloser, cancel context.CancelCauseFunc) io.ReadCloser {
	wrapped := &body{b, sync.OnceFunc(func() { cancel(nil) })}
	if w, ok := b.(io.Writer); ok {
		return struct {
			*body
			io.Writer
		}{wrapped, w}
	}
	return wrapped
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}
