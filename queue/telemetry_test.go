package queue

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// readings returns what a provider exports, by instrument and one attribute.
func readings(t *testing.T, r sdkmetric.Reader, key attribute.Key) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	add := func(name string, set attribute.Set, v float64) {
		value, _ := set.Value(key)
		got[fmt.Sprintf("%s/%s", name, value.AsString())] += v
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return got
}

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		s := newStation(t, MemoryConfig{Region: "eu"})
		s.client = must(NewClient(s.memory, ClientConfig{MeterProvider: mp, Ledger: s.ledger}))
		Handle(s.mux, billing, func(_ context.Context, c charge) error {
			if c.Cents == 1 {
				return permanent
			}
			return nil
		}, HandlerConfig{})
		for i := range 3 {
			must(billing.Defer(t.Context(), s.client, charge{Cents: i}))
		}
		s.send(Delay(10 * time.Minute))
		s.run(WorkerConfig{MeterProvider: mp})
		time.Sleep(2 * time.Minute)
		for key, want := range map[attribute.Key]map[string]float64{
			"":        {telemetry.QueueSent.Name + "/": 4, telemetry.QueueRunning.Name + "/": 0, telemetry.QueuePaused.Name + "/": 0},
			"via":     {telemetry.QueueDeferred.Name + "/memory": 4, telemetry.QueueDeferred.Name + "/refused": 0},
			"outcome": {telemetry.QueueOutcomes.Name + "/done": 2, telemetry.QueueOutcomes.Name + "/dead": 1, telemetry.QueueProcessDuration.Name + "/failed": 1},
			"reason":  {telemetry.QueueDead.Name + "/permanent": 1},
			"call":    {telemetry.QueueDwell.Name + "/billing.charge.v1": 3, telemetry.QueueAttempts.Name + "/billing.charge.v1": 3},
			"region":  {telemetry.QueueConsumed.Name + "/eu": 3},
			"state":   {telemetry.QueueDepth.Name + "/delayed": 1, telemetry.QueueDepth.Name + "/visible": 0},
		} {
			got := readings(t, reader, key)
			for name, v := range want {
				if got[name] != v {
					t.Errorf("%s = %v, want %v", name, got[name], v)
				}
			}
		}
		s.close()
	})
}
