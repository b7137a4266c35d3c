package failover

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

var guards = [...]Guard{
	GuardTarget, GuardPhase, GuardRequest, GuardExposure, GuardReadiness, GuardCooldown, GuardBudget, GuardFreeze, GuardQuorum, GuardConflict,
	GuardFormerWriter,
}

// instruments are the counts that are nowhere else, and what reports them.
type instruments struct {
	fenced, unknown, done, aborted atomic.Int64
	refused                        [len(guards)]atomic.Int64

	tracer trace.Tracer
	phases *telemetry.Histogram
}

// attachTelemetry lets the providers read c.
func (c *Controller) attachTelemetry() {
	c.counts.tracer = telemetry.Tracer(c.cfg.TracerProvider, telemetry.Failover)
	c.counts.phases = telemetry.NewHistogram(c.cfg.MeterProvider, telemetry.Failover, telemetry.FailoverPhaseDuration)
	telemetry.Attach(c.cfg.MeterProvider, telemetry.Failover, c, (*Controller).collect)
}

// set is c's name and more.
func (c *Controller) set(more ...attribute.KeyValue) telemetry.Set {
	return telemetry.NewSet(append([]attribute.KeyValue{attribute.String("name", c.cfg.Name)}, more...)...)
}

func (c *Controller) collect(to *telemetry.Collector) {
	name := c.set()
	d := c.Decision()
	epoch, _ := c.Epoch()
	to.Int(telemetry.FailoverEpoch, int64(d.Epoch&maxCounter), name)
	to.Int(telemetry.FailoverPhase, int64(d.Phase), name)
	to.Int(telemetry.FailoverWritable, bit(epoch != 0), name)
	to.Int(telemetry.FailoverConflict, bit(d.Conflict != ""), name)
	to.Int(telemetry.FailoverSelfSuspect, bit(d.SelfSuspect), name)
	if left := c.leaseLeft(d.Epoch); c.cfg.Fence == FenceLease && left > 0 {
		to.Float(telemetry.FailoverLease, left.Seconds(), name)
	}
	to.Float(telemetry.FailoverCoordinatorAge, (time.Since(c.start) - time.Duration(c.confirmed.Load())).Seconds(), name)
	for region, health := range d.Health {
		to.Int(telemetry.FailoverHealth, int64(health), c.set(attribute.String("region", region)))
	}
	to.Int(telemetry.FailoverFenced, c.counts.fenced.Load(), name)
	to.Int(telemetry.FailoverUnknown, c.counts.unknown.Load(), name)
	to.Int(telemetry.FailoverMoves, c.counts.done.Load(), c.set(attribute.String("outcome", "done")))
	to.Int(telemetry.FailoverMoves, c.counts.aborted.Load(), c.set(attribute.String("outcome", "aborted")))
	for i, g := range guards {
		to.Int(telemetry.FailoverRefused, c.counts.refused[i].Load(), c.set(attribute.String("guard", string(g))))
	}
	c.collectSources(to)
}

func (c *Controller) collectSources(to *telemetry.Collector) {
	c.mu.Lock()
	sources := c.sources
	exposure := c.statusExposureLocked(c.record.clone())
	c.mu.Unlock()
	if exposure.Known {
		to.Float(telemetry.FailoverExposure, exposure.Bound.Seconds(), c.set())
	}
	for _, src := range sources {
		for region, r := range src.regions {
			of := []attribute.KeyValue{attribute.String("client", src.name), attribute.String("region", region)}
			to.Int(telemetry.FailoverCalls, r.counts.good.Load(), c.set(append(of, attribute.String("outcome", "good"))...))
			to.Int(telemetry.FailoverCalls, r.counts.bad.Load(), c.set(append(of, attribute.String("outcome", "bad"))...))
		}
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// countRefusal counts a refusal by g.
func (c *Controller) countRefusal(g Guard) {
	for i := range guards {
		if guards[i] == g {
			c.counts.refused[i].Add(1)
		}
	}
	c.rule.see("refused " + string(g))
}

// ended reports a move that this instance drove to its end: counts, the time of each phase, and spans of the same instants.
func (c *Controller) moveEnded(ctx context.Context, t *Transition, aborted bool) {
	outcome := "done"
	count := &c.counts.done
	if aborted {
		outcome, count = "aborted", &c.counts.aborted
	}
	count.Add(1)
	begin := t.Mark
	for _, p := range t.Took {
		begin = begin.Add(-p.Took)
	}
	ctx, move := c.counts.tracer.Start(context.WithoutCancel(ctx), "failover move", trace.WithNewRoot(), trace.WithTimestamp(begin), trace.WithAttributes(
		attribute.String("holdfast.failover.id", t.ID), attribute.String("holdfast.failover.from", t.From),
		attribute.String("holdfast.failover.to", t.To), attribute.Bool("holdfast.failover.planned", t.Planned),
		attribute.String("holdfast.failover.outcome", outcome)))
	for _, p := range t.Took {
		_, span := c.counts.tracer.Start(ctx, "failover "+p.Phase, trace.WithTimestamp(begin))
		begin = begin.Add(p.Took)
		span.End(trace.WithTimestamp(begin))
		if !aborted {
			c.counts.phases.RecordDuration(ctx, p.Took, c.set(attribute.String("phase", p.Phase)))
		}
	}
	move.End(trace.WithTimestamp(begin))
}
