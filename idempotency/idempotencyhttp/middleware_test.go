package idempotencyhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
)

func newGuard(t *testing.T, c idempotency.Config) *idempotency.Guard {
	t.Helper()
	m, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := idempotency.New(m, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.Run(ended)
	})
	return g
}

func protect(t *testing.T, c idempotencyhttp.Config, h http.HandlerFunc) http.Handler {
	t.Helper()
	return protectWith(t, newGuard(t, idempotency.Config{}), c, h)
}

func protectWith(t *testing.T, g *idempotency.Guard, c idempotencyhttp.Config, h http.HandlerFunc) http.Handler {
	t.Helper()
	middleware, err := idempotencyhttp.Middleware(g, c)
	if err != nil {
		t.Fatal(err)
	}
	return middleware(h)
}

func request(method, key, body string) *http.Request {
	r := httptest.NewRequest(method, "/orders?x=1", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer me")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r
}

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func post(h http.Handler, key, body string) *http.Response {
	return serve(h, request(http.MethodPost, key, body))
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// code returns the status and the problem's code, or "" for what is no problem.
func code(t *testing.T, r *http.Response) string {
	t.Helper()
	body := text(t, r)
	if r.Header.Get("Content-Type") != "application/problem+json" {
		return fmt.Sprintf("%d %s", r.StatusCode, body)
	}
	var p struct {
		Status int
		Code   string
		Title  string
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != r.StatusCode || p.Title == "" {
		t.Errorf("problem %s of %d: %v", body, r.StatusCode, err)
	}
	return fmt.Sprintf("%d %s", r.StatusCode, p.Code)
}

func wantCode(t *testing.T, r *http.Response, want string) {
	t.Helper()
	if got := code(t, r); got != want {
		t.Errorf("answer = %s, want %s", got, want)
	}
}

func TestReplay(t *testing.T) {
	runs := 0
	h := protect(t, idempotencyhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
		runs++
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Location", "/orders/7")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "created %s", body)
	})
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", idempotency.NewID())
		h.ServeHTTP(w, r)
	})
	first := post(outer, "k", "one")
	again := post(outer, "k", "one")
	for _, r := range []*http.Response{first, again} {
		if got := text(t, r); r.StatusCode != http.StatusCreated || got != "created one" || r.Header.Get("Location") != "/orders/7" || len(r.Header.Values("Set-Cookie")) != 2 {
			t.Errorf("answer = %d %q %v", r.StatusCode, got, r.Header)
		}
	}
	if first.Header.Get("Idempotency-Replayed") != "" || again.Header.Get("Idempotency-Replayed") != "true" || runs != 1 {
		t.Errorf("marks = %q, %q after %d runs, want only the second marked", first.Header.Get("Idempotency-Replayed"), again.Header.Get("Idempotency-Replayed"), runs)
	}
	if first.Header.Get("X-Request-Id") == again.Header.Get("X-Request-Id") {
		t.Error("an outer handler's header was replayed")
	}
}

