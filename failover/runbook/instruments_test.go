package runbook

import (
	"context"
	"fmt"
	"slices"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestRunsAndStepsAreTimedAndTraced(t *testing.T) {
	w, reader, spans := newWorld(), sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	failing := w.step("b", "a")
	failing.Do = no
	_, err := must(t, "book", w.step("a"), failing).Run(t.Context(), "run", Config{
		Journal: NewMemoryJournal(), By: "ann", MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
	})
	if err == nil {
		t.Fatal("Run = nil, want the step's error")
	}
	var got []string
	for _, s := range spans.Ended() {
		got = append(got, fmt.Sprintf("span %s %s", s.Name(), s.Status().Description))
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			outcome, _ := p.Attributes.Value("outcome")
			step, _ := p.Attributes.Value("step")
			got = append(got, fmt.Sprintf("%s %s %s %d", m.Name, step.AsString(), outcome.AsString(), p.Count))
		}
	}
	slices.Sort(got)
	want := []string{
		"holdfast.failover.runbook.run.duration  failed 1",
		"holdfast.failover.runbook.step.duration a done 1",
		"holdfast.failover.runbook.step.duration b failed 1",
		"span runbook book failed", "span step a ", "span step b failed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
