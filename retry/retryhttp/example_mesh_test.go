package retryhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-go/holdfast/internal/doctest"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryhttp"
)

func TestMeshPageIsCompiled(t *testing.T) {
	doctest.Snippets(t, "../../docs/mesh.md", "example_mesh_test.go")
}

// A service between two sidecars: it asks the one in front of its dependency not to repeat, and does not repeat what
// the one in front of itself is repeating.
func Example_mesh() {
	dependency := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("the mesh may repeat", r.Header.Get("X-Envoy-Max-Retries"), "times")
	}))
	defer dependency.Close()
	payments := &retry.Policy{Name: "payments"}
	transport := &retryhttp.Transport{Policy: payments, OneLayer: true}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) {
		if resp, err := transport.RoundTrip(outgoing(r.Context(), dependency.URL)); err == nil {
			resp.Body.Close()
		}
		fmt.Println("attempt", retry.From(r.Context()).Number, "and from a queue", retry.From(redelivered(r.Context(), 3)).Number)
	})
	handler := retryhttp.Middleware(mux)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Envoy-Attempt-Count", "2")
	handler.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// the mesh may repeat 0 times
	// attempt 2 and from a queue 3
}

// redelivered is the context of a message that a queue hands out for the n-th time.
func redelivered(ctx context.Context, n int) context.Context {
	ctx = retry.WithAttempt(ctx, retry.Attempt{Number: n})
	return ctx
}

func outgoing(ctx context.Context, url string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		panic(err)
	}
	return r
}