func TestKeys(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		strict bool
		want   string // the same text = the same key
	}{
		{"bare", []string{"abc"}, false, "200 abc"},
		{"quoted is the same key", []string{`"abc"`}, false, "200 abc"},
		{"quoted with a parameter", []string{` "abc";v=1`}, false, "200 abc"},
		{"escaped", []string{`"a\"b\\c"`}, false, `200 a"b\c`},
		{"strict quoted", []string{`"abc"`}, true, "200 abc"},
		{"strict bare", []string{"abc"}, true, "400 key_invalid"},
		{"missing", nil, false, "400 key_missing"},
		{"empty", []string{""}, false, "400 key_invalid"},
		{"blank", []string{"  "}, false, "400 key_invalid"},
		{"empty quoted", []string{`""`}, false, "400 key_invalid"},
		{"twice", []string{"a", "a"}, false, "400 key_invalid"},
		{"a list", []string{"a,b"}, false, "400 key_invalid"},
		{"quoted list", []string{`"a","b"`}, false, "400 key_invalid"},
		{"unclosed", []string{`"abc`}, false, "400 key_invalid"},
		{"bad escape", []string{`"a\bc"`}, false, "400 key_invalid"},
		{"escape at the end", []string{`"abc\`}, false, "400 key_invalid"},
		{"quote inside", []string{`a"b`}, false, "400 key_invalid"},
		{"control character", []string{"a\tb"}, false, "400 key_invalid"},
		{"control character quoted", []string{"\"a\x01\""}, false, "400 key_invalid"},
		{"not ASCII", []string{"schlüssel"}, false, "400 key_invalid"},
		{"oversized", []string{strings.Repeat("x", 256)}, false, "400 key_invalid"},
		{"longest", []string{strings.Repeat("x", 255)}, false, "200 " + strings.Repeat("x", 255)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := protect(t, idempotencyhttp.Config{Strict: tt.strict}, func(w http.ResponseWriter, r *http.Request) {
				a, _ := idempotency.From(r.Context())
				_, _ = io.WriteString(w, a.Key.ID)
			})
			r := request(http.MethodPost, "", "")
			r.Header["Idempotency-Key"] = tt.values
			if tt.values == nil {
				delete(r.Header, "Idempotency-Key")
			}
			wantCode(t, serve(h, r), tt.want)
		})
	}
}

