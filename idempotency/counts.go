package idempotency

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"

	"github.com/holdfast-go/holdfast/internal/striped"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// An ending is how a call ended, for its counter.
type ending uint8

const (
	endRan ending = iota
	endFailed
	endReleased
	endHeld
	endReplayed
	endInFlight
	endMismatch
	endUnknown
	endUnavailable
	endNotWriter
	endInvalid
	endCorrupt
	endDetached
	endings
)

// counts are a guard's numbers.
type counts struct {
	ended       [endings]striped.Counter
	running     striped.Counter
	waits       atomic.Int64
	fenced      atomic.Int64
	unprotected atomic.Int64
	leaseLost   atomic.Int64
	gaveUp      atomic.Int64
	sets        [endings]telemetry.Set
	set         telemetry.Set
}

func (c *counts) add(e ending) { c.ended[e].Add(1) }

// attach lets the meter provider read g.
func (c *counts) attach(g *core, config Config) {
	name := attribute.String("name", config.Name)
	c.set = telemetry.NewSet(name)
	for e := range endings {
		c.sets[e] = telemetry.NewSet(name, attribute.String("outcome", telemetry.IdempotencyOutcomes[e]))
	}
	telemetry.Attach(config.MeterProvider, telemetry.Idempotency, g, (*core).collect)
}

func (g *core) collect(out *telemetry.Collector) {
	c := &g.counts
	for e := range endings {
		out.Int(telemetry.IdempotencyCalls, c.ended[e].Load(), c.sets[e])
	}
	for inst, n := range map[*telemetry.Instrument]int64{
		telemetry.IdempotencyWaits: c.waits.Load(), telemetry.IdempotencyFenced: c.fenced.Load(),
		telemetry.IdempotencyUnprotected: c.unprotected.Load(), telemetry.IdempotencyLeaseLost: c.leaseLost.Load(),
		telemetry.IdempotencyGivenUp: c.gaveUp.Load(), telemetry.IdempotencyRunning: c.running.Load(),
		telemetry.IdempotencyPending: int64(g.later.count() + g.unsent.count()), telemetry.IdempotencyStoreUp: up(g.health.downSince.Load() == 0),
	} {
		out.Int(inst, n, c.set)
	}
}

func up(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
