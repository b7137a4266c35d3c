package idempotencyhttp

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/internal/uuid"
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
	keyed := req.WithContext(req.Context()) // a copy
	keyed.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		keyed.Header[name] = slices.Clip(values) // who adds to them does it to a copy
	}
	keyed.Header.Set(header, id)
	return base.RoundTrip(keyed)
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
	sum, err := bodySum(req)
	if err != nil {
		return "", err
	}
	var room [256]byte // for most; longer ones take memory
	op := append(append(room[:0], req.Method...), ' ')
	op = append(append(op, req.URL.RequestURI()...), ' ')
	return uuid.Child(a.Key.Scope, a.Key.Op, a.Key.ID, hex.AppendEncode(op, sum[:])), nil // a.Child, without a string
}

// A hasher is the state of a hash with room for what it comes to.
type hasher struct {
	hash.Hash
	sum [sha256.Size]byte
}

var hashers = sync.Pool{New: func() any { return &hasher{Hash: sha256.New()} }}

// bodySum returns the SHA-256 of the body, of nothing if it cannot be read twice.
func bodySum(req *http.Request) (sum [sha256.Size]byte, err error) {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody == nil {
		return sha256.Sum256(nil), nil
	}
	body, err := req.GetBody()
	if err != nil {
		return sum, err
	}
	defer body.Close()
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.Reset()
	if _, err := io.Copy(h.Hash, body); err != nil {
		return sum, err
	}
	h.Sum(h.sum[:0])
	return h.sum, nil
}
