package queue

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/striped"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// operations whose durations are recorded
const (
	opExtend = iota
	opRelease
	opDelete
	opDead
	operations
)

// why messages were given back
const (
	releasedFailed = iota
	releasedPutOff
	releasedDrain
)

type workerTelemetry struct {
	duplicates, leaseLost, resent, settleFailed, concluded striped.Counter

	outcomes [fates]striped.Counter
	released [3]striped.Counter
	dead     []striped.Counter

	tracer                                   trace.Tracer
	traced                                   func() bool
	spanOptions                              []trace.SpanStartOption
	process, dwell, attempts, fill, duration *telemetry.Histogram
	name                                     telemetry.Set
	receiveSet, deleteSet                    telemetry.Set
	outcomeSets                              [fates]telemetry.Set
	releasedSets                             [3]telemetry.Set
	deadSets                                 []telemetry.Set
	sources                                  map[*workerSource]*sourceSets
}

type sourceSets struct {
	received            striped.Counter
	region              telemetry.Set
	visible, busy, late telemetry.Set
	operations          [operations][2]telemetry.Set
}

type handlerSets struct {
	call     telemetry.Set
	outcomes [4]telemetry.Set
}

func (t *workerTelemetry) init(w *Worker) {
	mp := w.config.MeterProvider
	t.tracer = telemetry.Tracer(w.config.TracerProvider, telemetry.Queue)
	t.traced = telemetry.Traced(w.config.TracerProvider)
	t.spanOptions = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
	t.process = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueProcessDuration)
	t.dwell = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueDwell)
	t.attempts = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueAttempts)
	t.fill = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueBatchFill)
	t.duration = telemetry.NewHistogram(mp, telemetry.Queue, telemetry.QueueOperationDuration)
	name := attribute.String("name", w.config.Name)
	t.name = telemetry.NewSet(name)
	t.receiveSet = telemetry.NewSet(attribute.String("messaging.operation.name", "receive"))
	t.deleteSet = telemetry.NewSet(attribute.String("messaging.operation.name", "delete"))
	for i, s := range []string{"done", "failed", "dead", "dropped", "expired", "put_off"} {
		t.outcomeSets[i] = telemetry.NewSet(name, attribute.String("outcome", s))
	}
	for i, s := range []string{"failed", "put_off", "drain"} {
		t.releasedSets[i] = telemetry.NewSet(name, attribute.String("why", s))
	}
	t.dead = make([]striped.Counter, len(Reasons()))
	for _, r := range Reasons() {
		t.deadSets = append(t.deadSets, telemetry.NewSet(name, attribute.String("reason", string(r))))
	}
	t.sources = map[*workerSource]*sourceSets{}
	for _, src := range w.sources {
		t.sources[src] = newSourceSets(name, src.region)
	}
	for _, h := range w.handlers {
		h.sets = newHandlerSets(h.name)
	}
	telemetry.Attach(mp, telemetry.Queue, w, (*Worker).collect)
}

func newSourceSets(name attribute.KeyValue, region string) *sourceSets {
	r := attribute.String("region", region)
	s := &sourceSets{
		region:  telemetry.NewSet(name, r),
		visible: telemetry.NewSet(name, r, attribute.String("state", "visible")),
		busy:    telemetry.NewSet(name, r, attribute.String("state", "in_flight")),
		late:    telemetry.NewSet(name, r, attribute.String("state", "delayed")),
	}
	for i, op := range []string{"extend", "release", "delete", "dead"} {
		for j, result := range []string{"ok", "error"} {
			s.operations[i][j] = telemetry.NewSet(attribute.String("messaging.operation.name", op), r, attribute.String("outcome", result))
		}
	}
	return s
}

func newHandlerSets(call string) (s handlerSets) {
	name := attribute.String("call", call)
	s.call = telemetry.NewSet(name)
	for i, outcome := range []string{"done", "failed", "put_off", "stopped"} {
		s.outcomes[i] = telemetry.NewSet(name, attribute.String("outcome", outcome))
	}
	return s
}

