package retryhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/retry"
)

// roundTripper answers from memory.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// body counts what is read of it and remembers its end.
type testBody struct {
	io.Reader
	read   int
	closed bool
}

func (b *testBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *testBody) Close() error { b.closed = true; return nil }

func response(status int, text string, pairs ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, ContentLength: -1, Body: &testBody{Reader: strings.NewReader(text)}}
}

var (
	errRefused = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	errReset   = &net.OpError{Op: "read", Err: syscall.ECONNRESET}
)

// quick is a policy without waits.
func quick() *retry.Policy {
	return &retry.Policy{Name: "test", MaxAttempts: 3, Backoff: retry.Constant(0), Budget: retry.NoBudget}
}

func TestWhatIsRepeated(t *testing.T) {
	const key = "Idempotency-Key"
	always := func(*http.Request) bool { return true }
	never := func(*http.Request) bool { return false }
	tests := []struct {
		name, method string
		header       string
		repeatable   func(*http.Request) bool
		status       int
		err          error
		want         int // attempts
	}{
		{"GET after 503", "GET", "", nil, 503, nil, 3},
		{"HEAD after 500", "HEAD", "", nil, 500, nil, 3},
		{"OPTIONS after 502", "OPTIONS", "", nil, 502, nil, 3},
		{"PUT after 504", "PUT", "", nil, 504, nil, 3},
		{"DELETE after a reset", "DELETE", "", nil, 0, errReset, 3},
		{"the empty method is GET", "", "", nil, 503, nil, 3},
		{"GET after EOF", "GET", "", nil, 0, io.ErrUnexpectedEOF, 3},
		{"GET after an answer", "GET", "", nil, 404, nil, 1},
		{"GET after 501", "GET", "", nil, 501, nil, 1},
		{"GET after 505", "GET", "", nil, 505, nil, 1},
		{"GET after 599", "GET", "", nil, 599, nil, 3},
		{"GET after a foreign status", "GET", "", nil, 700, nil, 1},
		{"GET after a cancel", "GET", "", nil, 0, context.Canceled, 1},
		{"POST after 503", "POST", "", nil, 503, nil, 1},
		{"POST after a reset", "POST", "", nil, 0, errReset, 1},
		{"POST with a key after a reset", "POST", key, nil, 0, errReset, 3},
		{"PATCH with a key after 500", "PATCH", key, nil, 500, nil, 3},
		{"POST that was refused", "POST", "", nil, 0, errRefused, 3},
		{"POST after 429", "POST", "", nil, 429, nil, 3},
		{"POST after 425", "POST", "", nil, 425, nil, 3},
		{"POST after 408", "POST", "", nil, 408, nil, 3},
		{"POST after 421", "POST", "", nil, 421, nil, 3},
		{"POST that is Repeatable", "POST", "", always, 503, nil, 3},
		{"GET that is not", "GET", "", never, 503, nil, 1},
		{"GET that is not but was refused", "GET", "", never, 0, errRefused, 3},
		{"a bad certificate", "GET", "", nil, 0, &tls.CertificateVerificationError{Err: errors.New("x")}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			attempts := 0
			transport := &Transport{Policy: quick(), Repeatable: tt.repeatable, Base: roundTripper(func(*http.Request) (*http.Response, error) {
				attempts++
				if tt.err != nil {
					return nil, tt.err
				}
				return response(tt.status, "text"), nil
			})}
			req := &http.Request{Method: tt.method, Header: http.Header{}}
			if tt.header != "" {
				req.Header.Set(tt.header, "k")
			}
			resp, err := transport.RoundTrip(req)
			if attempts != tt.want {
				t.Errorf("%d attempts, want %d", attempts, tt.want)
			}
			if tt.err != nil {
				if resp != nil || !errors.Is(err, tt.err) {
					t.Errorf("RoundTrip = %v, %v, want %v", resp, err, tt.err)
				}
				return
			}
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("RoundTrip = %v, %v, want status %d", resp, err, tt.status)
			}
			if text, err := io.ReadAll(resp.Body); string(text) != "text" || err != nil || resp.Body.(*testBody).closed {
				t.Errorf("the last response reads %q, %v", text, err)
			}
		})
	}
}

