package breakerhttp

import (
	"net/http"
	"strings"

	"github.com/holdfast-go/holdfast/breaker"
)

// A Transport is an [http.RoundTripper] that asks a breaker before each request and tells it the result. It is
// safe for concurrent use if Base is. The zero value asks nobody.
type Transport struct {
	// Base makes the requests. Nil means http.DefaultTransport.
	Base http.RoundTripper

	// Breaker picks the breaker of a request; see [One] and [PerHost]. It must not change the request. Nil, or a
	// nil *breaker.Breaker returned, lets the request pass.
	Breaker func(*http.Request) *breaker.Breaker

	// Verdict judges a response's header, or the error of the exchange; exactly one of the two is given. It
	// must not read the body. Nil means [DefaultVerdict] for responses, and the breaker's own Config.Verdict
	// for errors.
	Verdict func(*http.Response, error) breaker.Verdict
}

// One guards every request by b.
func One(b *breaker.Breaker) func(*http.Request) *breaker.Breaker {
	return func(*http.Request) *breaker.Breaker { return b }
}

// PerHost guards the requests to each host and port by g's breaker of that name.
func PerHost(g *breaker.Group) func(*http.Request) *breaker.Breaker {
	return func(req *http.Request) *breaker.Breaker { return g.Get(strings.ToLower(req.URL.Host)) }
}

// RoundTrip implements [http.RoundTripper]. It returns a *breaker.OpenError for a request that was not sent.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	b := t.breakerOf(req)
	if b == nil {
		return t.base().RoundTrip(req)
	}
	permit, err := b.Acquire(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	call := exchange{permit: permit}
	defer call.abandon() // a panic or Goexit below is a failure
	resp, err := t.base().RoundTrip(req)
	call.permit = permit.Answered()
	if err != nil {
		call.failed(t.Verdict, err)
		return nil, err
	}
	call.answered(t.Verdict, resp)
	return resp, nil
}

// CloseIdleConnections passes on what http.Client.CloseIdleConnections asks for.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

func (t *Transport) breakerOf(req *http.Request) *breaker.Breaker {
	if t.Breaker == nil {
		return nil
	}
	return t.Breaker(req)
}

// closeBody does what RoundTrip owes the caller of a request that is not sent.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
