package retryhttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/retry"
)

// A Transport is an [http.RoundTripper] that repeats requests as the package comment says. The zero value is ready to
// use. It must not be changed once used, and is safe for concurrent use if Base is.
type Transport struct {
	// Base makes the attempts. Nil means [http.DefaultTransport].
	Base http.RoundTripper

	// Policy says how often and when. Nil means the defaults of a nil policy. Its Retryable, if set, is asked about
	// each failure of a request that may be repeated, with the error or with a [*StatusError] that stands for a response.
	Policy *retry.Policy

	// Repeatable reports whether a request may run twice. Nil means the rule of the package comment. It runs once per
	// request, before the first attempt, on the caller's goroutine. Failures that say NotRun are repeated all the same.
	Repeatable func(*http.Request) bool

	// OneLayer sets the header x-envoy-max-retries: 0, unless the request has one: an Envoy in between then
	// leaves repeating to this Transport.
	OneLayer bool
}

const envoyMaxRetries = "x-envoy-max-retries"

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c := &call{transport: t, request: req, repeatable: t.mayRepeat(req)}
	seq, err := t.Policy.Start(req.Context(), c.judge())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	defer seq.End()
	for n := 1; ; n++ {
		resp, failure := c.attempt(seq.Context(), n)
		if failure == nil {
			return resp, nil
		}
		wait, stop := seq.Next(failure)
		if stop != nil && resp != nil {
			return resp, nil // the answer, such as it is
		}
		if stop == nil {
			drop(resp)
			stop = seq.Wait(wait)
		}
		if stop != nil {
			return nil, stop
		}
		c.last = failure
	}
}

// CloseIdleConnections closes those of Base, if it has the method: [http.Client.CloseIdleConnections] calls it.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *Transport) mayRepeat(req *http.Request) bool {
	if t.Repeatable != nil {
		return t.Repeatable(req)
	}
	return safe(req.Method) || req.Method == http.MethodPut || req.Method == http.MethodDelete ||
		req.Header.Get("Idempotency-Key") != ""
}

// safe reports whether a method changes nothing (RFC 9110, section 9.2.1).
func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// call is one RoundTrip. It holds its first attempt, so that both are one allocation.
type call struct {
	transport  *Transport
	request    *http.Request
	repeatable bool
	last       error   // of the attempt before
	first      attempt // of those under AttemptTimeout
}

// judge returns what judges a failure. A request that may run twice is repeated whatever is known of its first run.
func (c *call) judge() func(error) bool {
	p := c.transport.Policy
	switch {
	case !c.rewindable():
		return never
	case p != nil && p.Retryable != nil:
		return func(failure error) bool {
			return (c.repeatable || notRun(failure)) && p.Retryable(failure)
		}
	case c.repeatable:
		return worthwhile
	}
	return worthwhileIfNotRun
}

func never(error) bool { return false }

func notRun(failure error) bool { return outcome.Of(failure) == outcome.NotRun }

// worthwhile reports whether the next attempt may end otherwise.
func worthwhile(failure error) bool {
	return !errors.Is(failure, context.Canceled) && !hopeless(failure)
}

func worthwhileIfNotRun(failure error) bool { return notRun(failure) && worthwhile(failure) }

// rewindable reports whether the request can be sent again.
func (c *call) rewindable() bool { return !hasBody(c.request) || c.request.GetBody != nil }

// hopeless reports whether the next attempt is bound to fail in the same way.
func hopeless(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	return strings.Contains(err.Error(), "unsupported protocol scheme")
}

// attempt makes attempt n. It returns a failure for every result that may have to be repeated; of a response,
// both.
func (c *call) attempt(ctx context.Context, n int) (*http.Response, error) {
	req, err := c.prepare(ctx, n)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(req, n)
	if err == nil && resp == nil {
		err = errNoResponse
	}
	if err != nil {
		return nil, err
	}
	if resp.Body == nil {
		resp.Body = http.NoBody // as http.Client forgives
	}
	if !repeatableStatus(resp.StatusCode) {
		return resp, nil
	}
	return resp, newStatusError(resp, safe(req.Method), time.Now())
}

var errNoResponse = errors.New("retryhttp: Base returned neither a response nor an error")

func (c *call) send(req *http.Request, n int) (*http.Response, error) {
	p := c.transport.Policy
	if p == nil || p.AttemptTimeout <= 0 {
		return c.transport.base().RoundTrip(req)
	}
	a := &c.first
	if n > 1 {
		a = &attempt{}
	}
	return a.send(c.transport.base(), req, p.AttemptTimeout)
}

// prepare returns the request of attempt n. The first is the caller's own, unless a header has to be added.
func (c *call) prepare(ctx context.Context, n int) (*http.Request, error) {
	req := c.request
	if n > 1 {
		req = req.WithContext(ctx)
		if hasBody(req) {
			body, err := req.GetBody()
			if err != nil {
				return nil, &rewindError{err: err, last: c.last}
			}
			req.Body = body
		}
	}
	if c.transport.OneLayer && req.Header.Get(envoyMaxRetries) == "" {
		body := req.Body
		req = req.Clone(ctx)
		req.Body = body
		if req.Header == nil {
			req.Header = http.Header{}
		}
		req.Header.Set(envoyMaxRetries, "0")
	}
	return req, nil
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// closeBody closes the body of a request that is never sent, as a RoundTripper must.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// rewindError ends a call whose body cannot be read again. The attempt it stands for sent nothing.
type rewindError struct{ err, last error }

func (e *rewindError) Error() string {
	return fmt.Sprintf("retryhttp: rewind the request body: %v, after: %v", e.err, e.last)
}
func (e *rewindError) Unwrap() []error { return []error{e.last, e.err} }
func (e *rewindError) Permanent() bool { return true }
func (e *rewindError) NotRun() bool    { return true }
