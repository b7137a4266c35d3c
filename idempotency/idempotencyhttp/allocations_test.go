package idempotencyhttp_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
)

// mute is a ResponseWriter that keeps nothing but its header.
type mute struct{ header http.Header }

func (m mute) Header() http.Header       { return m.header }
func (mute) Write(p []byte) (int, error) { return len(p), nil }
func (mute) WriteHeader(int)             {}

// What a guarded request takes beside the guard's own call: its scope and operation, the recorder, which has room for the bodies, the handler's header, the
// handler's request and what makes it, and the response that is stored.
func TestAllocationsOfAGuardedRequest(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = jsonType
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"1"}`)
	}
	h := protect(t, idempotencyhttp.Config{}, handler)
	requests := make([]*http.Request, 500)
	for i := range requests {
		requests[i] = request("POST", "key-"+strconv.Itoa(i), `{"sku":"anvil"}`)
	}
	next := 0
	got := testing.AllocsPerRun(300, func() {
		w := mute{http.Header{}}
		h.ServeHTTP(w, requests[next])
		if w.header.Get("Content-Type") == "" {
			t.Fatal("no answer")
		}
		next++
	})
	if got > guardedRequest {
		t.Errorf("a guarded request allocates %v times, want at most %v", got, guardedRequest)
	}
}

var jsonType = []string{"application/json"}

const guardedRequest = 15

// A derived key costs the copy of the request with its header, the key, and what reading the body a second time takes.
func TestAllocationsOfADerivedKey(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	transport := &idempotencyhttp.Transport{Base: roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil })}
	g := newGuard(t, idempotency.Config{})
	err := g.Once(t.Context(), "k", func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, "POST", "http://payments/charges", strings.NewReader(`{"cents":1}`))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		if got := testing.AllocsPerRun(100, func() { _, _ = transport.RoundTrip(r) }); got > derivedKey {
			t.Errorf("a derived key allocates %v times, want at most %v", got, derivedKey)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

const derivedKey = 8

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
