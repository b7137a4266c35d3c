package telemetry

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

func TestMetricsDoc(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "metrics.md")
	want := Markdown(Packages())
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run go test ./internal/telemetry -run TestMetricsDoc -update", path)
	}
}

func TestTableFollowsTheNamingRules(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Packages() {
		prefix := "holdfast." + strings.ReplaceAll(p.Name, "/", ".") + "."
		for _, inst := range p.Instruments {
			if !strings.HasPrefix(inst.Name, prefix) && !strings.HasPrefix(inst.Name, "messaging.") {
				t.Errorf("%s: want prefix %s", inst.Name, prefix)
			}
			if !regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)+$`).MatchString(inst.Name) || strings.Contains(inst.Name, "total") {
				t.Errorf("%s: not a lower-case dotted name without total", inst.Name)
			}
			if seen[inst.Name] {
				t.Errorf("%s: declared twice", inst.Name)
			}
			seen[inst.Name] = true
			if inst.Unit == "1" {
				t.Errorf("%s: unit 1 makes Prometheus call it a ratio; leave the unit empty", inst.Name)
			}
			if inst.Kind == KindHistogram && inst.Unit == "s" && inst.Buckets == nil {
				t.Errorf("%s: a duration without buckets gets the provider's milliseconds", inst.Name)
			}
			if inst.Description == "" {
				t.Errorf("%s: no description", inst.Name)
			}
			for _, a := range inst.Attributes {
				if (a.Values == nil) == (a.From == "") {
					t.Errorf("%s: attribute %s needs either Values or From", inst.Name, a.Key)
				}
			}
		}
	}
}

var (
	testCalls = &Instrument{Name: "holdfast.test.calls", Unit: "{call}", Kind: KindCounter, Description: "calls"}
	testState = &Instrument{Name: "holdfast.test.state", Kind: KindGauge, Description: "state"}
	testLevel = &Instrument{Name: "holdfast.test.level", Kind: KindLevel, Description: "level"}
	testTook  = &Instrument{Name: "holdfast.test.took", Unit: "s", Kind: KindHistogram, Description: "took", Buckets: DurationBuckets}
	testPkg   = &Package{Name: "test", Instruments: []*Instrument{testCalls, testState, testLevel, testTook}}
)

type handle struct {
	set   Set
	calls atomic.Int64
	_     [64]byte // not a tiny object: those share a block and are freed together
}

func newHandle(name string) *handle { return &handle{set: NewSet(attribute.String("name", name))} }

func (h *handle) collect(c *Collector) {
	c.Int(testCalls, h.calls.Load(), h.set)
	c.Int(testState, 2, h.set)
	c.Float(testLevel, 0.5, h.set)
}

// calls returns the calls counter per handle name as a provider would export it.
func calls(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name != testCalls.Name {
				continue
			}
			for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
				name, _ := dp.Attributes.Value("name")
				got[name.AsString()] = dp.Value
			}
		}
	}
	return got
}

func TestAttachReportsEveryLiveHandle(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	a, b := newHandle("a"), newHandle("b")
	detachA := Attach(mp, testPkg, a, (*handle).collect)
	detachB := Attach(mp, testPkg, b, (*handle).collect)
	a.calls.Add(3)
	b.calls.Add(4)
	if got := calls(t, reader); got["a"] != 3 || got["b"] != 4 {
		t.Errorf("calls = %v, want a:3 b:4", got)
	}
	detachA()
	detachA() // a second detach must not take someone else's place
	b.calls.Add(1)
	if got := calls(t, reader); len(got) != 1 || got["b"] != 5 {
		t.Errorf("calls after detaching a = %v, want b:5", got)
	}
	detachB()
	if got := calls(t, reader); len(got) != 0 {
		t.Errorf("calls after detaching all = %v, want none", got)
	}
	detachAgain := Attach(mp, testPkg, a, (*handle).collect)
	defer detachAgain()
	if got := calls(t, reader); got["a"] != 3 {
		t.Errorf("calls after attaching again = %v, want a:3", got)
	}
}

func TestAttachDoesNotKeepADroppedHandle(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	Attach(mp, testPkg, newHandle("dropped"), (*handle).collect)
	deadline := time.Now().Add(10 * time.Second)
	for len(calls(t, reader)) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("a dropped handle is still reported")
		}
		runtime.GC()
	}
}

// uncomparable is a provider that cannot be a map key.
type uncomparable struct {
	noop.MeterProvider
	_ []int
}

func TestAttachTakesAnyProvider(t *testing.T) {
	h := newHandle("x")
	Attach(uncomparable{}, testPkg, h, (*handle).collect)()
	Attach(nil, testPkg, h, (*handle).collect)()
}

func TestHistogramRecordsWithoutAllocating(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	h := NewHistogram(mp, testPkg, testTook)
	set := NewSet(attribute.String("outcome", "ok"))
	h.RecordDuration(t.Context(), 20*time.Millisecond, set)
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	data := rm.ScopeMetrics[0].Metrics[0].Data.(metricdata.Histogram[float64])
	if dp := data.DataPoints[0]; dp.Count != 1 || dp.Sum != 0.02 {
		t.Errorf("histogram has count %d sum %v, want 1 and 0.02", dp.Count, dp.Sum)
	}
	ctx := context.Background()
	silent := NewHistogram(noop.NewMeterProvider(), testPkg, testTook)
	if got := testing.AllocsPerRun(100, func() { silent.RecordDuration(ctx, time.Second, set) }); got != 0 {
		t.Errorf("Record allocates %v times, want 0", got)
	}
}

func TestNilProvidersAndLogger(t *testing.T) {
	Logger(nil).Error("not printed")
	_, span := Tracer(nil, testPkg).Start(t.Context(), "x")
	defer span.End()
	if _, ok := Recording(t.Context()); ok {
		t.Error("a context without a span records")
	}
}

func BenchmarkRecordKeptSet(b *testing.B) {
	h := NewHistogram(noop.NewMeterProvider(), testPkg, testTook)
	set := NewSet(attribute.String("outcome", "ok"))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		h.Record(ctx, 1, set)
	}
}
