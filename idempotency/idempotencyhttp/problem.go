package idempotencyhttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A problem is a kind of refusal.
type problem struct {
	status      int
	code, title string
}

var (
	keyMissing    = problem{http.StatusBadRequest, "key_missing", "The request needs an idempotency key"}
	keyInvalid    = problem{http.StatusBadRequest, "key_invalid", "The idempotency key is not valid"}
	scopeMissing  = problem{http.StatusBadRequest, "scope_missing", "The idempotency key has no owner"}
	bodyTooLarge  = problem{http.StatusRequestEntityTooLarge, "too_large", "The body is too large"}
	inFlight      = problem{http.StatusConflict, "in_flight", "A request with this key is being processed"}
	unknown       = problem{http.StatusConflict, "outcome_unknown", "The outcome of the first request with this key is unknown"}
	notReplayable = problem{http.StatusConflict, "not_replayable", "The first request with this key is done and its response was not kept"}
	mismatch      = problem{http.StatusUnprocessableEntity, "mismatch", "The idempotency key was used with another request"}
	notDecodable  = problem{http.StatusInternalServerError, "not_decodable", "The stored response cannot be read"}
	unavailable   = problem{http.StatusServiceUnavailable, "unavailable", "Idempotency keys cannot be checked now"}
)

// write answers with p.
func (p problem) write(w http.ResponseWriter, detail string, wait time.Duration) {
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.status)
	text, _ := json.Marshal(struct { // strings and a number: never fails
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
		Code   string `json:"code"`
	}{"about:blank", p.title, p.status, detail, p.code})
	_, _ = w.Write(text) // the client may have gone
}

// refuse answers a request whose handler gave no answer. What the error says of our inside stays inside.
func refuse(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*idempotency.Error](err)
	if !ok {
		notDecodable.write(w, "", 0)
		return
	}
	p, detail := unavailable, ""
	switch e.Reason {
	case idempotency.ErrKey:
		p = keyInvalid
	case idempotency.ErrInFlight, idempotency.ErrDetached:
		p = inFlight
	case idempotency.ErrMismatch:
		p, detail = mismatch, "use a new key for a new request"
	case idempotency.ErrUnknownOutcome:
		p, detail = unknown, "it may have been carried out; ask for its effect before you send it with a new key"
	case idempotency.ErrNotReplayable:
		p = notReplayable
	case idempotency.ErrDecode, idempotency.ErrCorrupt:
		p = notDecodable
	}
	p.write(w, detail, e.Wait)
}