func (w *Worker) collect(o *telemetry.Collector) {
	t := &w.telemetry
	o.Int(telemetry.QueueLeaseLost, t.leaseLost.Load(), t.name)
	o.Int(telemetry.QueueDuplicates, t.duplicates.Load(), t.name)
	o.Int(telemetry.QueueResent, t.resent.Load(), t.name)
	o.Int(telemetry.QueueSettleFailed, t.settleFailed.Load(), t.name)
	for i := range t.outcomes {
		o.Int(telemetry.QueueOutcomes, t.outcomes[i].Load(), t.outcomeSets[i])
	}
	for i := range t.released {
		o.Int(telemetry.QueueReleased, t.released[i].Load(), t.releasedSets[i])
	}
	for i := range t.dead {
		o.Int(telemetry.QueueDead, t.dead[i].Load(), t.deadSets[i])
	}
	limit := w.admission().limit
	w.mu.Lock()
	defer w.mu.Unlock()
	o.Int(telemetry.QueueRunning, int64(w.running), t.name)
	o.Int(telemetry.QueuePaused, int64(1-min(limit, 1)), t.name)
	w.collectDepths(o)
}

func (w *Worker) collectDepths(o *telemetry.Collector) {
	unverified := int64(0)
	for _, src := range w.sources {
		sets := w.telemetry.sources[src]
		o.Int(telemetry.QueueConsumed, sets.received.Load(), sets.region)
		if src.depthErr != nil {
			unverified++
			continue
		}
		o.Int(telemetry.QueueDepth, int64(src.depth.Visible), sets.visible)
		o.Int(telemetry.QueueDepth, int64(src.depth.InFlight), sets.busy)
		o.Int(telemetry.QueueDepth, int64(src.depth.Delayed), sets.late)
	}
	o.Int(telemetry.QueueUnverified, unverified, w.telemetry.name)
}

func (t *workerTelemetry) receivedBatch(src *workerSource, n int) {
	if n > 0 {
		t.sources[src].received.Add(int64(n))
		t.fill.Record(context.Background(), float64(n), t.receiveSet)
	}
}

func (t *workerTelemetry) deleteBatch(n int) {
	t.fill.Record(context.Background(), float64(n), t.deleteSet)
}

// operation records one request.
func (t *workerTelemetry) operation(op int, src *workerSource, began time.Time, errs []error) {
	result := 0
	for _, err := range errs {
		if err != nil {
			result = 1
		}
	}
	t.duration.RecordDuration(context.Background(), time.Since(began), t.sources[src].operations[op][result])
}

// ended counts the end of a delivery. attempts is 0 unless the call is over.
func (t *workerTelemetry) ended(h *held, f fate, attempts int) {
	t.outcomes[f].Add(1)
	t.concluded.Add(1)
	if attempts > 0 && h.handler != nil {
		t.attempts.Record(context.Background(), float64(attempts), h.handler.sets.call)
	}
}

// start opens the span of a run, linked to the one that deferred the call.
func (t *workerTelemetry) start(ctx context.Context, h *held, now time.Time) (context.Context, trace.Span) {
	e := &h.envelope
	t.dwell.RecordDuration(context.Background(), max(0, now.Sub(e.born())), h.handler.sets.call)
	if !t.traced() {
		return ctx, unrecorded
	}
	options := t.spanOptions
	if e.TraceParent != "" {
		if sc := spanContext(e.TraceParent, e.TraceState); sc.IsValid() {
			options = append(slices.Clip(options), trace.WithLinks(trace.Link{SpanContext: sc}))
		}
	}
	ctx, span := t.tracer.Start(ctx, "process", options...)
	if span.IsRecording() {
		span.SetName("process " + e.Name)
		span.SetAttributes(attribute.String("messaging.operation.name", "process"), attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", e.Name), attribute.String("messaging.message.id", e.ID),
			attribute.Int("holdfast.queue.receives", h.message.Receives))
	}
	return ctx, span
}

func (t *workerTelemetry) end(span trace.Span, h *held, r result) {
	kind := 0
	switch {
	case r.stop != nil && r.err != nil:
		kind = 3
	case !r.invoked:
		kind = 2
	case r.err != nil:
		kind = 1
	}
	t.process.RecordDuration(context.Background(), time.Since(r.began), h.handler.sets.outcomes[kind])
	if r.err != nil && span.IsRecording() {
		span.RecordError(r.err)
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
