package idempotencyhttp_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
)

func newExampleGuard() *idempotency.Guard {
	store, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(store, idempotency.Config{Name: "api"})
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

func ExampleMiddleware() {
	protect, err := idempotencyhttp.Middleware(newExampleGuard(), idempotencyhttp.Config{
		Scope: func(r *http.Request) string { return r.Header.Get("X-User") }, // from your authentication
	})
	if err != nil {
		log.Fatal(err)
	}
	orders := 0
	handler := protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		orders++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "order %d", orders)
	}))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/orders", nil)
		r.Header.Set("X-User", "7")
		r.Header.Set("Idempotency-Key", `"0191d2a0"`)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Printf("%d %s, replayed %t\n", w.Code, w.Body, w.Header().Get(idempotencyhttp.ReplayedHeader) == "true")
	}
	// Output:
	// 201 order 1, replayed false
	// 201 order 1, replayed true
}

func ExampleTransport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, fmt.Sprint(len(r.Header.Get("Idempotency-Key"))))
	}))
	defer server.Close()
	// Base is what repeats requests, such as retryhttp.Transport: all tries carry one key.
	client := &http.Client{Transport: &idempotencyhttp.Transport{Base: http.DefaultTransport}}
	resp, err := client.Post(server.URL, "text/plain", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("a key of %s characters\n", body)
	// Output: a key of 36 characters
}
