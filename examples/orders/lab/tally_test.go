//go:build unix

package lab

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

type answers func() (*http.Response, error)

func (a answers) RoundTrip(*http.Request) (*http.Response, error) { return a() }

// A Region is lost when users have been promised orders that its standby cannot have: those that were sent after the link was cut.
func TestTallyCountsWhatWasPromisedSince(t *testing.T) {
	status, header, during := http.StatusCreated, http.Header{}, func() {}
	users := &tally{RoundTripper: answers(func() (*http.Response, error) {
		during()
		if status == 0 {
			return nil, http.ErrHandlerTimeout
		}
		return &http.Response{StatusCode: status, Header: header, Body: http.NoBody}, nil
	})}
	order := func(method, path string) {
		resp, err := users.RoundTrip(httptest.NewRequest(method, path, nil))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	want := func(n int64) {
		t.Helper()
		if got := users.orders.Load(); got != n {
			t.Errorf("%d orders were counted, want %d", got, n)
		}
	}
	order("POST", "/orders")
	want(1)
	during = users.begin
	order("POST", "/orders") // sent before
	want(0)
	during = func() {}
	order("POST", "/orders")
	order("GET", "/orders/1")
	order("GET", "/orders")
	want(1)
	header.Set("Idempotency-Replayed", "true") // placed by an earlier try
	order("POST", "/orders")
	want(1)
	header.Del("Idempotency-Replayed")
	for _, status = range []int{0, http.StatusServiceUnavailable, http.StatusConflict} {
		order("POST", "/orders")
	}
	want(1)
}
