package shed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-go/holdfast/degrade"
)

func newShedder(t testing.TB, cfg Config) *Shedder {
	t.Helper()
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = noop.NewMeterProvider()
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill admits requests of class until one is refused and returns how many were admitted.
func fill(t *testing.T, s *Shedder, class Class) int {
	t.Helper()
	for n := range 1000 {
		if err := s.AdmitClass(t.Context(), class); err != nil {
			if !errors.Is(err, degrade.ErrShed) {
				t.Errorf("AdmitClass = %v, want ErrShed", err)
			}
			return n
		}
	}
	t.Fatal("no end of admission")
	return 0
}

func TestClassesUseTheirShares(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 100, MinAdmit: None})
	total := 0
	for i, want := range []int{50, 70, 90, 100} {
		total += fill(t, s, Sheddable+Class(i))
		if total != want {
			t.Errorf("%v is refused at %d in flight, want %d", Sheddable+Class(i), total, want)
		}
	}
	if n := s.Stats().InFlight; n != 100 {
		t.Errorf("%d in flight, want 100: refused requests are not", n)
	}
	for range 31 {
		s.Done()
	}
	if err := s.AdmitClass(t.Context(), SheddablePlus); err != nil {
		t.Errorf("AdmitClass = %v at 69 in flight", err)
	}
	if err := s.AdmitClass(t.Context(), Sheddable); err == nil {
		t.Error("sheddable is admitted at 70 in flight")
	}
	for class, want := range map[Class]bool{Sheddable: false, SheddablePlus: false, Critical: true, CriticalPlus: true, 0: false, 9: false} {
		if got := s.Allows(class); got != want {
			t.Errorf("Allows(%v) = %t at 70 in flight, want %t", class, got, want)
		}
	}
}

func TestEveryClassHasAPlaceInASmallServer(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 1})
	if n := fill(t, s, Sheddable); n != 1 {
		t.Errorf("%d sheddable requests in a server of one, want 1", n)
	}
}

func TestSomeOfTheRefusedAreSpared(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 100, MinAdmit: 0.1})
	for range 100 {
		if err := s.AdmitClass(t.Context(), CriticalPlus); err != nil {
			t.Fatal(err)
		}
	}
	spared := 0
	for range 1000 {
		if s.AdmitClass(t.Context(), Sheddable) == nil {
			spared++
		}
	}
	if spared != 10 || s.Stats().InFlight != 110 {
		t.Errorf("%d spared, %d in flight, want 10 and 110: a tenth above the limit is the end", spared, s.Stats().InFlight)
	}
	s.Done()
	for range 10 {
		if s.AdmitClass(t.Context(), Sheddable) == nil {
			spared++
		}
	}
	if got := s.Stats(); spared != 11 || got.Spared[Sheddable] != 11 || got.Shed[Sheddable] != 1010-11 {
		t.Errorf("%d spared, stats %+v", spared, got)
	}
}

func TestConcurrentAdmissionNeverPassesTheLimit(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 20, MinAdmit: None})
	var running, most atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 500 {
				_ = s.Do(t.Context(), func(context.Context) error {
					n := running.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					running.Add(-1)
					return nil
				})
			}
		})
	}
	wg.Wait()
	if most.Load() > 18 || s.Stats().InFlight != 0 {
		t.Errorf("%d of class critical at once, %d left, want at most 18 and 0", most.Load(), s.Stats().InFlight)
	}
}

func TestDoneWithoutAdmitPanics(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 1})
	defer func() {
		if recover() == nil {
			t.Error("Done without Admit went unnoticed")
		}
	}()
	s.Done()
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, Config{MaxInFlight: 10, MinTime: 50 * time.Millisecond})
		for left, want := range map[time.Duration]bool{time.Second: true, 51 * time.Millisecond: true, 50 * time.Millisecond: false, -1: false} {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			if err := s.AdmitClass(ctx, CriticalPlus); (err == nil) != want {
				t.Errorf("AdmitClass with %v left = %v, want admitted: %t", left, err, want)
			}
			cancel()
		}
		if got := s.Stats().Late[CriticalPlus]; got != 2 {
			t.Errorf("%d late, want 2", got)
		}
	})
}

// serve sends n requests with a deadline through a handler that takes the given time, and returns how many it served.
func serve(t *testing.T, s *Shedder, n int, takes, left time.Duration) (served int) {
	h := s.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		served++
		time.Sleep(takes)
	}))
	for range n {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		if left > 0 {
			r.Header.Set(HeaderDeadline, fmt.Sprint(left.Milliseconds()))
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	return served
}

// TestLearnedTimes: what cannot be met is refused; when the service is fast again that is noticed, even if all were refused.
func TestLearnedTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, Config{MaxInFlight: 10})
		if n := serve(t, s, 100, time.Millisecond, time.Millisecond*20); n != 100 {
			t.Errorf("%d of 100 served before anything is learned", n)
		}
		serve(t, s, 2*sampleEvery*generation, 100*time.Millisecond, 0)
		if n := serve(t, s, 100, 0, 90*time.Millisecond); n != 0 {
			t.Errorf("%d of 100 served that need 100 ms and have 90", n)
		}
		if n := serve(t, s, 10, 0, 110*time.Millisecond); n != 10 {
			t.Errorf("%d of 10 served that need 100 ms and have 110", n)
		}
		time.Sleep(memory + time.Second)
		if n := serve(t, s, 2*sampleEvery*generation, time.Millisecond, 90*time.Millisecond); n != 2*sampleEvery*generation {
			t.Errorf("%d served after the memory of slow times has faded, want all", n)
		}
	})
}

