package breakerhttp

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
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
	return &statusError{code: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"))}
}

// retryAfter reads the header's two forms, seconds and a date; zero if it is neither or past.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
