package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// A Histogram records values as they happen. Safe for concurrent use.
type Histogram struct{ h metric.Float64Histogram }

// NewHistogram creates inst, which must be one of pkg, on mp; nil means the global provider. A
// provider that refuses the instrument is reported to OpenTelemetry's error handler by the
// provider itself; values then go nowhere.
func NewHistogram(mp metric.MeterProvider, pkg *Package, inst *Instrument) *Histogram {
	h, err := provider(mp).Meter(pkg.ScopeName()).Float64Histogram(inst.Name, metric.WithUnit(inst.Unit),
		metric.WithDescription(inst.Description), metric.WithExplicitBucketBoundaries(inst.Buckets...))
	if err != nil {
		h = noop.Float64Histogram{}
	}
	return &Histogram{h}
}

// Record adds one value.
func (h *Histogram) Record(ctx context.Context, value float64, set Set) {
	h.h.Record(ctx, value, set.record...)
}

// RecordDuration adds d in seconds.
func (h *Histogram) RecordDuration(ctx context.Context, d time.Duration, set Set) {
	h.Record(ctx, d.Seconds(), set)
}
