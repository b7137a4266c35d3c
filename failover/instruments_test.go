package failover

import (
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A move is reported by the instance that drove it: its phases one by one, as histogram, as spans and in the record.
func TestPhasesOfAMoveAreTimedSeparately(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		f.tune = func(cfg *ControllerConfig) { cfg.MeterProvider, cfg.TracerProvider = meters, tracers }
		f.standard()
		f.backends[east].set(true)
		f.until(3*time.Minute, "the move is over", func() bool { return f.agree(PhaseSteady, 3) })

		want := []string{"detect", "decide", "approve", "fence", "promote", "open", "validate"}
		last := f.nodes[1].ctl.Status().Last
		var got []string
		total := time.Duration(0)
		for _, p := range last.Took {
			got = append(got, p.Phase)
			total += p.Took
		}
		if !slices.Equal(got, want) || total < 30*time.Second || total > 90*time.Second {
			t.Errorf("phases %v, together %v, want %v and about 40s", got, total, want)
		}
		var names []string
		for _, s := range spans.GetSpans() {
			names = append(names, s.Name)
		}
		if len(names) != len(want)+1 || names[len(names)-1] != "failover move" || names[0] != "failover detect" {
			t.Errorf("spans %q, want one a phase and the move's", names)
		}
		if n := metricCount(t, reader, "holdfast.failover.phase.duration", "phase", "fence"); n != 1 {
			t.Errorf("%d fence phases recorded, want 1 by the instance that drove the move", n)
		}
		if n := metricCount(t, reader, "holdfast.failover.moves", "outcome", "done"); n != 1 {
			t.Errorf("%d moves done, want 1", n)
		}
	})
}

// An instance that hears of the outage from the others, before its own probes are sure, has detected it with them.
func TestDetectionByOthersIsTimed(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.tune = func(cfg *ControllerConfig) { cfg.Automatic = false }
		f.standard()
		f.backends[east].set(true)
		ctl := f.nodes[1].ctl
		f.until(3*time.Minute, "the group asks", func() bool { return ctl.Decision().Phase == PhaseAwaitApproval })
		ctl.mu.Lock()
		defer ctl.mu.Unlock()
		ctl.health[east].ejected = time.Time{}
		tr := &Transition{From: east, To: west}
		if wanted, err := ctl.quorumWantsLocked(tr, time.Now()); !wanted || err != nil {
			t.Fatalf("wanted %t, %v: the test shows nothing", wanted, err)
		}
		if want := time.Since(ctl.health[east].troubled); len(tr.Took) != 2 || tr.Took[0] != (PhaseTime{"detect", want}) || tr.Took[1] != (PhaseTime{"decide", 0}) {
			t.Errorf("phases %v, want detect after %v and decide at once", tr.Took, want)
		}
	})
}

// metricCount is the sum, or the count of a histogram, of the points of a metric with an attribute.
func metricCount(t *testing.T, reader sdkmetric.Reader, name, key, value string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	has := func(set attribute.Set) bool {
		v, ok := set.Value(attribute.Key(key))
		return ok && v.AsString() == value
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					if has(p.Attributes) {
						n += p.Value
					}
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					if has(p.Attributes) {
						n += int64(p.Count)
					}
				}
			}
		}
	}
	return n
}
