//go:build unix

package lab

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

type answers func(*http.Request) (int, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, err := a(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: http.NoBody}, nil
}

// A Region is lost when users have been promised orders that its standby cannot have: those that were sent after the link was cut.
func TestTallyCountsWhatWasPromisedSince(t *testing.T) {
	status, during := http.StatusCreated, func() {}
	users := &tally{RoundTripper: answers(func(*http.Request) (int, error) {
		during()
		if status == 0 {
			return 0, http.ErrHandlerTimeout
		}
		return status, nil
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
	for _, status = range []int{0, http.StatusServiceUnavailable, http.StatusConflict} {
		order("POST", "/orders")
	}
	want(1)
}
