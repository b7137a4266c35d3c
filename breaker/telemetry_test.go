package breaker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// collect returns every data point as name{attributes}.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	add := func(name string, points []metricdata.DataPoint[int64]) {
		for _, p := range points {
			got[name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = p.Value
		}
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			name := strings.TrimPrefix(m.Name, "holdfast.breaker.")
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				add(name, data.DataPoints)
			case metricdata.Gauge[int64]:
				add(name, data.DataPoints)
			}
		}
	}
	return got
}

func wantPoints(t *testing.T, got, want map[string]int64) {
	t.Helper()
	for point, value := range want {
		if v, ok := got[point]; !ok || v != value {
			t.Errorf("%s = %d, %t, want %d", point, v, ok, value)
		}
	}
}

func TestMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	b := must(New(Config{Name: "pay", MinCalls: 3, SlowCall: time.Hour, MeterProvider: mp}))
	times(2, b, nil)
	times(1, b, context.Canceled)
	times(2, b, errBoom)
	times(4, b, nil) // rejected
	g := must(NewGroup(Config{Name: "hosts", ConsecutiveFailures: 1, MeterProvider: mp}, GroupConfig{Max: 2}))
	for _, key := range []string{"a", "b", "c"} { // a or b makes room for c
		times(1, g.Get(key), nil)
	}
	h := must(NewBulkhead(BulkheadConfig{Name: "db", MaxInFlight: 1, MeterProvider: mp}))
	take(t, h, 1)
	_ = h.Do(t.Context(), ok)
	wantPoints(t, collect(t, reader), map[string]int64{
		"breakers{name=pay,state=open}":          1,
		"breakers{name=pay,state=closed}":        0,
		"modes{mode=auto,name=pay}":              1,
		"transitions{name=pay,state=open}":       1,
		"calls{name=pay,outcome=success}":        2,
		"calls{name=pay,outcome=failure}":        2,
		"calls{name=pay,outcome=neutral}":        1,
		"slow_calls{name=pay}":                   0,
		"rejections{name=pay}":                   4,
		"observed{name=pay}":                     0,
		"held{name=pay}":                         0,
		"probes{name=pay}":                       0,
		"breakers{name=hosts,state=closed}":      2,
		"calls{name=hosts,outcome=success}":      3, // those of the dropped one stay counted
		"bulkhead.limit{name=db}":                1,
		"bulkhead.in_flight{name=db}":            1,
		"bulkhead.queued{name=db}":               0,
		"bulkhead.refusals{name=db,reason=full}": 1,
	})
}

func TestTransitionsAreLogged(t *testing.T) {
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	synctest.Test(t, func(t *testing.T) {
		g := must(NewGroup(with(quick, func(c *Config) { c.Logger = slog.New(handler) }), GroupConfig{}))
		times(3, g.Get("eu"), errBoom)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mustForce(t, g.Get("eu"), operator(ModeClosed, time.Minute))
	})
	want := `level=WARN msg="breaker changed" name=quick from=closed to=open mode=auto reason="1 consecutive failures" key=eu wait=1s
level=INFO msg="breaker changed" name=quick from=open to=half-open mode=auto reason="the open time has passed" key=eu
level=INFO msg="breaker changed" name=quick from=half-open to=closed mode=closed reason=maintenance key=eu by=ada
`
	if got := log.String(); got != want {
		t.Errorf("logged:\n%swant:\n%s", got, want)
	}
}

func TestTransitionCarriesItsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Transition
		b := must(New(Config{Name: "pay", MinCalls: 4, OnStateChange: func(tr Transition) { told = append(told, tr) }}))
		times(2, b, nil)
		times(2, b, errBoom)
		if len(told) != 1 || told[0].Window != (Counts{Successes: 2, Failures: 2}) || told[0].Reason != "2 of 4 calls failed" ||
			told[0].At != time.Now() || told[0].Wait != b.Stats().Wait {
			t.Errorf("told %s", fmt.Sprintf("%+v", told))
		}
	})
}

func TestRejectionIsAnEventOfTheCallersSpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	b := must(New(quick))
	times(1, b, errBoom)
	ctx, span := tracer.Start(t.Context(), "checkout")
	_ = b.Do(ctx, ok)
	span.End()
	events := spans.Ended()[0].Events()
	if len(events) != 1 || events[0].Name != "holdfast.breaker.rejected" || len(events[0].Attributes) != 3 {
		t.Errorf("events %+v, want one rejection with name, state and reason", events)
	}
}