func TestThePolicysRetryableDecidesWithinTheRule(t *testing.T) {
	p := quick()
	p.Retryable = func(err error) bool {
		status, ok := errors.AsType[*StatusError](err)
		return ok && status.StatusCode == 500 && status.Header.Get("X-Test") == "1"
	}
	for _, tt := range []struct {
		method string
		status int
		want   int
	}{{"GET", 500, 3}, {"GET", 503, 1}, {"POST", 500, 1}} {
		attempts := 0
		transport := &Transport{Policy: p, Base: roundTripper(func(*http.Request) (*http.Response, error) {
			attempts++
			return response(tt.status, "", "X-Test", "1"), nil
		})}
		if _, err := transport.RoundTrip(&http.Request{Method: tt.method}); err != nil || attempts != tt.want {
			t.Errorf("%s %d: %d attempts, %v, want %d", tt.method, tt.status, attempts, err, tt.want)
		}
	}
}

func TestEveryAttemptSendsTheWholeBody(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got = append(got, string(text)+r.Header.Get("Idempotency-Key"))
		if len(got) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: &Transport{Policy: quick(), Base: &http.Transport{}}}
	req, _ := http.NewRequest("POST", server.URL, strings.NewReader("order "))
	req.Header.Set("Idempotency-Key", "7")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || strings.Join(got, ",") != "order 7,order 7,order 7" {
		t.Errorf("status %d, bodies %q", resp.StatusCode, got)
	}
	if n := retry.From(resp.Request.Context()).Number; n != 3 {
		t.Errorf("the response's request is attempt %d, want 3", n)
	}
}

func TestABodyWithoutGetBodyIsSentOnce(t *testing.T) {
	attempts := 0
	transport := &Transport{Policy: quick(), Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		attempts++
		r.Body.Close()
		return nil, errReset
	})}
	req := &http.Request{Method: "PUT", Body: &testBody{Reader: strings.NewReader("x")}}
	if _, err := transport.RoundTrip(req); err != errReset || attempts != 1 {
		t.Errorf("RoundTrip = %v in %d attempts, want the error itself in 1", err, attempts)
	}
	attempts = 0
	req = &http.Request{Method: "PUT", Body: http.NoBody}
	if _, err := transport.RoundTrip(req); !errors.Is(err, errReset) || attempts != 3 {
		t.Errorf("NoBody: RoundTrip = %v in %d attempts, want 3", err, attempts)
	}
}

func TestAGetBodyThatFailsEndsTheCall(t *testing.T) {
	broken := errors.New("file is gone")
	transport := &Transport{Policy: quick(), Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errReset })}
	req := &http.Request{
		Method: "PUT", Body: &testBody{Reader: strings.NewReader("x")},
		GetBody: func() (io.ReadCloser, error) { return nil, broken },
	}
	_, err := transport.RoundTrip(req)
	if !errors.Is(err, broken) || !errors.Is(err, errReset) || outcome.Of(err) != outcome.Unknown {
		t.Errorf("RoundTrip = %v, outcome %d, want both errors and Unknown", err, outcome.Of(err))
	}
}

func TestDroppedResponsesAreDrainedAndClosed(t *testing.T) {
	var dropped []*testBody
	transport := &Transport{Policy: quick(), Base: roundTripper(func(*http.Request) (*http.Response, error) {
		if len(dropped) == 2 {
			return response(200, "fine"), nil
		}
		resp := response(503, strings.Repeat("x", (len(dropped)+1)*40<<10)) // 40 and 80 KiB
		dropped = append(dropped, resp.Body.(*testBody))
		return resp, nil
	})}
	resp, err := transport.RoundTrip(&http.Request{Method: "GET"})
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("RoundTrip = %v, %v", resp, err)
	}
	for i, want := range []int{40 << 10, drainLimit + 1} {
		if b := dropped[i]; !b.closed || b.read != want {
			t.Errorf("response %d: closed %t after %d bytes, want %d", i+1, b.closed, b.read, want)
		}
	}
}

