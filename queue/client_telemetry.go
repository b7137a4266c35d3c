package queue

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

func (t *clientTelemetry) init(c *Client) {
	mp := c.config.MeterProvider
	t.tracer = telemetry.Tracer(c.config.TracerProvider, telemetry.Queue)
	t.traced = telemetry.Traced(c.config.TracerProvider)
	t.spanOptions = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	t.fill = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueBatchFill)
	t.duration = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueOperationDuration)
	operation, region := attribute.String("messaging.operation.name", "send"), attribute.String("region", c.limits.Region)
	t.ok = telemetry.NewSet(operation, region, attribute.String("outcome", "ok"))
	t.bad = telemetry.NewSet(operation, region, attribute.String("outcome", "error"))
	t.fillSet = telemetry.NewSet(operation)
	name := attribute.String("name", c.config.Name)
	t.name = telemetry.NewSet(name)
	for i, via := range []string{"ran", "queue", "spool", "memory", "refused"} {
		t.viaSets[i] = telemetry.NewSet(name, attribute.String("via", via))
	}
	telemetry.Attach(mp, telemetry.Queue, c, (*Client).collect)
}

func (c *Client) collect(o *telemetry.Collector) {
	t := &c.telemetry
	o.Int(telemetry.QueueSent, t.sends.Load(), t.name)
	for i := range t.via {
		o.Int(telemetry.QueueDeferred, t.via[i].Load(), t.viaSets[i])
	}
	o.Int(telemetry.QueueDeferred, t.refused.Load(), t.viaSets[4])
	if c.config.Spool == nil {
		return
	}
	s := c.config.Spool.Stats()
	o.Int(telemetry.QueueSpoolMessages, int64(s.Messages), t.name)
	o.Int(telemetry.QueueSpoolSize, s.Bytes, t.name)
	o.Int(telemetry.QueueSpoolSyncs, s.Syncs, t.name)
	o.Int(telemetry.QueueSpoolDamaged, s.Damaged, t.name)
	age := time.Duration(0)
	if !s.Oldest.IsZero() {
		age = max(0, time.Since(s.Oldest))
	}
	o.Float(telemetry.QueueSpoolOldest, age.Seconds(), t.name)
}

// sent records one request.
func (t *clientTelemetry) sent(n int, took time.Duration, results []SendResult) {
	ctx := context.Background()
	acknowledged := int64(0)
	for i := range results {
		if results[i].Err == nil {
			acknowledged++
		}
	}
	t.sends.Add(acknowledged)
	t.fill.Record(ctx, float64(n), t.fillSet)
	if acknowledged > 0 {
		t.duration.RecordDuration(ctx, took, t.ok)
	} else {
		t.duration.RecordDuration(ctx, took, t.bad)
	}
}

// start opens the span of a deferral and writes its context into the envelope.
func (t *clientTelemetry) start(ctx context.Context, e *Envelope) (context.Context, trace.Span) {
	if !t.traced() {
		e.setTrace(trace.SpanContextFromContext(ctx))
		return ctx, unrecorded
	}
	ctx, span := t.tracer.Start(ctx, "send", t.spanOptions...)
	if span.IsRecording() {
		span.SetName("send " + e.Name)
		span.SetAttributes(attribute.String("messaging.operation.name", "send"), attribute.String("messaging.operation.type", "send"),
			attribute.String("messaging.destination.name", e.Name), attribute.String("messaging.message.id", e.ID))
	}
	e.setTrace(span.SpanContext())
	return ctx, span
}

// unrecorded is the span of what nobody traces.
var unrecorded = trace.SpanFromContext(context.Background())

func (e *Envelope) setTrace(sc trace.SpanContext) {
	if sc.IsValid() {
		e.TraceParent, e.TraceState = traceParent(sc), sc.TraceState().String()
	}
}

func (t *clientTelemetry) end(span trace.Span, via Via, err error) {
	if err != nil {
		t.refused.Add(1)
	} else {
		t.via[via].Add(1)
	}
	if span == unrecorded {
		return
	}
	if span.IsRecording() {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "")
		} else {
			span.SetAttributes(attribute.String("holdfast.queue.via", via.String()))
		}
	}
	span.End()
}
