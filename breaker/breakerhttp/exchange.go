package breakerhttp

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/breaker"
)

var errAbandoned = errors.New("breakerhttp: the transport panicked or ended its goroutine")

// An exchange is one request and its response. It ends its permit once.
type exchange struct {
	permit  breaker.Permit
	handed  bool // to the body's reader
	settled atomic.Bool
}

// done ends the permit with a result for the breaker to judge.
func (e *exchange) done(err error) {
	if e.settled.CompareAndSwap(false, true) {
		e.permit.Done(err)
	}
}

// doneAs ends the permit with a verdict.
func (e *exchange) doneAs(verdict breaker.Verdict, err error) {
	if e.settled.CompareAndSwap(false, true) {
		e.permit.DoneAs(verdict, err)
	}
}

// abandon ends the permit of an exchange that nobody will end.
func (e *exchange) abandon() {
	if !e.handed {
		e.doneAs(breaker.VerdictFailure, errAbandoned)
	}
}

func (e *exchange) failed(verdict func(*http.Response, error) breaker.Verdict, err error) {
	if verdict == nil {
		e.done(err)
		return
	}
	e.doneAs(verdict(nil, err), err)
}

// answered judges the header. What it does not decide is left to the body's reader.
func (e *exchange) answered(verdict func(*http.Response, error) breaker.Verdict, resp *http.Response) {
	v := verdictOn(verdict, resp)
	switch {
	case v != breaker.VerdictSuccess:
		e.doneAs(v, errorOf(resp))
	case resp.Body == nil, resp.Body == http.NoBody, resp.StatusCode == http.StatusSwitchingProtocols:
		e.done(nil) // no body, or one that is a connection of its own from here on
	default:
		e.handed = true
		resp.Body = &body{ReadCloser: resp.Body, call: exchange{permit: e.permit}}
	}
}

func verdictOn(verdict func(*http.Response, error) breaker.Verdict, resp *http.Response) breaker.Verdict {
	if verdict != nil {
		return verdict(resp, nil)
	}
	return DefaultVerdict(resp)
}

// A body ends its exchange when it has been read or closed.
type body struct {
	io.ReadCloser
	call exchange // goes on with the one that judged the header
}

// Read implements io.Reader. An error other than the end is a failure of the exchange.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.call.done(nil)
	} else if err != nil {
		b.call.done(err)
	}
	return n, err
}

// Close implements io.Closer. A reader who has enough does not speak against the server.
func (b *body) Close() error {
	b.call.done(nil) // first: a Read that Close interrupts has not failed
	return b.ReadCloser.Close()
}