func TestALongResponseIsClosedUnread(t *testing.T) {
	resp := response(503, "x")
	resp.ContentLength = drainLimit + 1
	drop(resp)
	if b := resp.Body.(*testBody); !b.closed || b.read != 0 {
		t.Errorf("closed %t, read %d", b.closed, b.read)
	}
}

func TestASlowResponseDelaysTheNextAttemptByASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		transport := &Transport{Policy: quick(), Base: roundTripper(func(*http.Request) (*http.Response, error) {
			if attempts++; attempts > 1 {
				return response(200, ""), nil
			}
			r, w := io.Pipe()
			go func() { _, _ = w.Write([]byte("x")) }()
			return &http.Response{StatusCode: 503, ContentLength: -1, Body: r}, nil
		})}
		start := time.Now()
		resp, err := transport.RoundTrip(&http.Request{Method: "GET"})
		if err != nil || resp.StatusCode != 200 || time.Since(start) != time.Second {
			t.Errorf("RoundTrip = %v, %v after %v, want 200 after 1s", resp, err, time.Since(start))
		}
	})
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var conns, requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%4 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(bytes.Repeat([]byte("x"), 50<<10))
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	p := quick()
	p.MaxAttempts = 4
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: &Transport{Policy: p, Base: base}}
	for range 5 {
		resp, err := client.Get(server.URL)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	if requests.Load() != 20 || conns.Load() != 1 {
		t.Errorf("%d requests on %d connections, want 20 on 1", requests.Load(), conns.Load())
	}
}

func TestRetryAfterCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, form := range []string{"seconds", "date"} {
			attempts := 0
			transport := &Transport{Policy: &retry.Policy{}, Base: roundTripper(func(*http.Request) (*http.Response, error) {
				if attempts++; attempts > 1 {
					return response(200, ""), nil
				}
				value := "7"
				if form == "date" {
					value = time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat)
				}
				return response(429, "", "Retry-After", value), nil
			})}
			start := time.Now()
			if _, err := transport.RoundTrip(&http.Request{Method: "POST"}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < 6*time.Second || took > 7*time.Second { // a date has no fraction
				t.Errorf("%s: waited %v, want 7s", form, took)
			}
		}
	})
}

func TestAHintPastTheDeadlineReturnsTheResponseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		transport := &Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) {
			return response(503, "busy", "Retry-After", "60"), nil
		})}
		start := time.Now()
		resp, err := transport.RoundTrip((&http.Request{Method: "GET"}).WithContext(ctx))
		if err != nil || resp.StatusCode != 503 || time.Since(start) != 0 {
			t.Fatalf("RoundTrip = %v, %v after %v", resp, err, time.Since(start))
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != "busy" {
			t.Errorf("the response reads %q", text)
		}
	})
}

func TestAContextThatEndsInTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		var sent *http.Response
		transport := &Transport{Policy: &retry.Policy{Backoff: retry.Constant(time.Minute)}, Base: roundTripper(func(*http.Request) (*http.Response, error) {
			sent = response(503, "busy")
			return sent, nil
		})}
		resp, err := transport.RoundTrip((&http.Request{Method: "GET"}).WithContext(ctx))
		status, ok := errors.AsType[*StatusError](err)
		if resp != nil || !errors.Is(err, context.Canceled) || !ok || status.StatusCode != 503 {
			t.Errorf("RoundTrip = %v, %v, want the status and the cancel", resp, err)
		}
		if !sent.Body.(*testBody).closed {
			t.Error("the response is not closed")
		}
	})
}

func TestARefusedCallClosesTheRequestBody(t *testing.T) {
	transport := &Transport{Policy: &retry.Policy{MaxElapsed: -1}, Base: roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, errReset
	})}
	body := &testBody{Reader: strings.NewReader("x")}
	_, err := transport.RoundTrip(&http.Request{Method: "PUT", Body: body})
	if outcome.Of(err) != outcome.NotRun || !body.closed {
		t.Errorf("RoundTrip = %v, body closed %t, want NotRun and closed", err, body.closed)
	}
}

func TestAttemptTimeoutCoversTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		var contexts []context.Context
		p := quick()
		p.AttemptTimeout = time.Second
		transport := &Transport{Policy: p, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			contexts = append(contexts, r.Context())
			if attempts++; attempts < 3 {
				<-r.Context().Done()
				return nil, context.Canceled // as a transport with a context of its own may return
			}
			return response(200, "slow"), nil
		})}
		start := time.Now()
		resp, err := transport.RoundTrip(&http.Request{Method: "GET"})
		if err != nil || resp.StatusCode != 200 || time.Since(start) != 2*time.Second {
			t.Fatalf("RoundTrip = %v, %v after %v, want 200 after 2s", resp, err, time.Since(start))
		}
		time.Sleep(time.Minute)
		if contexts[2].Err() != nil {
			t.Error("the timeout ended a response whose header had come")
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != "slow" {
			t.Errorf("read %q", text)
		}
		if contexts[2].Err() == nil {
			t.Error("the context outlives a body that has been read")
		}

		attempts = -10
		_, err = transport.RoundTrip(&http.Request{Method: "GET"})
		if !errors.Is(err, context.DeadlineExceeded) || outcome.Of(err) != outcome.Unknown {
			t.Errorf("RoundTrip = %v, outcome %d, want a deadline of unknown outcome", err, outcome.Of(err))
		}
		attempts = -10
		if _, err = transport.RoundTrip(&http.Request{Method: "POST"}); attempts != -9 || outcome.Of(err) != outcome.Unknown {
			t.Errorf("a POST that timed out was repeated: %d attempts, %v", attempts+10, err)
		}
	})
}

func TestATimeoutWithoutAConnectionHasNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer close(over)
		base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			<-over // a Region that swallows packets; net/http dials on after the request has ended
			return nil, errRefused
		}}
		p := quick()
		p.AttemptTimeout = time.Second
		req, _ := http.NewRequest("POST", "http://blackhole.test/", strings.NewReader("x"))
		start := time.Now()
		_, err := (&Transport{Policy: p, Base: base}).RoundTrip(req)
		if e, ok := errors.AsType[*retry.Error](err); !ok || e.Attempts != 3 || !e.NotRun() || time.Since(start) != 3*time.Second {
			t.Errorf("RoundTrip = %v after %v, want 3 attempts in 3s that have not run", err, time.Since(start))
		}
	})
}

func TestCloseEndsTheAttemptsContext(t *testing.T) {
	var ctx context.Context
	p := quick()
	p.AttemptTimeout = time.Hour
	transport := &Transport{Policy: p, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		ctx = r.Context()
		return response(200, "x"), nil
	})}
	resp, err := transport.RoundTrip(&http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); ctx.Err() == nil {
		t.Error("the context outlives the response")
	}
}

func TestSwitchedProtocolsStayWritable(t *testing.T) {
	p := quick()
	p.AttemptTimeout = time.Hour
	transport := &Transport{Policy: p, Base: roundTripper(func(*http.Request) (*http.Response, error) {
		a, _ := net.Pipe()
		return &http.Response{StatusCode: 101, Body: a}, nil
	})}
	resp, err := transport.RoundTrip(&http.Request{Method: "GET"})
	if _, ok := resp.Body.(io.Writer); !ok || err != nil {
		t.Errorf("the body is a %T, %v", resp.Body, err)
	}
	resp.Body.Close()
}

