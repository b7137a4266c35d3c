package degradehttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/shed"
)

var errPrimary = errors.New("primary failed")

func newController(t *testing.T, cfg degrade.Config) *degrade.Controller {
	t.Helper()
	cfg.MeterProvider = noop.NewMeterProvider()
	c, err := degrade.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hold(t *testing.T, c *degrade.Controller, feature string, level degrade.Level) string {
	t.Helper()
	id, err := c.Override(t.Context(), degrade.Override{Feature: feature, Level: level, TTL: time.Hour, Reason: "test", By: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wrap(t *testing.T, c *degrade.Controller, cfg Config, next http.HandlerFunc) http.Handler {
	t.Helper()
	m, err := Middleware(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m(next)
}

func send(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// TestWhatPassesAtWhichLevel is the table of methods, routes and levels.
func TestWhatPassesAtWhichLevel(t *testing.T) {
	requests := []struct {
		request string
		until   degrade.Level // the worst level it is served at
	}{
		{"GET /orders", degrade.ReadOnly},
		{"QUERY /orders", degrade.ReadOnly},
		{"POST /orders", degrade.Limited},
		{"DELETE /orders/7", degrade.Limited},
		{"HEAD /orders", degrade.Offline},
		{"OPTIONS /orders", degrade.Offline},
		{"GET /healthz", degrade.Offline},
		{"GET /debug/pprof/heap", degrade.Offline},
		{"POST /logout", degrade.Offline},
		{"POST /search", degrade.ReadOnly},
		{"GET /oauth/return", degrade.Limited},
		{"GET /recommendations", degrade.Normal},
	}
	for level := degrade.Normal; level <= degrade.Offline; level++ {
		c := newController(t, degrade.Config{})
		f := c.Feature("shop", degrade.FeatureConfig{})
		h := wrap(t, c, Config{Feature: f, Routes: map[string]Route{
			"POST /logout": {Kind: KindPass}, "POST /search": {Kind: KindRead}, "GET /oauth/return": {Kind: KindWrite}, "/recommendations": {Kind: KindOptional},
		}}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") })
		if level > degrade.Normal {
			hold(t, c, "shop", level)
		}
		for _, tt := range requests {
			method, target, _ := strings.Cut(tt.request, " ")
			w := send(h, method, target)
			if served := w.Code == 200; served != (level <= tt.until) {
				t.Errorf("%s at %v: %d", tt.request, level, w.Code)
			}
		}
	}
}

func TestRefusalGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newController(t, degrade.Config{})
		f := c.Feature("checkout", degrade.FeatureConfig{})
		_, err := c.Override(t.Context(), degrade.Override{
			Feature: "checkout", Level: degrade.ReadOnly, TTL: time.Hour, Reason: "secret reason", By: "ana", Maintenance: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		h := wrap(t, c, Config{Feature: f}, func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", unread{t}))
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		wait := body["retry_after"].(float64)
		if w.Code != 503 || wait < 3600 || wait > 4320 || w.Header().Get("Retry-After") != fmt.Sprint(wait) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("answer = %d %v %s", w.Code, w.Header(), w.Body)
		}
		delete(body, "retry_after")
		delete(body, "detail")
		want := map[string]any{
			"type": "urn:holdfast:problem:maintenance", "title": "Maintenance", "status": 503.0, "feature": "checkout", "level": "read-only", "cause": "maintenance",
		}
		if !maps.Equal(body, want) || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "ana") {
			t.Errorf("body = %s, want %v and no reason", w.Body, want)
		}
	})
}

type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }

func TestDegradedAnswersSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newController(t, degrade.Config{Region: "us"})
		f := c.Feature("checkout", degrade.FeatureConfig{})
		history := c.Feature("history", degrade.FeatureConfig{})
		pay := degrade.NewStub(c.Dependency("payments", degrade.DependencyConfig{Home: "eu", Stubbed: true}), 1, 2)
		failing := false
		cache, err := degrade.NewStale(history, func(context.Context, string) (int, error) {
			if failing {
				return 0, errPrimary
			}
			return 1, nil
		}, degrade.StaleConfig{IfError: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		h := wrap(t, c, Config{Feature: f}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = cache.Get(r.Context(), "k")
			if r.URL.Path == "/stub" {
				pay.Pick(r.Context())
				_, _ = degrade.Read(r.Context(), f, func(context.Context) (int, error) { return 0, errPrimary }, func(context.Context) (int, error) { return 1, nil })
			}
			fmt.Fprint(w, "ok")
		})
		if w := send(h, "GET", "/"); w.Header().Get(HeaderDegradation) != "" || w.Header().Get("Age") != "" {
			t.Errorf("a whole answer says %v", w.Header())
		}
		failing = true
		time.Sleep(42 * time.Second)
		hold(t, c, "checkout", degrade.Limited)
		h1, h2 := send(h, "GET", "/").Header(), send(h, "GET", "/stub").Header()
		if got, want := h1.Get(HeaderDegradation), "checkout;level=limited, history;source=stale;age=42"; got != want {
			t.Errorf("Degradation = %q, want %q", got, want)
		}
		if n := len(h1.Values(HeaderDegradation)) + len(h1.Values("Cache-Status")); n != 2 {
			t.Errorf("fields are written %d times: %v", n, h1)
		}
		if h1.Get("Age") != "42" || h1.Get("Cache-Status") != "holdfast; hit; ttl=-32" {
			t.Errorf("Age = %q, Cache-Status = %q", h1.Get("Age"), h1.Get("Cache-Status"))
		}
		if got, want := h2.Get(HeaderDegradation), "checkout;level=limited, history;source=stale;age=42, payments;source=stub, checkout;source=fallback"; got != want {
			t.Errorf("Degradation = %q, want %q", got, want)
		}
	})
}

func TestAnswerWithoutABodyIsMarkedToo(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	hold(t, c, "f", degrade.Limited)
	for _, write := range []func(http.ResponseWriter){
		func(http.ResponseWriter) {},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints); w.WriteHeader(http.StatusNoContent) },
		func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		func(w http.ResponseWriter) { _, _ = io.Copy(w, strings.NewReader("file")) },
		func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	} {
		server := httptest.NewServer(wrap(t, c, Config{Feature: f}, func(w http.ResponseWriter, _ *http.Request) { write(w) }))
		response, err := http.Get(server.URL)
		if err != nil || response.Header.Get(HeaderDegradation) != "f;level=limited" {
			t.Errorf("answer = %v, %v", response, err)
		}
		server.Close()
	}
}

