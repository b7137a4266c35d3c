package idempotencyhttp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// DefaultHeader carries the key.
const DefaultHeader = "Idempotency-Key"

// ReplayedHeader is "true" on a response that was stored by an earlier request.
const ReplayedHeader = "Idempotency-Replayed"

// Config configures [Middleware]. The zero value is ready to use.
type Config struct {
	// Header carries the key. Empty means DefaultHeader.
	Header string

	// Optional lets POST and PATCH requests without a key pass unguarded. They are 400 otherwise.
	Optional bool

	// Strict refuses bare keys: the header must be a string of RFC 8941, in quotes.
	Strict bool

	// Scope says whom the key belongs to. It runs before the handler, and what it returns is hashed if
	// it is no valid part of a key. Nil means a hash of the Authorization header, which must be there.
	Scope func(*http.Request) string

	// Op names the operation. Nil means the method and the escaped path.
	Op func(*http.Request) string

	// Fingerprint tells requests with one key apart. Nil means a hash of the query and the body, byte for byte; for
	// clients that write the same JSON differently return idempotency.JSON(json.RawMessage(body)).
	Fingerprint func(r *http.Request, body []byte) idempotency.Sum

	// MaxBody is the largest request body that is taken, and the largest response body that is held back until it is
	// stored. Zero means 1 MiB. What the guard's MaxBytes does not allow is not stored even so.
	MaxBody int64

	// MaxRun is how long a handler may run, whether its client waits or not; its context then ends. Zero means 5 min.
	MaxRun time.Duration

	// Stored decides whether a response is stored. False releases the key, but a 5xx holds it. It is not asked about
	// responses that are never stored: 408, 425, 429, 503, nor where a handler reported that nothing ran or that nobody
	// knows. Nil means all below 500. The guard's Config.Verdict has no say here.
	Stored func(status int) bool
}

// GlobalScope is the scope of services whose clients may share keys: one client, or keys that nobody can guess and that
// carry no secrets in their responses.
func GlobalScope(*http.Request) string { return "" }

// Middleware returns a wrapper that guards handlers with g, or an error that names the field that is wrong. It makes g's
// OnAbandoned default to PolicyRefuse and OnAmbiguous to PolicyRerun. The wrapper's handlers may use g for their own calls.
func Middleware(g *idempotency.Guard, c Config) (func(http.Handler) http.Handler, error) {
	switch {
	case g == nil:
		return nil, errors.New("idempotencyhttp: Middleware: the guard is nil")
	case c.MaxBody < 0:
		return nil, fmt.Errorf("idempotencyhttp: Config.MaxBody: %d is negative", c.MaxBody)
	case c.MaxRun < 0:
		return nil, fmt.Errorf("idempotencyhttp: Config.MaxRun: %v is negative", c.MaxRun)
	}
	if c.Header == "" {
		c.Header = DefaultHeader
	}
	if c.MaxBody == 0 {
		c.MaxBody = 1 << 20
	}
	if c.MaxRun == 0 {
		c.MaxRun = 5 * time.Minute
	}
	if c.Fingerprint == nil {
		c.Fingerprint = fingerprint
	}
	g = g.With(idempotency.Terms{
		OnAbandoned: idempotency.PolicyRefuse, OnAmbiguous: idempotency.PolicyRerun, MaxRun: c.MaxRun,
		Verdict: func(error) idempotency.Verdict { return idempotency.VerdictDefault }, // by the marks of notStored
	})
	return func(next http.Handler) http.Handler { return &handler{guard: g, config: c, next: next} }, nil
}

func fingerprint(r *http.Request, body []byte) idempotency.Sum {
	var room [1024]byte // for most requests; larger ones take memory
	b := append(strconv.AppendInt(room[:0], int64(len(r.URL.RawQuery)), 10), ' ')
	b = append(append(b, r.URL.RawQuery...), ' ')
	if len(b)+len(body) <= len(room) {
		return sha256.Sum256(append(b, body...))
	}
	h := sha256.New()
	h.Write(b)
	h.Write(body)
	return idempotency.Sum(h.Sum(nil))
}