func TestOneLayerAsksTheMeshNotToRepeat(t *testing.T) {
	var got []string
	transport := &Transport{Policy: quick(), OneLayer: true, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		text, _ := io.ReadAll(r.Body)
		got = append(got, r.Header.Get(envoyMaxRetries)+string(text))
		return response(503, ""), nil
	})}
	req, _ := http.NewRequest("PUT", "http://x/", strings.NewReader("b"))
	if _, err := transport.RoundTrip(req); err != nil || fmt.Sprint(got) != "[0b 0b 0b]" {
		t.Errorf("headers and bodies %v, %v", got, err)
	}
	if req.Header.Get(envoyMaxRetries) != "" {
		t.Error("the caller's request was changed")
	}
	got = nil
	req.Header.Set(envoyMaxRetries, "5")
	req.Body, _ = req.GetBody()
	if _, err := transport.RoundTrip(req); err != nil || got[0] != "5b" {
		t.Errorf("the caller's own header became %v, %v", got, err)
	}
}

func TestMiddlewareCountsTheMeshsAttempts(t *testing.T) {
	for header, want := range map[string]int{"": 1, "1": 1, "2": 2, "7": 7, "-3": 1, "x": 1, "99999999999999999999": 1} {
		attempts := 0
		handler := Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got := retry.From(r.Context()).Number; got != want {
				t.Errorf("header %q: attempt %d, want %d", header, got, want)
			}
			_ = quick().Do(r.Context(), func(context.Context) error { attempts++; return errReset })
		}))
		req := httptest.NewRequest("GET", "/", nil)
		if header != "" {
			req.Header.Set("x-envoy-attempt-count", header)
		}
		handler.ServeHTTP(httptest.NewRecorder(), req)
		if wantAttempts := map[bool]int{true: 1, false: 3}[want > 1]; attempts != wantAttempts {
			t.Errorf("header %q: %d attempts below, want %d", header, attempts, wantAttempts)
		}
	}
}

func TestTransientAsRetryableRepeatsSafeRequests(t *testing.T) {
	p := quick()
	p.Retryable = retry.Transient
	for method, want := range map[string]int{"GET": 3, "PUT": 1} { // whether a PUT ran is not known
		attempts := 0
		transport := &Transport{Policy: p, Base: roundTripper(func(*http.Request) (*http.Response, error) {
			attempts++
			return response(503, ""), nil
		})}
		if _, err := transport.RoundTrip(&http.Request{Method: method}); err != nil || attempts != want {
			t.Errorf("%s: %d attempts, %v, want %d", method, attempts, err, want)
		}
	}
}

func TestBasesThatBreakTheContract(t *testing.T) {
	timed := quick()
	timed.AttemptTimeout = time.Hour
	for _, p := range []*retry.Policy{quick(), timed} {
		transport := &Transport{Policy: p, Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil })}
		if resp, err := transport.RoundTrip(&http.Request{Method: "GET"}); resp != nil || !errors.Is(err, errNoResponse) {
			t.Errorf("RoundTrip = %v, %v, want %v", resp, err, errNoResponse)
		}
		transport.Base = roundTripper(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 503}, nil })
		if resp, err := transport.RoundTrip(&http.Request{Method: "GET"}); err != nil || resp.Body == nil {
			t.Errorf("RoundTrip = %v, %v, want a response with a body", resp, err)
		}
	}
}

// closer is a Base that can close its idle connections.
type closer struct {
	roundTripper
	closed bool
}

func (c *closer) CloseIdleConnections() { c.closed = true }

func TestCloseIdleConnectionsReachesBase(t *testing.T) {
	base := &closer{}
	(&http.Client{Transport: &Transport{Base: base}}).CloseIdleConnections()
	if !base.closed {
		t.Error("Base did not hear of it")
	}
	(&Transport{Base: roundTripper(nil)}).CloseIdleConnections()
}

func TestRealErrors(t *testing.T) {
	plain := httptest.NewTLSServer(http.NotFoundHandler())
	plain.Config.ErrorLog = nil
	defer plain.Close()
	for url, want := range map[string]int64{plain.URL: 1, "gopher://x/": 1} {
		var attempts atomic.Int64
		base := &http.Transport{}
		client := &http.Client{Transport: &Transport{Policy: quick(), Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			attempts.Add(1)
			return base.RoundTrip(r)
		})}}
		if _, err := client.Get(url); err == nil || attempts.Load() != want {
			t.Errorf("Get(%s) = %v in %d attempts, want %d", url, err, attempts.Load(), want)
		}
	}
}

