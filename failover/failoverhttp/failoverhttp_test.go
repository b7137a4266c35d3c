package failoverhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoverhttp"
)

const east, west = "us-east-1", "us-west-2"

// A pair is one process in each of two Regions, in a bubble, with a service behind a transport of functions.
type pair struct {
	t          *testing.T
	east, west *failover.Controller
	clients    map[failover.Region]*failover.Client[failoverhttp.Endpoint]
	mu         sync.Mutex // guards serve and seen
	serve      map[failover.Region]http.HandlerFunc
	seen       []string
	wg         sync.WaitGroup
}

// RoundTrip serves host east or west from memory.
func (p *pair) RoundTrip(r *http.Request) (*http.Response, error) {
	region := map[string]failover.Region{"east.test": east, "west.test": west}[r.URL.Host]
	p.mu.Lock()
	h := p.serve[region]
	if r.URL.Path != "/health" {
		p.seen = append(p.seen, region+" "+r.Method+" "+r.URL.Path+" "+r.Header.Get(failoverhttp.HeaderEpoch))
	}
	p.mu.Unlock()
	if h == nil {
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.New("unsupported protocol scheme")}
	}
	w := httptest.NewRecorder()
	h(w, r)
	if r.Body != nil {
		r.Body.Close()
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

func inPair(t *testing.T, run func(*testing.T, *pair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{t: t, clients: map[failover.Region]*failover.Client[failoverhttp.Endpoint]{}, serve: map[failover.Region]http.HandlerFunc{}}
		ok := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") }
		p.serve[east], p.serve[west] = ok, ok
		ctx, stop := context.WithCancel(t.Context())
		coord := failover.NewMemoryCoordinator(east, west)
		p.east, p.west = p.start(ctx, coord, east), p.start(ctx, coord, west)
		time.Sleep(30 * time.Second)
		run(t, p)
		stop()
		p.wg.Wait()
	})
}

func (p *pair) start(ctx context.Context, coord failover.Coordinator, self failover.Region) *failover.Controller {
	ctl, err := failover.NewController(failover.ControllerConfig{
		Regions: []failover.Region{east, west}, Self: self, Coordinator: coord,
		Promote: func(context.Context, failover.Transition) error { return nil },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	var members []failover.Member[failoverhttp.Endpoint]
	for region, host := range map[failover.Region]string{east: "east.test", west: "west.test"} {
		members = append(members, failover.Member[failoverhttp.Endpoint]{
			Region: region,
			Client: failoverhttp.Endpoint{Base: &url.URL{Scheme: "http", Host: host}, RT: p},
			Probe:  failoverhttp.Probe("/health"), Drain: failoverhttp.Drain, Capacity: func() int { return 10 },
			Lag: func(context.Context, failoverhttp.Endpoint) (failover.LagSample, error) {
				return failover.LagSample{ReplicatedThrough: time.Now(), MeasuredAt: time.Now()}, nil
			},
		})
	}
	client, err := failover.New(ctl, members, failover.ClientConfig{Classify: failoverhttp.Classify})
	if err != nil {
		p.t.Fatal(err)
	}
	p.clients[self] = client
	p.wg.Go(func() { _ = ctl.Run(ctx) })
	return ctl
}

func (p *pair) set(region failover.Region, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve[region] = h
}

func (p *pair) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.seen, "; ")
	p.seen = nil
	return s
}

func (p *pair) move(to failover.Region) {
	p.t.Helper()
	if _, err := p.east.Failover(p.t.Context(), to, failover.Request{Reason: "drill", By: "ann", Second: "bob"}); err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(time.Minute)
}

func get(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	return send(h, method, path, `{"reason":"drill","to":"us-west-2"}`, header...)
}

func send(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://here.test"+path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestActiveFollowsTheWriter(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		if a, b := get(failoverhttp.Active(p.east), "GET", "/").Code, get(failoverhttp.Active(p.west), "GET", "/").Code; a != 200 || b != 503 {
			t.Errorf("Active = %d in %s, %d in %s, want 200 and 503", a, east, b, west)
		}
		p.move(west)
		if a, b := get(failoverhttp.Active(p.east), "GET", "/").Code, get(failoverhttp.Active(p.west), "GET", "/").Code; a != 503 || b != 200 {
			t.Errorf("Active after the move = %d in %s, %d in %s, want 503 and 200", a, east, b, west)
		}
	})
}

