package breakerhttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

var errBoom = errors.New("boom")

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// quick opens at the first failure, for a second.
var quick = breaker.Config{Name: "api", ConsecutiveFailures: 1, OpenFor: time.Second, Jitter: breaker.Off, Probes: 1}

// A roundTripper is a server without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// status answers with a code and a body.
func status(code int, header ...string) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("body")), Request: req}
		if len(header) == 2 {
			resp.Header.Set(header[0], header[1])
		}
		return resp, nil
	}
}

// get makes a request and reads its answer to the end.
func get(ctx context.Context, t *Transport) error {
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://api.test/x", nil))
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestStatusClasses(t *testing.T) {
	tests := []struct {
		code int
		want string // which count it is in
	}{
		{200, "success"},
		{301, "success"},
		{400, "success"},
		{401, "success"},
		{404, "success"},
		{408, "neutral"},
		{429, "failure"},
		{500, "failure"},
		{501, "neutral"},
		{502, "failure"},
		{503, "failure"},
		{504, "failure"},
		{599, "failure"},
	}
	for _, tt := range tests {
		b := must(breaker.New(breaker.Config{}))
		if err := get(t.Context(), &Transport{Base: status(tt.code), Breaker: One(b)}); err != nil {
			t.Fatal(err)
		}
		s := b.Stats()
		got := map[string]uint64{"success": s.Total.Successes, "failure": s.Total.Failures, "neutral": s.Neutral}
		if got[tt.want] != 1 || s.Total.Successes+s.Total.Failures+s.Neutral != 1 {
			t.Errorf("status %d: %+v, want one %s", tt.code, s, tt.want)
		}
	}
}

func TestRetryAfterIsTheOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat)
		tests := map[string]time.Duration{
			"30": 30 * time.Second, date: 40 * time.Second, "soon": time.Second, "-5": time.Second, "": time.Second,
			"99999999999999999999": time.Minute, "7200": time.Minute,
		}
		for header, want := range tests {
			b := must(breaker.New(quick))
			_ = get(t.Context(), &Transport{Base: status(503, "Retry-After", header), Breaker: One(b)})
			if got := b.Stats().Wait; got != want {
				t.Errorf("Retry-After %q: open for %v, want %v", header, got, want)
			}
		}
	})
}

func TestRejectedRequestIsNotSent(t *testing.T) {
	b := must(breaker.New(quick))
	sent := 0
	client := &http.Client{Transport: &Transport{Breaker: One(b), Base: roundTripper(func(*http.Request) (*http.Response, error) {
		sent++
		return nil, errBoom
	})}}
	if _, err := client.Get("http://api.test"); !errors.Is(err, errBoom) {
		t.Fatalf("first: %v", err)
	}
	body := &closer{Reader: strings.NewReader("x")}
	_, err := client.Post("http://api.test", "text/plain", body)
	if sent != 1 || !errors.Is(err, breaker.ErrOpen) || outcome.Of(err) != outcome.NotRun || !body.closed {
		t.Errorf("sent %d, error %v, body closed %t; want 1, open and not run, true", sent, err, body.closed)
	}
	if wait, ok := outcome.RetryAfter(err); !ok || wait <= 0 {
		t.Errorf("RetryAfter = %v, %t", wait, ok)
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

// A stream is a body under the test's control.
type stream struct {
	read func() error
}

func (s *stream) Read(p []byte) (int, error) {
	if err := s.read(); err != nil {
		return 0, err
	}
	p[0] = 'x'
	return 1, nil
}
func (s *stream) Close() error { return nil }

func streaming(read func() error) roundTripper {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: &stream{read}}, nil
	}
}

func TestBrokenBodyIsAFailure(t *testing.T) {
	b := must(breaker.New(quick))
	err := get(t.Context(), &Transport{Base: streaming(func() error { return io.ErrUnexpectedEOF }), Breaker: One(b)})
	if !errors.Is(err, io.ErrUnexpectedEOF) || b.State() != breaker.StateOpen {
		t.Errorf("error %v, state %v, want the body's error and open", err, b.State())
	}
}

func TestBodyBrokenByTheCallerIsNeutral(t *testing.T) {
	b := must(breaker.New(quick))
	ctx, cancel := context.WithCancel(t.Context())
	_ = get(ctx, &Transport{Breaker: One(b), Base: streaming(func() error { cancel(); return errBoom })})
	if s := b.Stats(); s.State != breaker.StateClosed || s.Neutral != 1 {
		t.Errorf("%+v, want closed and one neutral result", s)
	}
}

func TestPermitIsHeldUntilTheBodyEnds(t *testing.T) {
	ends := map[string]func(io.ReadCloser){
		"closed":      func(b io.ReadCloser) { b.Close(); b.Close() },
		"read to end": func(b io.ReadCloser) { _, _ = io.Copy(io.Discard, b) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := must(breaker.New(quick))
				_ = get(t.Context(), &Transport{Base: status(500), Breaker: One(b)})
				time.Sleep(time.Second + time.Millisecond)
				tr := &Transport{Base: status(200), Breaker: One(b)}
				resp, err := tr.RoundTrip(must(http.NewRequest(http.MethodGet, "http://api.test", nil)))
				if err != nil {
					t.Fatal(err)
				}
				if s := b.Stats(); s.Probing != 1 || s.State != breaker.StateHalfOpen {
					t.Errorf("%+v, want a probe under way", s)
				}
				if err := get(t.Context(), tr); !errors.Is(err, breaker.ErrOpen) {
					t.Errorf("a second probe is admitted: %v", err)
				}
				end(resp.Body)
				if got := b.State(); got != breaker.StateClosed {
					t.Errorf("state %v after the body's end, want closed", got)
				}
			})
		})
	}
}

func TestSlowIsTheTimeToTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := must(breaker.New(breaker.Config{SlowCall: time.Second}))
		reads := 0
		download := streaming(func() error {
			if reads++; reads > 3 {
				return io.EOF
			}
			time.Sleep(time.Minute)
			return nil
		})
		_ = get(t.Context(), &Transport{Base: download, Breaker: One(b)})
		slow := roundTripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return status(200)(req)
		})
		_ = get(t.Context(), &Transport{Base: slow, Breaker: One(b)})
		if s := b.Stats(); s.Total.Slow != 1 || s.Total.Successes != 2 {
			t.Errorf("%+v, want two successes of which the second was slow", s.Total)
		}
	})
}

func TestNoBodyToWaitFor(t *testing.T) {
	for name, resp := range map[string]*http.Response{
		"no body":  {StatusCode: 204, Body: http.NoBody},
		"nil body": {StatusCode: 200},
		"upgrade":  {StatusCode: 101, Body: &stream{}},
	} {
		b := must(breaker.New(breaker.Config{}))
		body := resp.Body
		tr := &Transport{Breaker: One(b), Base: roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })}
		got, err := tr.RoundTrip(must(http.NewRequest(http.MethodGet, "http://api.test", nil)))
		if err != nil || got.Body != body || b.Stats().Total.Successes != 1 {
			t.Errorf("%s: %v, body replaced %t, %+v; want a success at once", name, err, got.Body != body, b.Stats())
		}
	}
}

func TestPanicAndGoexitEndThePermit(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("x") }, "Goexit": runtime.Goexit} {
		b := must(breaker.New(quick))
		tr := &Transport{Breaker: One(b), Base: roundTripper(func(*http.Request) (*http.Response, error) { leave(); return nil, nil })}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			_ = get(context.Background(), tr)
		}()
		<-done
		if got := b.State(); got != breaker.StateOpen {
			t.Errorf("%s: state %v, want open", name, got)
		}
	}
}

func TestVerdict(t *testing.T) {
	b := must(breaker.New(breaker.Config{}))
	verdict := func(resp *http.Response, err error) breaker.Verdict {
		switch {
		case (resp == nil) == (err == nil):
			t.Errorf("asked about %v and %v, want exactly one", resp, err)
		case err != nil:
			return breaker.VerdictNeutral
		case resp.StatusCode == 404:
			return breaker.VerdictTripNow
		}
		return breaker.VerdictSuccess
	}
	_ = get(t.Context(), &Transport{Base: status(503), Breaker: One(b), Verdict: verdict})
	_ = get(t.Context(), &Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errBoom }), Breaker: One(b), Verdict: verdict})
	if s := b.Stats(); s.Total.Successes != 1 || s.Neutral != 1 {
		t.Errorf("%+v, want one success and one neutral", s)
	}
	_ = get(t.Context(), &Transport{Base: status(404), Breaker: One(b), Verdict: verdict})
	if got := b.State(); got != breaker.StateOpen {
		t.Errorf("state %v after a 404 judged trip now, want open", got)
	}
}

func TestPerHost(t *testing.T) {
	g := must(breaker.NewGroup(quick, breaker.GroupConfig{}))
	tr := &Transport{Breaker: PerHost(g), Base: roundTripper(func(req *http.Request) (*http.Response, error) {
		if strings.EqualFold(req.URL.Host, "bad.test:8080") {
			return nil, errBoom
		}
		return status(200)(req)
	})}
	visit := func(url string) error {
		resp, err := tr.RoundTrip(must(http.NewRequest(http.MethodGet, url, nil)))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	_ = visit("http://bad.test:8080/")
	if err := visit("http://BAD.test:8080/other"); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("the bad host: %v, want open", err)
	}
	if err := visit("http://bad.test/"); err != nil {
		t.Errorf("another port: %v", err)
	}
}

func TestWithoutABreaker(t *testing.T) {
	for _, tr := range []*Transport{{Base: status(500)}, {Base: status(500), Breaker: One(nil)}} {
		if err := get(t.Context(), tr); err != nil {
			t.Error(err)
		}
	}
}

// TestRealServer runs over net/http: a truncated body, a hanging server, and connections that are reused.
func TestRealServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/truncated":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		default:
			_, _ = w.Write([]byte("fine"))
		}
	}))
	defer server.Close()
	b := must(breaker.New(breaker.Config{}))
	client := &http.Client{Transport: &Transport{Base: server.Client().Transport, Breaker: One(b)}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/", "/truncated", "/"} {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if s := b.Stats(); s.Total.Successes != 2 || s.Total.Failures != 1 {
		t.Errorf("%+v, want two successes and the truncated failure", s.Total)
	}
}

func TestCloseIdleConnectionsReachesTheBase(t *testing.T) {
	base := &idle{}
	(&http.Client{Transport: &Transport{Base: base}}).CloseIdleConnections()
	if !base.closed {
		t.Error("Base was not told")
	}
}

type idle struct {
	http.Transport
	closed bool
}

func (i *idle) CloseIdleConnections() { i.closed = true }