func TestHijackAndDeadlinesReachTheServer(t *testing.T) {
	c := newController(t, degrade.Config{})
	server := httptest.NewServer(wrap(t, c, Config{Feature: c.Feature("f", degrade.FeatureConfig{})}, func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("SetReadDeadline = %v", err)
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("Hijack = %v", err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		conn.Close()
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil || response.StatusCode != 204 {
		t.Errorf("Get = %v, %v", response, err)
	}
}

func TestRequestSeesOneLevel(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	h := wrap(t, c, Config{Feature: f}, func(_ http.ResponseWriter, r *http.Request) {
		hold(t, c, "f", degrade.ReadOnly) // in the middle of the request
		if err := f.Allow(r.Context(), degrade.OpWrite); err != nil {
			t.Errorf("Allow = %v in a request that was let in", err)
		}
	})
	if w := send(h, "POST", "/"); w.Code != 200 || w.Header().Get(HeaderDegradation) != "" {
		t.Errorf("answer = %d %v", w.Code, w.Header())
	}
	if w := send(h, "POST", "/"); w.Code != 503 {
		t.Errorf("the next request got %d", w.Code)
	}
}

func TestMiddlewareRefusesItsConfig(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	for want, cfg := range map[string]Config{
		"pattern":    {Routes: map[string]Route{"/{": {Feature: f}}},
		"conflicts":  {Routes: map[string]Route{"/a/{x}": {Feature: f}, "/{x}/b": {Feature: f}}},
		"not a Kind": {Routes: map[string]Route{"/": {Feature: f, Kind: 9}}},
		"no Feature": {Routes: map[string]Route{"/": {}}},
	} {
		if _, err := Middleware(c, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Middleware = %v, want an error with %q", err, want)
		}
	}
	if _, err := Middleware(nil, Config{}); err == nil {
		t.Error("a nil Controller was accepted")
	}
}

func TestGuard(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	h := Guard(f, degrade.OpOptional, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	if w := send(h, "POST", "/"); w.Code != 200 {
		t.Errorf("answer = %d at Normal", w.Code)
	}
	hold(t, c, "f", degrade.Limited)
	if w := send(h, "GET", "/"); w.Code != 503 || !strings.Contains(w.Body.String(), "problem:limited") {
		t.Errorf("answer = %d %s at Limited", w.Code, w.Body)
	}
	if w := send(h, "HEAD", "/"); w.Code != 200 {
		t.Errorf("HEAD = %d at Limited", w.Code)
	}
}

// told is a guard's ResponseWriter that wants to know errors, behind another.
type told struct {
	http.ResponseWriter
	err error
}

func (w *told) ReportOutcome(err error) { w.err = err }

type wrapping struct{ http.ResponseWriter }

func (w wrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestErrorAnswers(t *testing.T) {
	tests := []struct {
		err        error
		status     int
		kind, wait string
	}{
		{&degrade.RefusedError{Name: "f", Op: degrade.OpWrite, Level: degrade.Offline, Cause: degrade.CauseDependency, Wait: time.Minute}, 503, "offline", "60"},
		{fmt.Errorf("x: %w", &degrade.RefusedError{Name: "front", Cause: degrade.CauseOverload}), 503, "overload", "1"},
		{holdfast.Unknown(&degrade.RefusedError{Name: "f"}), 504, "outcome-unknown", "0"},
		{holdfast.NotRun(errPrimary), 503, "unavailable", ""},
		{holdfast.After(holdfast.NotRun(errPrimary), 1500*time.Millisecond), 503, "unavailable", "2"},
		{holdfast.Unknown(errPrimary), 504, "outcome-unknown", ""},
		{context.DeadlineExceeded, 504, "outcome-unknown", ""},
		{errPrimary, 500, "internal", ""},
		{holdfast.Permanent(errPrimary), 500, "internal", ""},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		guard := &told{ResponseWriter: w}
		Error(wrapping{guard}, httptest.NewRequest("POST", "/", nil), tt.err)
		wait := w.Header().Get("Retry-After")
		if tt.wait == "0" {
			tt.wait = wait // whatever the inner error says
		}
		if w.Code != tt.status || !strings.Contains(w.Body.String(), "problem:"+tt.kind+`"`) || wait != tt.wait {
			t.Errorf("Error(%v) = %d, wait %q, %s; want %d, %q, %s", tt.err, w.Code, wait, w.Body, tt.status, tt.wait, tt.kind)
		}
		if guard.err != tt.err {
			t.Errorf("the guard was told %v, want %v", guard.err, tt.err)
		}
		if strings.Contains(w.Body.String(), errPrimary.Error()) {
			t.Errorf("the text of an inner error was sent: %s", w.Body)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportPropagates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got http.Header
		rt := &Transport{Margin: 100 * time.Millisecond, Base: roundTrip(func(r *http.Request) (*http.Response, error) {
			got = r.Header
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})}
		ctx, cancel := context.WithTimeout(shed.With(t.Context(), shed.Sheddable), time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, "GET", "http://inner/", nil)
		r.Header.Set("Baggage", "a=b")
		if _, err := rt.RoundTrip(r); err != nil {
			t.Fatal(err)
		}
		if got.Get("Baggage") != "holdfast.criticality=sheddable,a=b" || got.Get("Request-Deadline-Ms") != "900" {
			t.Errorf("sent %v", got)
		}
		if r.Header.Get("Baggage") != "a=b" {
			t.Error("the caller's request was changed")
		}
		time.Sleep(950 * time.Millisecond)
		closed := &closing{}
		r.Body = closed
		if _, err := rt.RoundTrip(r); holdfast.OutcomeOf(err) != holdfast.OutcomeNotRun || !closed.closed {
			t.Errorf("RoundTrip = %v (body closed: %t) with less than Margin left, want not run", err, closed.closed)
		}
		plain := httptest.NewRequestWithContext(t.Context(), "GET", "http://inner/", nil)
		if _, err := rt.RoundTrip(plain); err != nil || len(got) != 0 {
			t.Errorf("sent %v, %v for a request that says nothing", got, err)
		}
	})
}

type closing struct {
	strings.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestStubTransport(t *testing.T) {
	canned := http.NewServeMux()
	canned.HandleFunc("POST payments.internal/charge", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"later":%q}`, body)
	})
	canned.HandleFunc("GET payments.internal/panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	for region, want := range map[string]int{"eu": 200, "us": 202} {
		c := newController(t, degrade.Config{Region: region})
		rt := &StubTransport{
			Dependency: c.Dependency("payments", degrade.DependencyConfig{Home: "eu", Stubbed: true}), Stub: Stub(canned),
			Base: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
			}),
		}
		client := &http.Client{Transport: rt}
		response, err := client.Post("http://payments.internal/charge", "text/plain", strings.NewReader("7"))
		if err != nil || response.StatusCode != want {
			t.Fatalf("in %s: %v, %v, want %d", region, response, err, want)
		}
		body, _ := io.ReadAll(response.Body)
		if region == "us" && (string(body) != `{"later":"7"}` || response.Header.Get(HeaderDegradation) != "payments;source=stub" || response.ContentLength != int64(len(body))) {
			t.Errorf("stub answered %s %v", body, response.Header)
		}
		if region == "us" {
			if _, err := client.Get("http://payments.internal/panic"); err == nil || !strings.Contains(err.Error(), "boom") {
				t.Errorf("a panicking stub = %v", err)
			}
			if response, err := client.Head("http://payments.internal/panic2"); err != nil || response.StatusCode != 404 {
				t.Errorf("HEAD = %v, %v", response, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			r, _ := http.NewRequestWithContext(ctx, "GET", "http://payments.internal/charge", nil)
			if _, err := client.Do(r); !errors.Is(err, context.Canceled) {
				t.Errorf("Do = %v of an ended request", err)
			}
		}
	}
}

func TestAdmittedRequestsCostTwoAllocations(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	h := wrap(t, c, Config{Feature: f, Routes: map[string]Route{"/search/{what}": {Kind: KindRead}, "GET /oauth/return": {Kind: KindWrite}}},
		func(http.ResponseWriter, *http.Request) {})
	w := httptest.NewRecorder()
	for _, target := range []string{"/", "/orders", "/oauth/return", "/search"} {
		for _, method := range []string{"GET", "POST"} {
			r := httptest.NewRequest(method, target, nil)
			if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 2 {
				t.Errorf("%s %s: %v allocations, want at most 2", method, target, n)
			}
		}
	}
}

// TestRoutesAgreeWithServeMux: the shortcut finds what ServeMux finds.
func TestRoutesAgreeWithServeMux(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	patterns := []string{
		"/a", "/a/", "/a/b", "GET /a/b", "/a/{x}/c", "/b/{$}", "example.com/a/b", "GET /c/", "/g/", "GET /c/d/", "PUT /c/{x}", "/f/{x}",
	}
	routes := map[string]Route{}
	mux := http.NewServeMux()
	for i, pattern := range patterns {
		routes[pattern] = Route{Feature: f, Kind: KindRead + Kind(i%3)}
		mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	}
	built, err := Middleware(c, Config{Feature: f, Routes: routes, Pass: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	m := built(nil).(*middleware)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
		for _, target := range []string{"/", "/a", "/a/", "/a/b", "/a/b/c", "/a/x/y", "/b/", "/b/c", "/c/", "/c/x", "/c/d/e", "/c/d", "/f/1", "/f/1/2", "/g", "/c", "http://example.com/a/b", "http://other.com/a/b"} {
			r := httptest.NewRequest(method, target, nil)
			_, pattern := mux.Handler(r)
			want, ok := routes[pattern]
			if !ok {
				want = m.fallback
			}
			if got := m.route(r); got != want {
				t.Errorf("%s %s: route %+v, want %q %+v", method, target, got, pattern, want)
			}
		}
	}
}

// TestOuterPatternDoesNotHideAMoreSpecificRoute: a ServeMux around the middleware has matched "/" only.
func TestOuterPatternDoesNotHideAMoreSpecificRoute(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	hold(t, c, "f", degrade.ReadOnly)
	h := wrap(t, c, Config{Feature: f, Routes: map[string]Route{
		"/": {Kind: KindRead}, "POST /orders": {Kind: KindWrite}, "POST /orders/{id}": {Kind: KindWrite}, "POST /search/": {Kind: KindRead},
	}}, func(http.ResponseWriter, *http.Request) {})
	outer := http.NewServeMux()
	outer.Handle("/", h)
	outer.Handle("POST /orders/{id}", h)
	for target, want := range map[string]int{"/": 200, "/other": 200, "/orders": 503, "/orders/7": 503, "/search/x": 200} {
		if w := send(outer, "POST", target); w.Code != want {
			t.Errorf("POST %s = %d, want %d", target, w.Code, want)
		}
	}
}

// TestEscapedSlashIsNoSlash: ServeMux does not take it for one.
func TestEscapedSlashIsNoSlash(t *testing.T) {
	c := newController(t, degrade.Config{})
	f := c.Feature("f", degrade.FeatureConfig{})
	hold(t, c, "f", degrade.ReadOnly)
	h := wrap(t, c, Config{Feature: f, Routes: map[string]Route{"POST /search/": {Kind: KindRead}}}, func(http.ResponseWriter, *http.Request) {})
	if w := send(h, "POST", "/search%2Fx"); w.Code != 503 {
		t.Errorf("POST /search%%2Fx = %d, want it refused as a write", w.Code)
	}
}