type handler struct {
	guard  *idempotency.Guard
	config Config
	next   http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	required := r.Method == http.MethodPost || r.Method == http.MethodPatch
	if !required && r.Method != http.MethodPut && r.Method != http.MethodDelete {
		h.next.ServeHTTP(w, r)
		return
	}
	values := r.Header.Values(h.config.Header)
	if len(values) == 0 {
		if required && !h.config.Optional {
			keyMissing.write(w, r, "send "+h.config.Header+" with a new value for each operation, and the same for its repetitions", 0)
			return
		}
		h.next.ServeHTTP(w, r)
		return
	}
	id, err := parseKey(values, h.config.Strict)
	if err != nil {
		keyInvalid.write(w, r, err.Error(), 0)
		return
	}
	h.guarded(w, r, id)
}

// guarded serves a request with a key.
func (h *handler) guarded(w http.ResponseWriter, r *http.Request, id string) {
	scope, op, ok := h.parts(r)
	if !ok {
		scopeMissing.write(w, r, "the key of a request without Authorization belongs to nobody", 0)
		return
	}
	rec := newRecorder(w, h.config.MaxBody)
	body, err := rec.read(r)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		bodyTooLarge.write(w, r, fmt.Sprintf("the body of a request with a key may have %d bytes", h.config.MaxBody), 0)
		return
	}
	if err != nil {
		keyInvalid.write(w, r, "the body could not be read", 0)
		return
	}
	key := idempotency.Key{Scope: scope, Op: op, ID: id, Fingerprint: h.config.Fingerprint(r, body)}
	if err := key.Validate(); err != nil {
		keyInvalid.write(w, r, err.Error(), 0)
		return
	}
	h.run(w, r, key, rec, body)
}

// parts returns whom r's key belongs to and what it is for; ok is false if it belongs to nobody. What is made here is made as one string.
func (h *handler) parts(r *http.Request) (scope, op string, ok bool) {
	var room [256]byte // for most; longer ones take memory
	made := room[:0]
	if h.config.Scope == nil {
		authorization := r.Header.Get("Authorization")
		if authorization == "" {
			return "", "", false
		}
		made = appendHash(made, authorization)
	}
	n := len(made)
	if h.config.Op == nil {
		made = append(append(append(made, r.Method...), ' '), r.URL.EscapedPath()...)
	}
	text := string(made)
	scope, op = text[:n], part(text[n:])
	if h.config.Scope != nil {
		scope = part(h.config.Scope(r))
	}
	if h.config.Op != nil {
		op = part(h.config.Op(r))
	}
	return scope, op, true
}

// part returns s, or its hash if it is no valid part of a key.
func part(s string) string {
	if (idempotency.Key{Scope: s, ID: "x"}).Validate() == nil {
		return s
	}
	var room [128]byte
	return string(appendHash(room[:0], s))
}

func appendHash(b []byte, s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return hex.AppendEncode(append(b, "sha256:"...), sum[:])
}

func (h *handler) run(w http.ResponseWriter, r *http.Request, key idempotency.Key, rec *recorder, body []byte) {
	defer rec.leave() // whatever happens, a handler that runs on must not touch w
	stored, info, err := idempotency.DoInfo(r.Context(), h.guard, key, func(ctx context.Context) ([]byte, error) {
		inner := r.WithContext(ctx)
		rec.request.Reset(body)
		inner.Body = &rec.request
		defer func() { // the server does this for r, which has not been parsed
			if inner.MultipartForm != nil {
				_ = inner.MultipartForm.RemoveAll()
			}
		}()
		h.next.ServeHTTP(rec, inner)
		return rec.finish(h.config.Stored)
	})
	if _, ours := errors.AsType[*notStored](err); ours {
		rec.send()
		return
	}
	if err == nil && (!info.Replayed || info.Fenced && unreadable(stored)) { // of its own, whatever its successor left
		rec.send()
		return
	}
	if rec.leave() { // the client has its answer: the handler streamed it and was then fenced off, or runs on
		return
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	replay(w, r, stored)
}

// unreadable reports whether stored is no response to replay.
func unreadable(stored []byte) bool {
	s, err := parseSnapshot(stored)
	return err != nil || s.Gone != ""
}

// replay writes a stored response.
func replay(w http.ResponseWriter, r *http.Request, stored []byte) {
	s, err := parseSnapshot(stored)
	switch {
	case err != nil:
		notDecodable.write(w, r, "the stored response is damaged", 0)
	case s.Gone != "":
		notReplayable.write(w, r, fmt.Sprintf("it answered %d; %s", s.Status, s.Gone), 0)
	default:
		s.write(w)
	}
}
