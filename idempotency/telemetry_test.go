package idempotency_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-go/holdfast/idempotency"
)

// metrics returns every series by name and outcome.
func metrics(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			points := []metricdata.DataPoint[int64]{}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, p := range points {
				name := strings.TrimPrefix(m.Name, "holdfast.idempotency.")
				if outcome, ok := p.Attributes.Value("outcome"); ok {
					name += " " + outcome.AsString()
				}
				if strings.Contains(p.Attributes.Encoded(attribute.DefaultEncoder()), "secret") {
					t.Errorf("%s carries a key", m.Name)
				}
				got[name] += p.Value
			}
		}
	}
	return got
}

func TestTelemetry(t *testing.T) {
	bubble(t, "counts what happens and never a key", func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
		do := func(id string, err error) { _ = g.Do(t.Context(), key(id), func(context.Context) error { return err }) }
		do("secret", nil)
		do("secret", nil)
		do("secret stored", errPermanent)
		do("secret held", errUnknown)
		do("secret held", nil)
		do("secret released", errNotRun)
		do("", nil)
		s.setDown(true)
		do("secret", nil)
		got := metrics(t, reader)
		for name, want := range map[string]int64{
			"calls ran": 1, "calls replayed": 1, "calls failed": 1, "calls held": 1, "calls unknown": 1,
			"calls released": 1, "calls invalid": 1, "calls unavailable": 1, "store.up": 0, "pending": 1, "running": 0,
		} {
			if got[name] != want {
				t.Errorf("%s = %d, want %d", name, got[name], want)
			}
		}
		s.setDown(false)
		time.Sleep(time.Minute)
		_ = g.Do(t.Context(), key("secret lost"), func(ctx context.Context) error { s.lost(t); <-ctx.Done(); return nil })
		if got := metrics(t, reader); got["lease.lost"] != 1 || got["store.up"] != 1 || got["pending"] != 0 {
			t.Errorf("metrics = %v, want one lease lost, the store up, nothing pending", got)
		}
	})
}