func TestMiddlewareClampsAtTheTrustEdge(t *testing.T) {
	tests := []struct {
		max, byDefault Class
		baggage        string
		want           Class
	}{
		{CriticalPlus, 0, "", Critical},
		{CriticalPlus, 0, "holdfast.criticality=critical-plus", CriticalPlus},
		{Critical, 0, "holdfast.criticality=critical-plus", Critical},
		{SheddablePlus, 0, "", SheddablePlus},
		{Critical, 0, "a=b, holdfast.criticality = sheddable ;p=1,c=d", Sheddable},
		{Critical, Sheddable, "holdfast.criticality=nonsense", Sheddable},
		{Critical, 0, "xholdfast.criticality=sheddable,,=,;", Critical},
	}
	for _, tt := range tests {
		s := newShedder(t, Config{MaxInFlight: 1, MaxClass: tt.max, Default: tt.byDefault})
		var got Class
		h := s.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _ = From(r.Context()) }))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Baggage", tt.baggage)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != tt.want {
			t.Errorf("%q at an edge of %v: class %v, want %v", tt.baggage, tt.max, got, tt.want)
		}
	}
}

func TestMiddlewareRefusesBeforeTheBodyIsRead(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 1, MinAdmit: None})
	if err := s.Admit(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := &unread{t: t}
	w := httptest.NewRecorder()
	s.Middleware(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("POST", "/", body))
	h := w.Header()
	if w.Code != 503 || h.Get("Retry-After") != "2" || h.Get("Cache-Control") != "no-store" || !strings.Contains(w.Body.String(), "urn:holdfast:problem:overload") {
		t.Errorf("answer = %d %v %s", w.Code, h, w.Body)
	}
}

type unread struct{ t *testing.T }

func (u *unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, errors.New("read")
}

func TestPanickingHandlerGivesItsPlaceBack(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 1})
	h := s.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	func() {
		defer func() { _ = recover() }()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}()
	if n := s.Stats().InFlight; n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestDeadlineReachesTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, Config{MaxInFlight: 1})
		var left time.Duration
		h := s.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			deadline, _ := r.Context().Deadline()
			left = time.Until(deadline)
		}))
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Header.Set(HeaderDeadline, "1500")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if left != 1500*time.Millisecond {
			t.Errorf("%v left in the handler", left)
		}
	})
}

func TestHeaders(t *testing.T) {
	h := http.Header{"Baggage": {"a=b,holdfast.criticality=critical-plus;x", " c=d "}}
	SetHeader(h, Sheddable)
	if got := h.Get("Baggage"); got != "holdfast.criticality=sheddable,a=b,c=d" {
		t.Errorf("Baggage = %q", got)
	}
	if c, ok := FromHeader(h); !ok || c != Sheddable {
		t.Errorf("FromHeader = %v, %t", c, ok)
	}
	for text, want := range map[string]time.Duration{"0": 0, "-5": 0, "250": 250 * time.Millisecond, "99999999999": time.Hour} {
		if left, ok := Left(http.Header{HeaderDeadline: {text}}); !ok || left != want {
			t.Errorf("Left(%s) = %v, %t, want %v", text, left, ok, want)
		}
	}
	for _, text := range []string{"", "1s", "1.5", "9999999999999999999999"} {
		if left, ok := Left(http.Header{HeaderDeadline: {text}}); ok {
			t.Errorf("Left(%q) = %v", text, left)
		}
	}
}

func FuzzFromHeader(f *testing.F) {
	f.Add("a=b,holdfast.criticality=critical;p")
	f.Add("holdfast.criticality==,;,")
	f.Fuzz(func(t *testing.T, baggage string) {
		h := http.Header{"Baggage": {baggage}}
		if c, ok := FromHeader(h); ok && (c < Sheddable || c > CriticalPlus) {
			t.Errorf("%q claims class %d", baggage, c)
		}
		SetHeader(h, Critical)
		if c, ok := FromHeader(h); !ok || c != Critical {
			t.Errorf("after SetHeader on %q: %v, %t in %q", baggage, c, ok, h)
		}
	})
}

