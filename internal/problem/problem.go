// Package problem writes refusals and errors as HTTP answers: RFC 9457 problem details with Retry-After and no-store.
package problem

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// A Problem is one answer. Members that are empty are left out.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code,omitempty"`

	Feature string `json:"feature,omitempty"`
	Level   string `json:"level,omitempty"`
	Cause   string `json:"cause,omitempty"`

	// RetryAfter is in seconds; 0 = not said.
	RetryAfter int64 `json:"retry_after,omitempty"`
}

// Prefix begins the types of this module's problems.
const Prefix = "urn:holdfast:problem:"

// Seconds rounds up, as Retry-After has no fractions and coming back too early is worse.
func Seconds(d time.Duration) int64 {
	return int64(math.Ceil(max(0, d).Seconds()))
}

// Write answers r with p. Headers that would describe another body are taken out.
func Write(w http.ResponseWriter, r *http.Request, p Problem) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Age", "Cache-Status"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(p.RetryAfter, 10))
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(p) // a client that has left is nobody to tell
	}
}
