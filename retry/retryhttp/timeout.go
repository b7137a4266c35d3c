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

// An attempt is one exchange under AttemptTimeout, and its context. It lives until the body of the response has been read or closed. What it takes
// to be cancelled, and to watch for a connection, it takes when the transport asks for it: one that answers from memory asks for nothing.
type attempt struct {
	parent     context.Context // the request's
	timeout    time.Duration
	end        time.Time // of timeout
	expired    timeoutError
	asked, got atomic.Bool // whether net/http looked for a connection and found one; other transports tell nothing
	body       body

	mu     sync.Mutex // guards the following
	over   error      // why the attempt has ended: expired, errOver, or what ended its parent; nil while it lives
	header bool       // the header is there: the time-out is past
	ctx    context.Context
	cancel context.CancelCauseFunc // of ctx; both are nil until somebody asks for Done
	timer  *time.Timer             // nil until then, and behind the header
	trace  *httptrace.ClientTrace  // nil until net/http asks for it
}

// errOver ends an attempt whose response has been read.
var errOver = errors.New("retryhttp: the attempt is over")

// send sends req and gives up if the response's header is not there after timeout. The body is not
// under the timeout: the attempt's context lives until it has been read or closed.
func (a *attempt) send(base http.RoundTripper, req *http.Request, timeout time.Duration) (*http.Response, error) {
	a.parent, a.timeout, a.end = req.Context(), timeout, time.Now().Add(timeout)
	a.expired = timeoutError{after: timeout, cause: context.DeadlineExceeded}
	resp, err := base.RoundTrip(req.WithContext(a))
	late := a.headerCame()
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
	a.finish(errOver)
	return resp, err
}

// headerCame ends the time-out and reports whether it was over before.
func (a *attempt) headerCame() (late bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lookLocked() // the timer may not have come to it yet
	a.header = true
	if a.timer != nil {
		a.timer.Stop()
	}
	return a.over == &a.expired
}

// lookLocked ends the attempt if its time is over or its parent has ended.
func (a *attempt) lookLocked() {
	if a.over != nil {
		return
	}
	if err := a.parent.Err(); err != nil {
		a.finishLocked(err)
	} else if !a.header && !time.Now().Before(a.end) {
		a.finishLocked(&a.expired)
	}
}

func (a *attempt) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lookLocked()
}

func (a *attempt) finish(why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finishLocked(why)
}

// finishLocked ends the attempt, unless it has ended.
func (a *attempt) finishLocked(why error) {
	if a.over != nil {
		return
	}
	a.over = why
	if a.cancel != nil {
		a.cancel(why)
	}
}

// unconnected reports that the request waited for a connection and got none.
func (a *attempt) unconnected() bool { return a.asked.Load() && !a.got.Load() }

// Deadline is the caller's: the time-out does not end the attempt once the header is there.
func (a *attempt) Deadline() (time.Time, bool) { return a.parent.Deadline() }

// Done makes what can be waited for.
func (a *attempt) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx == nil {
		a.ctx, a.cancel = context.WithCancelCause(a.parent)
		a.lookLocked()
		switch {
		case a.over != nil:
			a.cancel(a.over)
		case !a.header:
			a.timer = time.AfterFunc(time.Until(a.end), a.expire)
		}
	}
	return a.ctx.Done()
}

// Err says of an attempt that AttemptTimeout has ended that its deadline passed: what runs below, such as a
// breaker, tells an attempt that took too long from a caller who went away.
func (a *attempt) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lookLocked()
	switch a.over {
	case nil:
		return nil
	case errOver: //nolint:errorlint // over is one of these, bare
		return context.Canceled
	case &a.expired:
		return context.DeadlineExceeded
	}
	if errors.Is(context.Cause(a.parent), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return a.over
}

// Value tells what runs below how long the attempt may take.
func (a *attempt) Value(key any) any {
	switch {
	case caller.AsksAttempt(key):
		return a.timeout
	case key == traceKey:
		return a.watch()
	}
	a.mu.Lock()
	ctx := a.ctx
	a.mu.Unlock()
	if ctx == nil {
		ctx = a.parent
	}
	return ctx.Value(key)
}

// watch returns the hooks by which net/http tells of its connection, with those of the caller.
func (a *attempt) watch() *httptrace.ClientTrace {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.trace == nil {
		a.trace = httptrace.ContextClientTrace(httptrace.WithClientTrace(a.parent, &httptrace.ClientTrace{
			GetConn: func(string) { a.asked.Store(true) },
			GotConn: func(httptrace.GotConnInfo) { a.got.Store(true) },
		}))
	}
	return a.trace
}

// traceKey is the key of hooks in a context. Package httptrace keeps it to itself, but asks with it.
var traceKey = func() any {
	var a asked
	httptrace.ContextClientTrace(&a)
	return a.key
}()

// asked is a context that remembers what it was asked for.
type asked struct {
	context.Context
	key any
}

// Value implements [context.Context].
func (a *asked) Value(key any) any {
	a.key = key
	return nil
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
		a.finish(errOver)
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
		b.attempt.finish(errOver)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.attempt.finish(errOver)
	return err
}