func TestWriterOnlyForwardsOnce(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "written with ", r.Header.Get("Idempotency-Key"))
		})
		forward := failoverhttp.Forward(p, func(r failover.Region) *url.URL {
			return &url.URL{Scheme: "http", Host: map[failover.Region]string{east: "east.test", west: "west.test"}[r]}
		})
		atEast, atWest := failoverhttp.WriterOnly(p.east, forward)(served), failoverhttp.WriterOnly(p.west, forward)(served)
		p.set(east, atEast.ServeHTTP)
		if w := get(atWest, "POST", "/orders", "Idempotency-Key", "k1"); w.Code != 200 || w.Body.String() != "written with k1" {
			t.Errorf("POST in %s = %d %q, want it served by %s with its key", west, w.Code, w.Body, east)
		}
		if got, want := p.take(), "us-east-1 POST /orders 0000000000000001"; got != want {
			t.Errorf("sent on: %q, want %q", got, want)
		}
		if w := get(atWest, "POST", "/orders", "Holdfast-Forwarded", "1"); w.Code != 503 || w.Header().Get("Retry-After") == "" || p.take() != "" {
			t.Errorf("second hop = %d, Retry-After %q, want 503 and nothing sent", w.Code, w.Header().Get("Retry-After"))
		}
		if w := get(failoverhttp.WriterOnly(p.west, failoverhttp.Reject503)(served), "POST", "/orders"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("Reject503 = %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		p.set(east, nil) // refuses connections: nothing was done
		if w := get(atWest, "POST", "/orders"); w.Code != 503 {
			t.Errorf("writer out of reach = %d, want 503", w.Code)
		}
	})
}

// What proxies in front have said of the client reaches the writer.
func TestForwardKeepsWhoTheClientIs(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		forward := failoverhttp.WriterOnly(p.west, failoverhttp.Forward(p, func(failover.Region) *url.URL {
			return &url.URL{Scheme: "http", Host: "east.test"}
		}))(nil)
		var got http.Header
		p.set(east, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
		names := []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}
		for _, c := range []struct{ sent, want []string }{
			{[]string{"203.0.113.9", "shop.example", "https"}, []string{"203.0.113.9, 192.0.2.1", "shop.example", "https"}},
			{nil, []string{"192.0.2.1", "here.test", "http"}},
		} {
			var header []string
			for i, v := range c.sent {
				header = append(header, names[i], v)
			}
			if w := get(forward, "POST", "/orders", header...); w.Code != 200 {
				t.Fatalf("POST = %d", w.Code)
			}
			for i, name := range names {
				if v := got.Get(name); v != c.want[i] {
					t.Errorf("%s = %q, want %q", name, v, c.want[i])
				}
			}
		}
	})
}

// The writer knows more than the process that sends a request on: a client that knows nothing of epochs may come again.
func TestForwardByAProcessThatIsBehind(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		forward := failoverhttp.WriterOnly(p.west, failoverhttp.Forward(p, func(failover.Region) *url.URL {
			return &url.URL{Scheme: "http", Host: "east.test"}
		}))(nil)
		p.set(east, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(failoverhttp.HeaderEpoch, "0000000000000003")
			w.WriteHeader(http.StatusPreconditionFailed)
		})
		if w := get(forward, "POST", "/orders"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("POST without an epoch = %d, Retry-After %q, want 503", w.Code, w.Header().Get("Retry-After"))
		}
		if w := get(forward, "POST", "/orders", failoverhttp.HeaderEpoch, "0000000000000001"); w.Code != 412 {
			t.Errorf("POST with the client's own epoch = %d, want 412", w.Code)
		}
	})
}

func TestMiddlewareComparesEpochs(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		p.move(west)
		h := failoverhttp.Middleware(p.west)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, failoverhttp.EpochFrom(r.Context()))
		}))
		for _, tt := range []struct {
			epoch string
			code  int
			body  string
		}{
			{"", 200, "0"},
			{"0000000000000003", 200, "3"},
			{"0000000000000001", 412, ""},
			{"0000000000000004", 503, ""},
			{"3", 400, ""},
			{"zzzzzzzzzzzzzzzz", 400, ""},
		} {
			var header []string
			if tt.epoch != "" {
				header = []string{failoverhttp.HeaderEpoch, tt.epoch}
			}
			w := get(h, "POST", "/", header...)
			if w.Code != tt.code || tt.body != "" && w.Body.String() != tt.body || w.Header().Get(failoverhttp.HeaderEpoch) != "0000000000000003" {
				t.Errorf("epoch %q = %d %q, want %d %q", tt.epoch, w.Code, w.Body, tt.code, tt.body)
			}
		}
	})
}

