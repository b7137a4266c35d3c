package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
)

// Server order: idempotencyhttp, degradehttp, handler. The helper that answers with an error tells the guard what it stands for.
func TestAnErrorsAnswerDecidesWhatBecomesOfItsKey(t *testing.T) {
	const released, held = "released", "held"
	card := errors.New("card declined")
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{&degrade.RefusedError{Name: "shop", Level: degrade.ReadOnly, Cause: degrade.CauseDependency, Wait: time.Second}, 503, released},
		{fmt.Errorf("charging: %w", holdfast.NotRun(card)), 503, released},
		{holdfast.After(holdfast.NotRun(card), time.Minute), 503, released},
		{holdfast.Unknown(card), 504, held},
		{holdfast.After(holdfast.Unknown(card), time.Minute), 504, held},
		{context.DeadlineExceeded, 504, held},
		{card, 500, held},
		{holdfast.Permanent(card), 500, held},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			runs := 0
			h := guardedAndDegradable(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if runs++; runs == 1 {
					degradehttp.Error(w, r, tt.err)
				}
			})
			if got := charge(h, "order 1"); got.Code != tt.status {
				t.Errorf("answer = %d %s, want %d", got.Code, got.Body, tt.status)
			}
			got, want := charge(h, "order 1"), http.StatusOK
			if tt.want == held {
				want = http.StatusConflict
			}
			if got.Code != want || runs == 2 != (tt.want == released) {
				t.Errorf("a repetition = %d %s after %d runs, want the key %s", got.Code, got.Body, runs, tt.want)
			}
		})
	}
}

// A replay is served in read-only mode, and what the mode refuses is not stored.
func TestReplaysInReadOnlyMode(t *testing.T) {
	runs := 0
	var db *degrade.Dependency
	h := guardedAndDegradable(t, &db, func(w http.ResponseWriter, _ *http.Request) { runs++; fmt.Fprint(w, "charged") })
	for range 2 {
		if got := charge(h, "order 1"); got.Code != http.StatusOK || got.Body.String() != "charged" || runs != 1 {
			t.Errorf("answer = %d %s after %d runs", got.Code, got.Body, runs)
		}
		db.Report(degrade.StateDown)
	}
	for range 2 {
		got := charge(h, "order 2")
		if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" || got.Header().Get(idempotencyhttp.ReplayedHeader) != "" || runs != 1 {
			t.Errorf("in read-only mode = %d %v after %d runs", got.Code, got.Header(), runs)
		}
	}
}

// guardedAndDegradable is idempotencyhttp around degradehttp around h. It sets db to what writes need.
func guardedAndDegradable(t *testing.T, db **degrade.Dependency, h http.HandlerFunc) http.Handler {
	t.Helper()
	guard := holdfast.Must(idempotency.New(holdfast.Must(idempotency.NewMemory(idempotency.MemoryConfig{})), idempotency.Config{}))
	protect := holdfast.Must(idempotencyhttp.Middleware(guard, idempotencyhttp.Config{Scope: idempotencyhttp.GlobalScope}))
	c := holdfast.Must(degrade.New(degrade.Config{}))
	writes := c.Dependency("db", degrade.DependencyConfig{})
	if db != nil {
		*db = writes
	}
	levels := holdfast.Must(degradehttp.Middleware(c, degradehttp.Config{Feature: c.Feature("shop", degrade.FeatureConfig{Writes: writes})}))
	return protect(levels(h))
}

func charge(h http.Handler, key string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/charges", nil)
	r.Header.Set(idempotencyhttp.DefaultHeader, key)
	h.ServeHTTP(w, r)
	return w
}
