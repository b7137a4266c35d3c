package telemetry

import (
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Fail marks span as failed. The description is one of a closed set, never an error's text.
func Fail(span trace.Span, description string) { span.SetStatus(codes.Error, description) }