func TestAdminTakesTwoPeople(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		if _, err := failoverhttp.Admin(p.east, nil); err == nil {
			t.Fatal("Admin without authorize = nil error")
		}
		admin, err := failoverhttp.Admin(p.east, func(r *http.Request) (string, error) { return r.Header.Get("User"), nil })
		if err != nil {
			t.Fatal(err)
		}
		if w := get(admin, "POST", "/moves"); w.Code != 403 {
			t.Errorf("nobody asks = %d, want 403", w.Code)
		}
		if w := get(admin, "POST", "/moves", "User", "ann", "Sec-Fetch-Site", "cross-site"); w.Code != 403 {
			t.Errorf("another site asks = %d, want 403", w.Code)
		}
		if w := get(admin, "POST", "/moves", "User", "ann"); w.Code != 200 {
			t.Fatalf("POST /moves = %d %s", w.Code, w.Body)
		}
		id := p.east.Decision().Transition.ID
		if w := get(admin, "POST", "/moves/"+id+"/approve", "User", "ann"); w.Code != 422 {
			t.Errorf("approval by the requester = %d %s, want 422", w.Code, w.Body)
		}
		for what, body := range map[string]string{
			"a former writer without a loss": `{"former_writer": true, "reason": "x"}`,
			"a loss without a reason":        `{"accept_loss": "1m"}`, "what is no duration": `{"accept_loss": "lots", "reason": "x"}`,
		} {
			if w := send(admin, "POST", "/moves/"+id+"/approve", body, "User", "bob"); w.Code != 422 {
				t.Errorf("approval with %s = %d %s, want 422", what, w.Code, w.Body)
			}
		}
		if w := send(admin, "POST", "/moves/"+id+"/approve", `{"accept_loss": "1m", "former_writer": true, "reason": "customers wait"}`, "User", "bob"); w.Code != 200 {
			t.Errorf("approval = %d %s, want 200", w.Code, w.Body)
		}
		if tr := p.east.Decision().Transition; tr.AcceptLoss == nil || tr.AcceptLoss.By != "bob" || tr.AcceptLoss.Exposure != time.Minute || !tr.AcceptLoss.FormerWriter {
			t.Errorf("accepted loss %+v, want bob's, a former writer's data too", tr.AcceptLoss)
		}
		time.Sleep(time.Minute)
		if w := get(admin, "GET", "/", "User", "eve"); w.Code != 200 || !strings.Contains(w.Body.String(), `"writer":"us-west-2"`) {
			t.Errorf("status = %d %s, want the new writer", w.Code, w.Body)
		}
	})
}

func TestAdminReadsOneObject(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		admin, err := failoverhttp.Admin(p.east, func(*http.Request) (string, error) { return "ann", nil })
		if err != nil {
			t.Fatal(err)
		}
		for body, want := range map[string]int{
			`{"to":"us-west-2","reason":"x"} {"planned":true}`: 400,
			`{"to":"us-west-2","reason":"x"}]`:                 400,
			`{"to":"us-west-2","region":"x"}`:                  400,
			`{`:                                                400, `[]`: 400,
			`{"reason":"` + strings.Repeat("x", 70<<10) + `"}`: 413,
			``: 422, `{"to":"mars","reason":"x"}`: 422, `{"to":"us-east-1","reason":"x"}`: 422,
			`{"to":"us-west-2","reason":"x","accept_loss":"-1s"}`: 422,
		} {
			if w := send(admin, "POST", "/moves", body); w.Code != want {
				t.Errorf("POST /moves %.60s = %d %s, want %d", body, w.Code, w.Body, want)
			}
		}
		if d := p.east.Decision(); d.Transition != nil {
			t.Errorf("a move is under way: %+v", d.Transition)
		}
		if w := send(admin, "POST", "/moves/nobody/promoted", `{"evidence":"I saw it"}`); w.Code != 422 {
			t.Errorf("promotion of a move that is not there = %d %s, want 422", w.Code, w.Body)
		}
	})
}

// A hanging body is a Region that answered 503 and then stopped.
type hangingBody struct {
	closed chan struct{}
	once   sync.Once
}

func (b *hangingBody) Read([]byte) (int, error) { <-b.closed; return 0, errors.New("closed") }
func (b *hangingBody) Close() error             { b.once.Do(func() { close(b.closed) }); return nil }

type answers map[string]func() *http.Response

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	res := a[r.URL.Host]()
	res.Request = r
	return res, nil
}

