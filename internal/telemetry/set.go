package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// A Set is an attribute set built once and kept, so that recording with it allocates nothing.
// The zero Set has no attributes. Sets are immutable and safe for concurrent use.
type Set struct {
	record  []metric.RecordOption
	observe []metric.ObserveOption
}

// NewSet builds a Set. It allocates: never on a hot path.
func NewSet(attributes ...attribute.KeyValue) Set {
	option := metric.WithAttributeSet(attribute.NewSet(attributes...))
	return Set{record: []metric.RecordOption{option}, observe: []metric.ObserveOption{option}}
}
