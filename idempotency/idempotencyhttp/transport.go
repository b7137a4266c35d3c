package idempotencyhttp

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"

	"github.com/holdfast-go/holdfast/idempotency"
)

// Transport is an http.RoundTripper that gives every POST, PUT, PATCH and DELETE request a key, unless it has one.
//
// Put it outside everything that repeats requests: retries, hedges, Regions. They then send one key. Where requests are repeated outside
// of it, by calling the http.Client again, either do so within a guarded function or set the header yourself.
//
// Within a guarded function the key is derived from the function's own, the method, the path, the query and the body: the same on every
// re-run, whichever host it goes to. Two requests that are equal in all of these are one call; set the header, with idempotency.ChildID, where they are two.
// Bodies are read through GetBody; those without it count by method and URL alone. Outside of guarded functions the key is new.
type Transport struct {
	// Base sends the requests. Nil means http.DefaultTransport.
	Base http.RoundTripper

	// Header carries the key. Empty means DefaultHeader.
	Header string

	// Quoted sends the key as the draft has it, a string in quotes. Most servers in use expect it bare.
	Quoted bool
}

// RoundTrip implements [http.RoundTripper]. It does not change req.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base, header := t.Base, t.Header
	if base == nil {
		base = http.DefaultTransport
	}
	if header == "" {
		header = DefaultHeader
	}
	if !carriesKey(req.Method) || req.Header.Get(header) != "" {
		return base.RoundTrip(req)
	}
	id, err := keyFor(req)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &unsentError{err}
	}
	if t.Quoted {
		id = quote(id)
	}
	req = req.Clone(req.Context())
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set(header, id)
	return base.RoundTrip(req)
}

// An unsentError says why a request was not sent.
type unsentError struct{ err error }

func (e *unsentError) Error() string {
	return "idempotencyhttp: reading the body for its key: " + e.err.Error()
}
func (e *unsentError) Unwrap() error        { return e.err }
func (e *unsentError) NotRun() bool         { return true }
func (e *unsentError) OutcomeUnknown() bool { return false }

func carriesKey(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// keyFor returns a new key, or inside a guarded function the one of this request.
func keyFor(req *http.Request) (string, error) {
	a, ok := idempotency.From(req.Context())
	if !ok {
		return idempotency.NewID(), nil
	}
	sum := sha256.New()
	if req.Body != nil && req.Body != http.NoBody && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, body)
		body.Close()
		if err != nil {
			return "", err
		}
	}
	return a.Child(req.Method + " " + req.URL.RequestURI() + " " + hex.EncodeToString(sum.Sum(nil))), nil
}