func TestConfigRefusals(t *testing.T) {
	for want, cfg := range map[string]Config{
		"MaxInFlight": {}, "do not fall": {MaxInFlight: 1, Shares: [4]float64{0.5, 0.4, 1, 1}}, "last is below 1": {MaxInFlight: 1, Shares: [4]float64{0, 0, 0, 0.5}},
		"MinAdmit": {MaxInFlight: 1, MinAdmit: 2}, "above MaxClass": {MaxInFlight: 1, MaxClass: Sheddable, Default: Critical}, "negative": {MaxInFlight: 1, MinTime: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) = %v, want an error with %q", cfg, err, want)
		}
	}
	if Class(9).String() != "class(9)" || Critical.String() != "critical" {
		t.Error("String")
	}
}

func TestInstruments(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	s := newShedder(t, Config{MaxInFlight: 2, MinAdmit: None, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	_ = s.AdmitClass(t.Context(), CriticalPlus)
	_ = s.AdmitClass(t.Context(), CriticalPlus)
	s.Done()
	_ = s.AdmitClass(t.Context(), Sheddable)
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				got[m.Name] += p.Value
			}
		case metricdata.Gauge[int64]:
			got[m.Name] = data.DataPoints[0].Value
		}
	}
	if got["holdfast.degrade.shed.in_flight"] != 1 || got["holdfast.degrade.shed.ended"] != 1 || got["holdfast.degrade.shed.requests"] != 1 {
		t.Errorf("instruments = %v", got)
	}
}

func TestAllocations(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 10})
	ctx := With(t.Context(), Sheddable)
	if n := testing.AllocsPerRun(100, func() {
		if s.Admit(ctx) == nil {
			s.Done()
		}
	}); n != 0 {
		t.Errorf("Admit and Done allocate %v times, want 0", n)
	}
	h := s.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Baggage", "a=b,holdfast.criticality=critical-plus")
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 2 {
		t.Errorf("the middleware allocates %v times, want at most 2", n)
	}
}

// TestRefusalsTakeNoPlaces: those who are refused may not crowd out those who are not, not even for a moment.
func TestRefusalsTakeNoPlaces(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 4, MinAdmit: None})
	for range 3 {
		if err := s.AdmitClass(t.Context(), CriticalPlus); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if s.AdmitClass(t.Context(), Sheddable) == nil {
						t.Error("a sheddable request was admitted")
					}
				}
			}
		})
	}
	refused := 0
	for range 100_000 {
		if s.AdmitClass(t.Context(), CriticalPlus) != nil {
			refused++
			continue
		}
		s.Done()
	}
	close(stop)
	wg.Wait()
	if refused > 0 {
		t.Errorf("%d critical-plus requests were refused with a place free", refused)
	}
}

func TestRefusalsCostNoAllocationAndSpreadTheirWaits(t *testing.T) {
	s := newShedder(t, Config{MaxInFlight: 1, MinAdmit: None, RetryAfter: 2 * time.Second})
	if err := s.AdmitClass(t.Context(), CriticalPlus); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = s.AdmitClass(t.Context(), Sheddable) }); n != 0 {
		t.Errorf("a refusal allocates %v times, want 0", n)
	}
	waits := map[time.Duration]int{}
	for range 2 * spread {
		refused, ok := errors.AsType[*degrade.RefusedError](s.AdmitClass(t.Context(), Sheddable))
		if !ok || refused.Wait < 2*time.Second || refused.Wait >= 3*time.Second {
			t.Fatalf("refusal = %v, want one with a wait from 2 s to 3 s", refused)
		}
		waits[refused.Wait]++
	}
	if len(waits) != spread {
		t.Errorf("%d refusals have %d waits, want %d", 2*spread, len(waits), spread)
	}
}

// TestConcurrentRefusalsAreAllCounted: every request is admitted, shed or spared, none twice, and no count ever falls.
func TestConcurrentRefusalsAreAllCounted(t *testing.T) {
	const requests, callers = 20_000, 4
	s := newShedder(t, Config{MaxInFlight: 100, MinAdmit: 0.1})
	fill(t, s, CriticalPlus)
	start := s.Stats()
	var admitted atomic.Int64
	done := make(chan struct{})
	var wg, watch sync.WaitGroup
	watch.Go(func() {
		for last := int64(0); ; {
			now := s.Stats().Shed[Sheddable]
			if now < last {
				t.Errorf("the count of the shed fell from %d to %d", last, now)
			}
			last = now
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for range callers {
		wg.Go(func() {
			for range requests / callers {
				if s.AdmitClass(t.Context(), Sheddable) == nil {
					admitted.Add(1)
					s.Done()
				}
			}
		})
	}
	wg.Wait()
	close(done)
	watch.Wait()
	got := s.Stats()
	shed, spared := got.Shed[Sheddable]-start.Shed[Sheddable], got.Spared[Sheddable]-start.Spared[Sheddable]
	if spared != admitted.Load() || shed+spared != requests || spared == 0 {
		t.Errorf("%d shed and %d spared of %d, %d admitted", shed, spared, requests, admitted.Load())
	}
}
