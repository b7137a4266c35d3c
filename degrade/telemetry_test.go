package degrade

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// values reads every instrument: name and attributes to value.
func values(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				add(got, m.Name, data.DataPoints)
			case metricdata.Gauge[int64]:
				add(got, m.Name, data.DataPoints)
			case metricdata.Gauge[float64]:
				add(got, m.Name, data.DataPoints)
			}
		}
	}
	return got
}

func add[N int64 | float64](to map[string]float64, name string, points []metricdata.DataPoint[N]) {
	for _, p := range points {
		key := name
		for _, kv := range p.Attributes.ToSlice() {
			if kv.Key != "name" {
				key += " " + kv.Value.AsString()
			}
		}
		to[key] = float64(p.Value)
	}
}

func TestInstruments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		b := &backend{}
		b.say(map[string]Level{}, nil)
		c := start(t, Config{Provider: b, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Audit: brokenWriter{}})
		d := c.Dependency("db", DependencyConfig{Home: "eu", Stubbed: true})
		f := c.Feature("f", FeatureConfig{Optional: d})
		time.Sleep(time.Second)
		b.say(nil, errDown)
		mustOverride(t, c, override("f", ReadOnly))
		d.Report(StateImpaired)
		NewStub(d, 1, 2).Pick(t.Context())
		_, _ = Read(t.Context(), f, value(0, errPrimary), value(1, nil))
		_, _ = Write(t.Context(), f, value(0, nil), nil)
		s := newStale(t, f, &origin{}, windows)
		_, _ = s.Get(t.Context(), "k")
		_, _ = s.Get(t.Context(), "k")
		time.Sleep(20 * time.Second)
		got := values(t, reader)
		for name, want := range map[string]float64{
			"holdfast.degrade.level f": 2, "holdfast.degrade.transitions f read-only": 1, "holdfast.degrade.fallbacks f fallback": 1,
			"holdfast.degrade.refused f write": 1, "holdfast.degrade.fallback.proof.age f": 20, "holdfast.degrade.stale.lookups f fresh": 1,
			"holdfast.degrade.stale.lookups f loaded": 1, "holdfast.degrade.dependency.state db": 2, "holdfast.degrade.dependency.age db": 20,
			"holdfast.degrade.stubs db": 1, "holdfast.degrade.overrides": 1, "holdfast.degrade.override.expiry": 3580, "holdfast.degrade.audit.failures": 1,
			"holdfast.degrade.fallback.mismatches f": 0, "holdfast.degrade.events.dropped": 0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s = %v (%t), want %v", name, v, ok, want)
			}
		}
		if got["holdfast.degrade.flags.rejected"] < 1 || got["holdfast.degrade.flags.age"] < 20 {
			t.Errorf("flags: %v rejected, %v s old", got["holdfast.degrade.flags.rejected"], got["holdfast.degrade.flags.age"])
		}
		for _, inst := range telemetry.Degrade.Instruments {
			found := false
			for name := range got {
				found = found || name == inst.Name || contains(name, inst.Name+" ")
			}
			if !found {
				t.Errorf("%s is in the table and was not reported", inst.Name)
			}
		}
	})
}
