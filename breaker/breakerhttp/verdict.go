package breakerhttp

import (
	"fmt"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/retryafter"
)

// DefaultVerdict judges a response by its status: 429 and 5xx are failures, but 408 and 501 are neutral; all
// others are successes.
func DefaultVerdict(resp *http.Response) breaker.Verdict {
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusNotImplemented:
		return breaker.VerdictNeutral
	case code == http.StatusTooManyRequests, code >= 500:
		return breaker.VerdictFailure
	}
	return breaker.VerdictSuccess
}

// A statusError stands for a response that is a failure. Its callers get the response; only the breaker sees this.
type statusError struct {
	code  int
	after time.Duration
}

func (e *statusError) Error() string             { return fmt.Sprintf("status %d", e.code) }
func (e *statusError) RetryAfter() time.Duration { return e.after }

func errorOf(resp *http.Response) error {
	after, _ := retryafter.Parse(resp.Header, time.Now())
	return &statusError{code: resp.StatusCode, after: after}
}