func FuzzKeyHeader(f *testing.F) {
	for _, s := range []string{"abc", `"abc"`, `"a\"b";v=1`, `"`, ``, `\`, "ä"} {
		f.Add(s, true)
	}
	m, _ := idempotency.NewMemory(idempotency.MemoryConfig{})
	g, _ := idempotency.New(m, idempotency.Config{})
	f.Fuzz(func(t *testing.T, value string, strict bool) {
		middleware, err := idempotencyhttp.Middleware(g, idempotencyhttp.Config{Strict: strict, Scope: idempotencyhttp.GlobalScope})
		if err != nil {
			t.Fatal(err)
		}
		h := middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a, ok := idempotency.From(r.Context())
			if !ok || a.Key.Validate() != nil {
				t.Errorf("%q: the handler ran under %+v", value, a)
			}
		}))
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Idempotency-Key"] = []string{value}
		if got := serve(h, r).StatusCode; got != 200 && got != 400 {
			t.Errorf("%q: %d", value, got)
		}
	})
}

func TestMethods(t *testing.T) {
	for _, tt := range []struct {
		method, key string
		optional    bool
		guarded     bool
	}{
		{"POST", "k", false, true},
		{"PATCH", "k", false, true},
		{"PUT", "k", false, true},
		{"DELETE", "k", false, true},
		{"PUT", "", false, false},
		{"DELETE", "", false, false},
		{"POST", "", true, false},
		{"GET", "k", false, false},
		{"HEAD", "k", false, false},
		{"OPTIONS", "k", false, false},
		{"TRACE", "k", false, false},
		{"CONNECT", "k", false, false},
	} {
		h := protect(t, idempotencyhttp.Config{Optional: tt.optional}, func(w http.ResponseWriter, r *http.Request) {
			if _, ok := idempotency.From(r.Context()); ok != tt.guarded {
				t.Errorf("%+v: guarded %t", tt, ok)
			}
		})
		if r := serve(h, request(tt.method, tt.key, "")); r.StatusCode != 200 {
			t.Errorf("%+v: %d", tt, r.StatusCode)
		}
	}
}

func TestScopesAndOperations(t *testing.T) {
	runs := 0
	count := func(w http.ResponseWriter, r *http.Request) { runs++ }
	h := protect(t, idempotencyhttp.Config{}, count)
	send := func(change func(*http.Request)) *http.Response {
		r := request(http.MethodPost, "k", "body")
		change(r)
		return serve(h, r)
	}
	send(func(*http.Request) {})
	send(func(r *http.Request) { r.Header.Set("Authorization", "Bearer you") })
	send(func(r *http.Request) { r.URL.Path = "/refunds" })
	send(func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("ü", 300) })
	if runs != 4 {
		t.Errorf("%d runs, want 4: users and operations do not share keys", runs)
	}
	wantCode(t, send(func(r *http.Request) { r.Header.Del("Authorization") }), "400 scope_missing")
	wantCode(t, send(func(r *http.Request) { r.URL.RawQuery = "x=2" }), "422 mismatch")
	wantCode(t, post(h, "k", "other body"), "422 mismatch")
	h = protect(t, idempotencyhttp.Config{
		Scope:       func(r *http.Request) string { return r.Header.Get("User") },
		Fingerprint: func(_ *http.Request, body []byte) idempotency.Sum { return idempotency.JSON(json.RawMessage(body)) },
	}, count)
	runs = 0
	for _, user := range []string{"ä", "ö", "ä"} {
		r := request(http.MethodPost, "k", ` {"b":1, "a":2.0} `)
		if runs == 2 {
			r = request(http.MethodPost, "k", `{"a":2,"b":1}`)
		}
		r.Header.Set("User", user)
		if r := serve(h, r); r.StatusCode != 200 {
			t.Errorf("user %s: %d", user, r.StatusCode)
		}
	}
	if runs != 2 {
		t.Errorf("%d runs, want 2", runs)
	}
	wantCode(t, post(h, "j", `{`), "400 key_invalid")
	h = protect(t, idempotencyhttp.Config{Scope: idempotencyhttp.GlobalScope}, count)
	r := request(http.MethodPost, "k", "")
	r.Header.Del("Authorization")
	if r := serve(h, r); r.StatusCode != 200 {
		t.Errorf("global scope: %d", r.StatusCode)
	}
}

type mark struct{ notRun, unknown bool }

func (mark) Error() string          { return "mark" }
func (m mark) NotRun() bool         { return m.notRun }
func (m mark) OutcomeUnknown() bool { return m.unknown }

// inner is a ResponseWriter that another middleware put around the guarded one.
type inner struct{ http.ResponseWriter }

func (w inner) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// report does what helpers do that turn errors into responses.
func report(w http.ResponseWriter, err error) {
	for {
		switch to := w.(type) {
		case interface{ ReportOutcome(error) }:
			to.ReportOutcome(err)
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = to.Unwrap()
		default:
			return
		}
	}
}

func TestWhatIsStored(t *testing.T) {
	const stored, released, held = "stored", "released", "held"
	always := func(int) bool { return true }
	tests := []struct {
		status int
		report error
		stored func(int) bool
		want   string
	}{
		{200, nil, nil, stored},
		{204, nil, nil, stored},
		{301, nil, nil, stored},
		{400, nil, nil, stored},
		{404, nil, nil, stored},
		{422, nil, nil, stored},
		{408, nil, nil, released},
		{425, nil, nil, released},
		{429, nil, nil, released},
		{503, nil, nil, released},
		{500, nil, nil, held},
		{502, nil, nil, held},
		{504, nil, nil, held},
		{500, nil, always, stored},
		{503, nil, always, released},
		{429, nil, always, released},
		{400, nil, func(s int) bool { return s != 400 }, released},
		{500, nil, func(int) bool { return false }, held},
		{409, mark{notRun: true}, nil, released},
		{500, mark{notRun: true}, nil, released},
		{503, mark{unknown: true}, nil, held},
		{200, mark{unknown: true}, nil, held},
		{404, mark{}, nil, stored},
	}
	for i := range 4 * len(tests) {
		tt, verdict := tests[i/4], idempotency.Verdict(i%4) // of the guard, which has no say
		t.Run(fmt.Sprint(tt.status, " ", tt.report, " ", tt.want, " verdict ", verdict), func(t *testing.T) {
			runs := 0
			g := newGuard(t, idempotency.Config{Verdict: func(error) idempotency.Verdict { return verdict }})
			h := protectWith(t, g, idempotencyhttp.Config{Stored: tt.stored}, func(w http.ResponseWriter, r *http.Request) {
				runs++
				if tt.report != nil {
					report(inner{w}, tt.report)
				}
				w.WriteHeader(tt.status)
			})
			if r := post(h, "k", ""); r.StatusCode != tt.status {
				t.Errorf("first answer = %d", r.StatusCode)
			}
			again := post(h, "k", "")
			got := stored
			switch {
			case runs == 2:
				got = released
			case again.StatusCode == 409:
				got = held
				wantCode(t, again, "409 outcome_unknown")
			case again.StatusCode != tt.status || again.Header.Get("Idempotency-Replayed") != "true":
				t.Errorf("second answer = %d %v", again.StatusCode, again.Header)
			}
			if got != tt.want {
				t.Errorf("the response was %s, want %s", got, tt.want)
			}
		})
	}
}

func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protect(t, idempotencyhttp.Config{}, func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute) })
		done := make(chan int)
		go func() { done <- post(h, "k", "").StatusCode }()
		time.Sleep(2500 * time.Millisecond)
		r := post(h, "k", "")
		wantCode(t, r, "409 in_flight")
		if got := r.Header.Get("Retry-After"); got != "3" {
			t.Errorf("Retry-After = %q, want 3: whole seconds, rounded up", got)
		}
		if got := <-done; got != 200 {
			t.Errorf("first = %d", got)
		}
	})
}

func TestTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, idempotency.Config{})
		h := protectWith(t, g, idempotencyhttp.Config{MaxRun: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			if r.Context().Err() != nil {
				t.Error("the handler's context ended with its client")
			}
			w.Header().Set("X", "y")
			_, _ = io.WriteString(w, "done")
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		start := time.Now()
		serve(h, request(http.MethodPost, "k", "").WithContext(ctx))
		if took := time.Since(start); took != time.Second {
			t.Errorf("the request ended after %v, want with its client", took)
		}
		wantCode(t, post(h, "k", ""), "409 in_flight")
		ended, end := context.WithCancel(t.Context())
		end()
		_ = g.Run(ended)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Run waited until %v, want for the handler", took)
		}
		r := post(h, "k", "")
		if got := text(t, r); got != "done" || r.Header.Get("X") != "y" {
			t.Errorf("replay = %q %v", got, r.Header)
		}
	})
}

func TestTheClientLeavesAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		afterwards := make(chan error, 1)
		h := protect(t, idempotencyhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "part 1")
			w.(http.Flusher).Flush()
			time.Sleep(time.Minute)
			_, err := io.WriteString(w, "part 2")
			afterwards <- err
			if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
				t.Error("hijacked a connection of a request that has ended")
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := serve(h, request(http.MethodPost, "k", "").WithContext(ctx))
		if got := text(t, r); got != "part 1" {
			t.Errorf("the client got %q", got)
		}
		if err := <-afterwards; err == nil {
			t.Error("writing to a client that has gone gave no error")
		}
		synctest.Wait()
		wantCode(t, post(h, "k", ""), "409 not_replayable")
	})
}

func TestMaxRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protect(t, idempotencyhttp.Config{MaxRun: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			w.WriteHeader(http.StatusGatewayTimeout)
		})
		start := time.Now()
		if r := post(h, "k", ""); r.StatusCode != http.StatusGatewayTimeout || time.Since(start) != time.Second {
			t.Errorf("answer = %d after %v", r.StatusCode, time.Since(start))
		}
		wantCode(t, post(h, "k", ""), "409 outcome_unknown")
	})
}

func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protect(t, idempotencyhttp.Config{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		func() {
			defer func() {
				if got := recover(); got != http.ErrAbortHandler {
					t.Errorf("recovered %v, want the handler's panic", got)
				}
			}()
			post(h, "k", "")
		}()
		wantCode(t, post(h, "k", ""), "409 outcome_unknown")
	})
}

func TestStreamingAndBigBodies(t *testing.T) {
	big := strings.Repeat("x", 1000)
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"flush": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", "y")
			_, _ = io.WriteString(w, "a")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "b")
		}, "ab"},
		"more than MaxBody": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", "y")
			_, _ = io.WriteString(w, "a")
			_, _ = io.WriteString(w, big)
		}, "a" + big},
	} {
		t.Run(name, func(t *testing.T) {
			h := protect(t, idempotencyhttp.Config{MaxBody: 100}, tt.handler)
			first := post(h, "k", "")
			if got := text(t, first); got != tt.want || first.Header.Get("X") != "y" {
				t.Errorf("answer = %.20q %v", got, first.Header)
			}
			wantCode(t, post(h, "k", ""), "409 not_replayable")
		})
	}
	h := protect(t, idempotencyhttp.Config{MaxBody: 100}, func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
	wantCode(t, post(h, "k", big), "413 too_large")
	small := protectWith(t, newGuard(t, idempotency.Config{MaxBytes: 100}), idempotencyhttp.Config{}, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, big) })
	if got := text(t, post(small, "k", "")); got != big {
		t.Errorf("answer = %.20q", got)
	}
	wantCode(t, post(small, "k", ""), "409 not_replayable")
}

func TestOverTheWire(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 299 Raw\r\nContent-Length: 2\r\n\r\nhi")
		_ = rw.Flush()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Write after Hijack = %v", err)
		}
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			t.Errorf("Write to 204 = %v", err)
		}
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "Sum")
		_, _ = io.WriteString(w, "<html>")
		w.Header().Set("Sum", "7")
	})
	guarded := protect(t, idempotencyhttp.Config{Scope: idempotencyhttp.GlobalScope}, mux.ServeHTTP)
	served := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { served <- struct{}{} }()
		guarded.ServeHTTP(w, r)
	}))
	defer server.Close()
	send := func(path string) *http.Response {
		t.Helper()
		req, _ := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader("body"))
		req.Header.Set("Idempotency-Key", "k")
		r, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body.Close()
		r.Body = io.NopCloser(bytes.NewReader(body))
		<-served // a hijacker answers before its key is done
		return r
	}
	if r := send("/hijack"); r.StatusCode != 299 || text(t, r) != "hi" {
		t.Errorf("hijacked = %d", r.StatusCode)
	}
	wantCode(t, send("/hijack"), "409 not_replayable")
	for range 2 {
		if r := send("/empty"); r.StatusCode != 204 || r.ContentLength != 0 {
			t.Errorf("empty = %d, %d bytes", r.StatusCode, r.ContentLength)
		}
	}
	if r := send("/early"); r.Trailer.Get("Sum") != "7" || text(t, r) != "<html>" {
		t.Errorf("early = %v, trailer %v", r.Header, r.Trailer)
	}
	if r := send("/early"); r.Header.Get("Content-Type") != "text/html; charset=utf-8" || r.Header.Get("Link") == "" || text(t, r) != "<html>" || r.Header.Get("Date") == "" {
		t.Errorf("early again = %d %v", r.StatusCode, r.Header)
	}
}

func TestOutage(t *testing.T) {
	g, err := idempotency.New(brokenStore{}, idempotency.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := protectWith(t, g, idempotencyhttp.Config{}, func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
	r := post(h, "k", "")
	if r.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After = %q", r.Header.Get("Retry-After"))
	}
	wantCode(t, r, "503 unavailable")
}

type brokenStore struct{ idempotency.Store }

func (brokenStore) Begin(context.Context, idempotency.Claim) (idempotency.Answer, error) {
	return idempotency.Answer{}, errors.New("down: secret address")
}

func (brokenStore) Release(context.Context, idempotency.Release) (idempotency.Status, error) {
	return idempotency.StatusAbsent, nil
}

func TestDamagedSnapshot(t *testing.T) {
	m, _ := idempotency.NewMemory(idempotency.MemoryConfig{})
	g, _ := idempotency.New(m, idempotency.Config{})
	h := protectWith(t, g, idempotencyhttp.Config{Scope: idempotencyhttp.GlobalScope, Fingerprint: func(*http.Request, []byte) idempotency.Sum { return idempotency.Sum{} }},
		func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
	for i, stored := range []string{"", "\x05ab", "\x02{}", "\x0e{\"status\":100}", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		id := fmt.Sprint(i)
		_, err := idempotency.Do(t.Context(), g, idempotency.Key{Op: "POST /orders", ID: id}, func(context.Context) ([]byte, error) { return []byte(stored), nil })
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, post(h, id, ""), "500 not_decodable")
	}
}

func TestMiddlewareChecksItsConfig(t *testing.T) {
	g := newGuard(t, idempotency.Config{})
	if _, err := idempotencyhttp.Middleware(nil, idempotencyhttp.Config{}); err == nil {
		t.Error("Middleware without a guard")
	}
	for want, c := range map[string]idempotencyhttp.Config{"Config.MaxBody": {MaxBody: -1}, "Config.MaxRun": {MaxRun: -1}} {
		if _, err := idempotencyhttp.Middleware(g, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Middleware = %v, want %s", err, want)
		}
	}
}

// sender is the far end of a Transport: it fails some requests and keeps their keys.
type sender struct {
	keys []string
	fail atomic.Int32
}

func (s *sender) RoundTrip(r *http.Request) (*http.Response, error) {
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	if s.fail.Add(-1) >= 0 {
		return nil, errors.New("connection reset")
	}
	return http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 204 No Content\r\n\r\n")), r)
}

// retrying repeats as retryhttp does, inside of the Transport.
type retrying struct{ base http.RoundTripper }

func (r retrying) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	for range 3 {
		if resp, err = r.base.RoundTrip(req); err == nil {
			break
		}
	}
	return resp, err
}

func TestTransport(t *testing.T) {
	g := newGuard(t, idempotency.Config{OnUnknown: idempotency.PolicyRerun})
	send := func(ctx context.Context, far *sender, tr *idempotencyhttp.Transport, method, url, body string) {
		t.Helper()
		tr.Base = retrying{far}
		req, _ := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if req.Header.Get("Idempotency-Key") != "" {
			t.Error("the caller's request was changed")
		}
	}
	far := &sender{}
	far.fail.Store(2)
	send(t.Context(), far, &idempotencyhttp.Transport{}, "POST", "http://a.test/x", "b")
	if len(far.keys) != 3 || far.keys[0] == "" || far.keys[0] != far.keys[1] || far.keys[1] != far.keys[2] {
		t.Errorf("keys of three tries = %q, want one", far.keys)
	}
	send(t.Context(), far, &idempotencyhttp.Transport{}, "POST", "http://a.test/x", "b")
	if far.keys[3] == far.keys[0] {
		t.Error("two calls have one key")
	}
	send(t.Context(), far, &idempotencyhttp.Transport{}, "GET", "http://a.test/x", "")
	if far.keys[4] != "" {
		t.Error("a GET carries a key")
	}

	far = &sender{}
	for range 2 { // the function runs twice
		_ = g.Do(t.Context(), idempotency.Key{ID: "order"}, func(ctx context.Context) error {
			for _, call := range [][3]string{
				{"POST", "http://east.test/charge", "1"},
				{"POST", "http://west.test/charge", "1"},
				{"POST", "http://east.test/charge", "2"},
				{"PUT", "http://east.test/charge", "1"},
				{"POST", "http://east.test/charge?a", "1"},
			} {
				send(ctx, far, &idempotencyhttp.Transport{}, call[0], call[1], call[2])
			}
			return mark{unknown: true}
		})
	}
	k := far.keys
	if len(k) != 10 || k[0] != k[5] || k[2] != k[7] || k[3] != k[8] || k[4] != k[9] {
		t.Errorf("keys of a re-run = %q, want those of the first run", k)
	}
	if k[0] != k[1] {
		t.Errorf("the same call to another Region has another key: %q", k)
	}
	if k[0] == k[2] || k[0] == k[3] || k[0] == k[4] || k[2] == k[3] {
		t.Errorf("other calls share a key: %q", k)
	}

	far = &sender{}
	send(t.Context(), far, &idempotencyhttp.Transport{Quoted: true}, "DELETE", "http://a.test/", "")
	if !strings.HasPrefix(far.keys[0], `"`) || !strings.HasSuffix(far.keys[0], `"`) {
		t.Errorf("quoted key = %s", far.keys[0])
	}
	req, _ := http.NewRequest("POST", "http://a.test/", nil)
	req.Header.Set("Idempotency-Key", "mine")
	_, _ = (&idempotencyhttp.Transport{Base: far}).RoundTrip(req)
	if far.keys[1] != "mine" {
		t.Errorf("the caller's key became %q", far.keys[1])
	}
	req, _ = http.NewRequest("POST", "http://a.test/", nil)
	req.Body, req.GetBody = io.NopCloser(strings.NewReader("x")), func() (io.ReadCloser, error) { return nil, errors.New("gone") }
	err := g.Do(t.Context(), idempotency.Key{ID: "unsent"}, func(ctx context.Context) error {
		_, err := (&idempotencyhttp.Transport{Base: far}).RoundTrip(req.WithContext(ctx))
		return err
	})
	if e, ok := err.(interface{ NotRun() bool }); !ok || !e.NotRun() {
		t.Errorf("a body that cannot be read = %v, want not run", err)
	}
}

// mortal is a store as a process knows it that dies once it has claimed a key: nothing that follows arrives.
type mortal struct{ idempotency.Store }

var errDead = errors.New("the process is dead")

func (mortal) Complete(context.Context, idempotency.Completion) (idempotency.Answer, error) {
	return idempotency.Answer{}, errDead
}

func (mortal) Renew(context.Context, idempotency.Renewal) (idempotency.Status, error) {
	return 0, errDead
}

func (mortal) Release(context.Context, idempotency.Release) (idempotency.Status, error) {
	return 0, errDead
}

// A process dies with a request. Whoever repeats it is told that nobody knows what was done; the handler does not run again unless OnAbandoned says so.
func TestAbandonedKeysAreRefused(t *testing.T) {
	for policy, want := range map[idempotency.Policy]string{idempotency.PolicyDefault: "409 outcome_unknown", idempotency.PolicyRerun: "200 "} {
		synctest.Test(t, func(t *testing.T) {
			m, err := idempotency.NewMemory(idempotency.MemoryConfig{})
			if err != nil {
				t.Fatal(err)
			}
			runs := 0
			process := func(s idempotency.Store) http.Handler {
				g, err := idempotency.New(s, idempotency.Config{OnAbandoned: policy})
				if err != nil {
					t.Fatal(err)
				}
				return protectWith(t, g, idempotencyhttp.Config{}, func(http.ResponseWriter, *http.Request) { runs++ })
			}
			post(process(mortal{m}), "k", "")
			next := process(m)
			wantCode(t, post(next, "k", ""), "409 in_flight")
			time.Sleep(10 * time.Minute) // longer than the lease
			r := post(next, "k", "")
			if r.StatusCode == http.StatusConflict {
				wantCode(t, r, want)
			} else if want != "200 " {
				t.Errorf("answer = %d, want %s", r.StatusCode, want)
			}
			if again := want == "200 "; again != (runs == 2) {
				t.Errorf("policy %v: %d runs", policy, runs)
			}
		})
	}
}

// What the successor of a fenced request left cannot be replayed; the request has an answer of its own.
func TestAFencedAnswerIsSent(t *testing.T) {
	m, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(epoch uint64, h http.HandlerFunc) http.Handler {
		g, err := idempotency.New(m, idempotency.Config{OnAbandoned: idempotency.PolicyRerun, Epoch: func() (uint64, time.Time) { return epoch, time.Time{} }})
		if err != nil {
			t.Fatal(err)
		}
		return protectWith(t, g, idempotencyhttp.Config{}, h)
	}
	next := at(5, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "new")
		_ = http.NewResponseController(w).Flush()
	})
	old := at(4, func(w http.ResponseWriter, _ *http.Request) {
		if got := text(t, post(next, "k", "")); got != "new" {
			t.Errorf("the successor answers %q", got)
		}
		_, _ = io.WriteString(w, "old")
	})
	if r := post(old, "k", ""); r.StatusCode != http.StatusOK || text(t, r) != "old" {
		t.Errorf("a fenced request gets %d, want its own answer", r.StatusCode)
	}
}

func TestAnInvalidStatusPanicsAndHolds(t *testing.T) {
	h := protect(t, idempotencyhttp.Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(0) })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("WriteHeader(0) does not panic, as net/http's does")
			}
		}()
		post(h, "k", "")
	}()
	wantCode(t, post(h, "k", ""), "409 outcome_unknown")
}
