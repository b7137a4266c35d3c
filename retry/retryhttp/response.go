package retryhttp

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/internal/retryafter"
)

// A StatusError stands for a response that asks for a repetition. The policy's Retryable and OnRetry see it, and it is the
// last error of a call whose context ended before the next attempt.
type StatusError struct {
	StatusCode int
	Header     http.Header // of the response

	wait time.Duration
	safe bool // the request changes nothing: there is no outcome to know
}

func newStatusError(resp *http.Response, safe bool, now time.Time) *StatusError {
	wait, _ := retryafter.Parse(resp.Header, now)
	return &StatusError{StatusCode: resp.StatusCode, Header: resp.Header, wait: wait, safe: safe}
}

// Error names the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("http status %d %s", e.StatusCode, http.StatusText(e.StatusCode))
}

// NotRun reports whether the status says that the server did not act on the request: 408 Request Timeout, 421
// Misdirected Request, 425 Too Early and 429 Too Many Requests.
func (e *StatusError) NotRun() bool {
	switch e.StatusCode {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// OutcomeUnknown reports whether the answer to a request that changes something may come from a proxy that
// lost the server: 502, 503 and 504.
func (e *StatusError) OutcomeUnknown() bool {
	if e.safe {
		return false
	}
	switch e.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// RetryAfter returns what the Retry-After header asks for, zero without one.
func (e *StatusError) RetryAfter() time.Duration { return e.wait }

// repeatableStatus reports whether a later attempt may get a better answer.
func repeatableStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return code >= 500 && code <= 599
}

const (
	drainLimit = 64 << 10
	drainFor   = time.Second
)

// drop closes a response that nobody will read. Reading it to its end first lets its connection be used again;
// a long or slow one is not worth that.
func drop(resp *http.Response) {
	if resp == nil {
		return
	}
	if resp.ContentLength <= drainLimit {
		slow := time.AfterFunc(drainFor, func() { _ = resp.Body.Close() })
		defer slow.Stop()
		_, _ = io.CopyN(io.Discard, resp.Body, drainLimit+1)
	}
	_ = resp.Body.Close()
}
