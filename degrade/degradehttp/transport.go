package degradehttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/shed"
)

// A Transport sends the class of the request's context (shed.From) as Baggage, and the time it has left as Request-Deadline-Ms. Use
// it in clients of services of your own: others have no business to know. The receiver's shed.Shedder decides what it believes.
type Transport struct {
	Base http.RoundTripper // nil = http.DefaultTransport

	// Margin is taken off the time left, for the way there and back; 0 = none. A request with none left is not sent.
	Margin time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	class, classed := shed.From(ctx)
	deadline, timed := ctx.Deadline()
	if !classed && !timed {
		return base(t.Base).RoundTrip(r)
	}
	left := time.Until(deadline) - t.Margin
	if timed && left <= 0 {
		closeBody(r)
		return nil, &lateError{host: r.URL.Host, margin: t.Margin}
	}
	r = r.Clone(ctx) // a RoundTripper may not change what it is given
	if classed {
		shed.SetHeader(r.Header, class)
	}
	if timed {
		r.Header.Set(shed.HeaderDeadline, strconv.FormatInt(max(1, left.Milliseconds()), 10))
	}
	return base(t.Base).RoundTrip(r)
}

// A lateError is of a request that was not sent.
type lateError struct {
	host   string
	margin time.Duration
}

func (e *lateError) Error() string {
	return fmt.Sprintf("degradehttp: request to %q not sent: less than %v left", e.host, e.margin)
}
func (e *lateError) NotRun() bool         { return true }
func (e *lateError) OutcomeUnknown() bool { return false }

// Timeout makes it a time-out for those who ask as package net does.
func (e *lateError) Timeout() bool { return true }

func base(rt http.RoundTripper) http.RoundTripper {
	if rt == nil {
		return http.DefaultTransport
	}
	return rt
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// A StubTransport lets Stub answer while a stub answers for Dependency ([degrade.Dependency.Stubbing]: away from its home, or by override), and Base
// otherwise. A stub's answer is labelled: the response has the field Degradation, and so has the answer of the request at hand.
type StubTransport struct {
	Dependency *degrade.Dependency // required
	Stub       http.RoundTripper   // required; [Stub] makes one of a handler
	Base       http.RoundTripper   // nil = http.DefaultTransport
}

// RoundTrip implements [http.RoundTripper].
func (t *StubTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.Dependency.Stubbing() {
		return base(t.Base).RoundTrip(r)
	}
	t.Dependency.NoteStub(r.Context())
	response, err := t.Stub.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("degradehttp: stub of %q: %w", t.Dependency.Name(), err)
	}
	if response.Header == nil {
		response.Header = http.Header{}
	}
	response.Header.Add(HeaderDegradation, t.Dependency.Name()+";source="+degrade.SourceStub.String())
	return response, nil
}

// Stub returns a RoundTripper that lets h answer in this process: canned or recorded answers by host and path in an [http.ServeMux]. It
// keeps the whole answer in memory. A panic of h is an error.
func Stub(h http.Handler) http.RoundTripper { return stub{h} }

type stub struct{ h http.Handler }

func (s stub) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer closeBody(r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			response, err = nil, fmt.Errorf("degradehttp: stub panicked: %v", p)
		}
	}()
	inbound := r.Clone(r.Context()) // as a server would see it
	inbound.RequestURI = r.URL.RequestURI()
	if inbound.Host == "" {
		inbound.Host = r.URL.Host
	}
	if inbound.Body == nil {
		inbound.Body = http.NoBody
	}
	answer := &recorder{header: http.Header{}}
	s.h.ServeHTTP(answer, inbound)
	return answer.response(r), nil
}

// recorder is an [http.ResponseWriter] that keeps the answer.
type recorder struct {
	header http.Header
	sent   http.Header // header when the status was written
	status int
	body   bytes.Buffer
}

func (a *recorder) Header() http.Header { return a.header }

func (a *recorder) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *recorder) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *recorder) response(r *http.Request) *http.Response {
	a.WriteHeader(http.StatusOK)
	if a.sent.Get("Content-Type") == "" && a.body.Len() > 0 {
		a.sent.Set("Content-Type", http.DetectContentType(a.body.Bytes()))
	}
	response := &http.Response{
		Status: strings.TrimSpace(strconv.Itoa(a.status) + " " + http.StatusText(a.status)), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.sent, Request: r,
		ContentLength: int64(a.body.Len()), Body: io.NopCloser(bytes.NewReader(a.body.Bytes())),
	}
	if r.Method == http.MethodHead {
		response.Body = http.NoBody
	}
	return response
}

var errNoAuthorize = errors.New("degradehttp: Admin: authorize is nil: overrides need somebody to answer for them")