func TestReadLeavesABodyThatNeverEnds(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		hangs := failoverhttp.Endpoint{Base: &url.URL{Scheme: "http", Host: "east.test"}, RT: answers{"east.test": func() *http.Response {
			return &http.Response{StatusCode: 503, Status: "503", Header: http.Header{}, ContentLength: -1, Body: &hangingBody{closed: make(chan struct{})}}
		}}}
		if err := p.clients[east].Replace(t.Context(), east, hangs); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://any/", nil)
		res, err := (&failoverhttp.Transport{Client: p.clients[east]}).RoundTrip(req)
		if err != nil || res.StatusCode != 200 || time.Since(start) > time.Second {
			t.Errorf("GET past an answer that never ends = %v, %v after %v, want the other Region's", res, err, time.Since(start))
		}
	})
}

// A path is the resource's name: behind a prefix it stays as it was.
func TestPathsBehindAPrefix(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		var got string
		for _, base := range []string{"http://east.test/api/", "http://east.test/api", "http://east.test/a%2Fb", "http://east.test"} {
			at, err := url.Parse(base)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/orders/1", "/keys//a/../b", "/keys/a%2Fb?x=1", "/", "/keys/"} {
				e := failoverhttp.Endpoint{Base: at, RT: roundTrip(func(r *http.Request) (*http.Response, error) {
					got = r.URL.RequestURI()
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				})}
				if err := p.clients[east].Replace(t.Context(), east, e); err != nil {
					t.Fatal(err)
				}
				req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://any"+path, nil)
				if _, err := (&failoverhttp.Transport{Client: p.clients[east]}).RoundTrip(req); err != nil {
					t.Fatal(err)
				}
				if want := strings.TrimSuffix(at.EscapedPath(), "/") + path; got != want {
					t.Errorf("%s at %s asks for %q, want %q", path, base, got, want)
				}
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportRoutesReadsAndWrites(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		client := &http.Client{Transport: &failoverhttp.Transport{Client: p.clients[east]}}
		do := func(method string) (int, string, error) {
			req, _ := http.NewRequestWithContext(t.Context(), method, "http://any/orders?x=1", strings.NewReader("body"))
			res, err := client.Do(req)
			if err != nil {
				return 0, "", err
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			return res.StatusCode, string(body), err
		}
		if code, body, err := do("POST"); code != 200 || body != "ok" || err != nil || p.take() != "us-east-1 POST /orders 0000000000000001" {
			t.Errorf("POST = %d %q %v", code, body, err)
		}
		p.set(east, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) })
		if code, _, err := do("GET"); code != 200 || err != nil || p.take() != "us-east-1 GET /orders ; us-west-2 GET /orders " {
			t.Errorf("GET past a 502 = %d, %v", code, err)
		}
		_, _, err := do("POST")
		if _, unknown := errors.AsType[*failover.UnknownOutcomeError](err); !unknown || p.take() != "us-east-1 POST /orders 0000000000000001" {
			t.Errorf("POST answered by 502 = %v, want an unknown outcome and one Region", err)
		}
		p.set(east, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
		if code, _, err := do("POST"); code != 503 || err != nil {
			t.Errorf("POST answered by 503 = %d, %v, want it as it is", code, err)
		}
		west := &http.Client{Transport: &failoverhttp.Transport{Client: p.clients[west]}}
		p.take()
		if _, err := west.Post("http://any/orders", "", strings.NewReader("x")); !errors.Is(err, failover.ErrFenced) || p.take() != "" {
			t.Errorf("POST by a process that may not write = %v, want ErrFenced and nothing sent", err)
		}
	})
}

func TestAdmissionAfterAnUnplannedMove(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		rank := func(r *http.Request) int { return int(r.Header.Get("Rank")[0] - '0') }
		admit, err := failoverhttp.Admission(p.west, failoverhttp.AdmissionConfig{Rank: rank})
		if err != nil {
			t.Fatal(err)
		}
		h := admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		burst := func(rank string) (ok int) {
			for range 20 {
				if get(h, "GET", "/", "Rank", rank).Code == 200 {
					ok++
				}
			}
			return ok
		}
		if n := burst("0"); n != 20 {
			t.Errorf("%d of 20 admitted before any move, want all", n)
		}
		p.move(west)
		if a, b := burst("0"), burst("3"); a != 5 || b != 5 {
			t.Errorf("admitted %d sheddable, then %d critical-plus of a capacity of 10, want 5 and 5", a, b)
		}
		time.Sleep(15 * time.Minute)
		if n := burst("0"); n != 20 {
			t.Errorf("%d of 20 admitted long after the move, want all", n)
		}
	})
}
