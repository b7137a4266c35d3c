package runbook

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// instruments report one runner.
type instruments struct {
	book        string
	tracer      trace.Tracer
	runs, steps *telemetry.Histogram
}

func newInstruments(book string, cfg Config) instruments {
	return instruments{
		book: book, tracer: telemetry.Tracer(cfg.TracerProvider, telemetry.Runbook),
		runs:  telemetry.NewHistogram(cfg.MeterProvider, telemetry.Runbook, telemetry.RunbookRuns),
		steps: telemetry.NewHistogram(cfg.MeterProvider, telemetry.Runbook, telemetry.RunbookSteps),
	}
}

// run begins the span of the run; ended reports how it ended.
func (i instruments) run(ctx context.Context, id string) (_ context.Context, ended func(error)) {
	return i.begin(ctx, "runbook "+i.book, i.runs, []attribute.KeyValue{attribute.String("runbook", i.book)}, attribute.String("holdfast.runbook.run", id))
}

// step begins the span of a step; ended reports how it ended.
func (i instruments) step(ctx context.Context, s Step) (_ context.Context, ended func(error)) {
	return i.begin(ctx, "step "+s.Name, i.steps, []attribute.KeyValue{attribute.String("runbook", i.book), attribute.String("step", s.Name)})
}

func (i instruments) begin(ctx context.Context, name string, h *telemetry.Histogram, labels []attribute.KeyValue, more ...attribute.KeyValue) (context.Context, func(error)) {
	began := time.Now()
	ctx, span := i.tracer.Start(ctx, name, trace.WithAttributes(append(more, labels...)...))
	return ctx, func(err error) {
		outcome := named(err)
		if err != nil {
			telemetry.Fail(span, outcome)
		}
		span.End()
		h.RecordDuration(ctx, time.Since(began), telemetry.NewSet(append(labels, attribute.String("outcome", outcome))...))
	}
}

// named is the outcome of a run or step in its metrics.
func named(err error) string {
	for _, o := range []struct {
		kind error
		name string
	}{
		{ErrRefused, "refused"}, {ErrFenced, "fenced"}, {ErrCancelled, "cancelled"}, {ErrHung, "hung"}, {ErrBlocked, "blocked"}, {ErrUndecided, "undecided"},
	} {
		if errors.Is(err, o.kind) {
			return o.name
		}
	}
	if err != nil {
		return "failed"
	}
	return "done"
}