func TestStatusErrorText(t *testing.T) {
	e := newStatusError(response(503, "", "Retry-After", "3"), false, time.Now())
	if e.Error() != "http status 503 Service Unavailable" || e.RetryAfter() != 3*time.Second || e.NotRun() || !e.OutcomeUnknown() {
		t.Errorf("StatusError = %v, %v, %t, %t", e, e.RetryAfter(), e.NotRun(), e.OutcomeUnknown())
	}
}

// The header and the timeout come at the same instant: whichever wins, the caller never gets a response
// whose body is then taken away.
func TestAResponseIsNotTakenBackByTheTimeout(t *testing.T) {
	kept := 0
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			p := &retry.Policy{MaxAttempts: 1, AttemptTimeout: time.Second}
			var attempt context.Context
			transport := &Transport{Policy: p, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
				attempt = r.Context()
				time.Sleep(time.Second)
				return response(200, "x"), nil
			})}
			resp, err := transport.RoundTrip(&http.Request{Method: "GET"})
			if err != nil {
				return
			}
			synctest.Wait()
			if attempt.Err() != nil {
				t.Error("the timeout ended a response that the caller has")
			}
			kept++
			resp.Body.Close()
		})
	}
	t.Logf("%d of 300 responses were in time", kept)
}

// A Base may share the cause of the context that it was given with goroutines that live on.
func TestTheCauseOfATimeoutIsNotChangedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &retry.Policy{MaxAttempts: 1, AttemptTimeout: time.Second}
		done := make(chan bool)
		transport := &Transport{Policy: p, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			cause := context.Cause(r.Context())
			go func() { done <- errors.Is(cause, context.DeadlineExceeded) }()
			return nil, errRefused
		})}
		_, err := transport.RoundTrip(&http.Request{Method: "POST"})
		if !<-done || outcome.Of(err) != outcome.NotRun {
			t.Errorf("RoundTrip = %v, want a deadline that has not run", err)
		}
	})
}

// Callers of http.Client ask its errors whether they are time-outs; url.Error asks the transport's.
func TestATimeOutIsOneForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, p := range []*retry.Policy{quick(), {Backoff: retry.Constant(0), MaxAttempts: 2, AttemptTimeout: time.Second}} {
			attempts := 0
			client := &http.Client{Transport: &Transport{Policy: p, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
				if attempts++; attempts == 1 {
					return nil, errReset
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://x/", nil)
			_, err := client.Do(req)
			if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() || attempts != 2 {
				t.Errorf("Do = %v after %d attempts, want a net.Error that is a time-out", err, attempts)
			}
			cancel()
		}
		client := &http.Client{Transport: &Transport{Policy: quick(), Base: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errReset
		})}}
		_, err := client.Get("http://x/")
		if e, ok := errors.AsType[net.Error](err); !ok || e.Timeout() {
			t.Errorf("Get = %v, want a net.Error that is no time-out", err)
		}
	})
}

// A call costs itself, with its first attempt; an attempt under AttemptTimeout costs the request that carries it. What is
// cancelled or watched costs more, once the transport asks for it.
func TestAllocationsOfAnAttempt(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	answer := response(http.StatusOK, "")
	for _, tt := range []struct {
		name   string
		policy *retry.Policy
		want   float64
	}{
		{"without AttemptTimeout", &retry.Policy{Budget: retry.NoBudget}, 1},
		{"with AttemptTimeout", &retry.Policy{Budget: retry.NoBudget, AttemptTimeout: time.Minute}, 2},
	} {
		body := answer.Body
		transport := &Transport{Policy: tt.policy, Base: roundTripper(func(*http.Request) (*http.Response, error) { answer.Body = body; return answer, nil })}
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://a/", nil)
		if got := testing.AllocsPerRun(100, func() {
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}); got > tt.want {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.want)
		}
	}
}
