package idempotencyhttp

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// A kind of refusal.
type kind struct {
	status      int
	code, title string
}

var (
	keyMissing    = kind{http.StatusBadRequest, "key_missing", "The request needs an idempotency key"}
	keyInvalid    = kind{http.StatusBadRequest, "key_invalid", "The idempotency key is not valid"}
	scopeMissing  = kind{http.StatusBadRequest, "scope_missing", "The idempotency key has no owner"}
	bodyTooLarge  = kind{http.StatusRequestEntityTooLarge, "too_large", "The body is too large"}
	inFlight      = kind{http.StatusConflict, "in_flight", "A request with this key is being processed"}
	unknown       = kind{http.StatusConflict, "outcome_unknown", "The outcome of the first request with this key is unknown"}
	notReplayable = kind{http.StatusConflict, "not_replayable", "The first request with this key is done and its response was not kept"}
	mismatch      = kind{http.StatusUnprocessableEntity, "mismatch", "The idempotency key was used with another request"}
	notDecodable  = kind{http.StatusInternalServerError, "not_decodable", "The stored response cannot be read"}
	unavailable   = kind{http.StatusServiceUnavailable, "unavailable", "Idempotency keys cannot be checked now"}
)

// write answers r with k.
func (k kind) write(w http.ResponseWriter, r *http.Request, detail string, wait time.Duration) {
	problem.Write(w, r, problem.Problem{
		Type: problem.Prefix + strings.ReplaceAll(k.code, "_", "-"), Title: k.title, Status: k.status,
		Detail: detail, Code: k.code, RetryAfter: problem.Seconds(wait),
	})
}

// refuse answers a request whose handler gave no answer. What the error says of our inside stays inside.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*idempotency.Error](err)
	if !ok {
		notDecodable.write(w, r, "", 0)
		return
	}
	k, detail := unavailable, ""
	switch e.Reason {
	case idempotency.ErrKey: //nolint:errorlint // one of a closed set, bare
		k = keyInvalid
	case idempotency.ErrInFlight, idempotency.ErrDetached:
		k = inFlight
	case idempotency.ErrMismatch:
		k, detail = mismatch, "use a new key for a new request"
	case idempotency.ErrUnknownOutcome:
		k, detail = unknown, "it may have been carried out; ask for its effect before you send it with a new key"
	case idempotency.ErrNotReplayable:
		k = notReplayable
	case idempotency.ErrDecode, idempotency.ErrCorrupt:
		k = notDecodable
	}
	k.write(w, r, detail, e.Wait)
}
