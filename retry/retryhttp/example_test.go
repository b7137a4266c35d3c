package retryhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryhttp"
)

// A server that is overloaded for two requests. The POST carries a key, so it may be sent again.
func ExampleTransport() {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if requests.Add(1) < 3 {
			http.Error(w, "try later", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "charged %s", text)
	}))
	defer server.Close()

	payments := &retry.Policy{Name: "payments", Backoff: retry.FullJitter(time.Millisecond, time.Second)}
	client := &http.Client{Transport: &retryhttp.Transport{Policy: payments}}

	req, _ := http.NewRequest("POST", server.URL, strings.NewReader("12.50"))
	req.Header.Set("Idempotency-Key", "order-7")
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	fmt.Println(string(text))
	fmt.Println("attempts:", retry.From(resp.Request.Context()).Number)
	// Output:
	// charged 12.50
	// attempts: 3
}

// Without a key, a POST is sent again only while nothing ran: here nobody listens.
func ExampleTransport_notRun() {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()

	fast := &retry.Policy{Name: "payments", Backoff: retry.Fixed(0, 0)}
	client := &http.Client{Transport: &retryhttp.Transport{Policy: fast}}
	_, err := client.Post(server.URL, "text/plain", strings.NewReader("12.50"))
	if e, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(e.Attempts, "attempts, not run:", e.NotRun())
	}
	// Output: 3 attempts, not run: true
}

// Requests that Envoy sends a second time make one attempt below, whatever the policy says.
func ExampleMiddleware() {
	policy := &retry.Policy{Name: "stock", MaxAttempts: 5, Backoff: retry.Constant(0)}
	handler := retryhttp.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempts := 0
		_, err := retry.Do(r.Context(), policy, func(context.Context) (int, error) {
			attempts++
			return 0, errors.New("stock is down")
		})
		fmt.Println(attempts, "attempt:", err)
	}))

	req := httptest.NewRequest("GET", "/", nil)
	req.Header.Set("x-envoy-attempt-count", "2")
	handler.ServeHTTP(httptest.NewRecorder(), req)
	// Output: 1 attempt: stock is down
}
