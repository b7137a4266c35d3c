package problem

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range []string{"Content-Length", "Etag", "Age"} {
		w.Header().Set(name, "1")
	}
	Write(w, httptest.NewRequest("POST", "/", nil), Problem{Type: Prefix + "x", Title: "X", Status: 503, Detail: `<a> "b"`, RetryAfter: Seconds(1500 * time.Millisecond)})
	h := w.Header()
	if w.Code != 503 || h.Get("Retry-After") != "2" || h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/problem+json" || h.Get("Etag")+h.Get("Age")+h.Get("Content-Length") != "" {
		t.Errorf("answer = %d %v", w.Code, h)
	}
	want := `{"type":"urn:holdfast:problem:x","title":"X","status":503,"detail":"\u003ca\u003e \"b\"","retry_after":2}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("body = %s, want %s", got, want)
	}
	w = httptest.NewRecorder()
	Write(w, httptest.NewRequest("HEAD", "/", nil), Problem{Status: 500})
	if w.Body.Len() != 0 || w.Header().Get("Retry-After") != "" {
		t.Errorf("HEAD got a body %q or a wait %v", w.Body, w.Header())
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, -time.Hour: 0, 1: 1, time.Second: 1, time.Second + 1: 2} {
		if got := Seconds(d); got != want {
			t.Errorf("Seconds(%v) = %d, want %d", d, got, want)
		}
	}
}
