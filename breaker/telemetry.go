package breaker

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// A tally is what the metrics say of one breaker, or of all of a group.
type tally struct {
	states, modes                     [4]int64 // breakers
	entered                           [4]int64 // transitions, by the state entered
	calls                             Counts
	neutral, rejected, observed, held uint64
	probing                           int
}

// add adds u without the breakers themselves.
func (t *tally) add(u tally) {
	for state, n := range u.entered {
		t.entered[state] += n
	}
	t.calls = t.calls.plus(u.calls)
	t.neutral += u.neutral
	t.rejected += u.rejected
	t.observed += u.observed
	t.held += u.held
}

// addLive adds u with its breaker.
func (t *tally) addLive(u tally) {
	t.add(u)
	t.probing += u.probing
	for i := range t.states {
		t.states[i] += u.states[i]
		t.modes[i] += u.modes[i]
	}
}

// tally reads a breaker.
func (b *Breaker) tally() tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tallyLocked()
}

func (b *Breaker) tallyLocked() tally {
	s := b.statsLocked()
	t := tally{
		entered: b.entered, calls: s.Total, neutral: s.Neutral, rejected: s.Rejected, observed: s.Observed,
		held: s.Held, probing: s.Probing,
	}
	t.states[s.State] = 1
	t.modes[s.Mode] = 1
	return t
}

// tally reads a group.
func (g *Group) tally() tally {
	t, members := g.snapshot()
	for _, m := range members {
		t.addLive(m.breaker.tally())
	}
	return t
}

// sets are the attribute sets of one name, built once.
type sets struct {
	name                                    telemetry.Set
	states, modes                           [4]telemetry.Set
	success, failure, neutral               telemetry.Set
	refusedFull, refusedTimeout, refusedEnd telemetry.Set
}

func setsOf(name string) *sets {
	with := func(key, value string) telemetry.Set {
		return telemetry.NewSet(attribute.String("name", name), attribute.String(key, value))
	}
	s := &sets{
		name:    telemetry.NewSet(attribute.String("name", name)),
		success: with("outcome", "success"), failure: with("outcome", "failure"), neutral: with("outcome", "neutral"),
		refusedFull: with("reason", "full"), refusedTimeout: with("reason", "timeout"), refusedEnd: with("reason", "context"),
	}
	for i := range s.states {
		s.states[i] = with("state", State(i).String())
		s.modes[i] = with("mode", Mode(i).String())
	}
	return s
}

func (t tally) collect(c *telemetry.Collector, s *sets) {
	for i := range t.states {
		c.Int(telemetry.BreakerBreakers, t.states[i], s.states[i])
		c.Int(telemetry.BreakerModes, t.modes[i], s.modes[i])
		c.Int(telemetry.BreakerTransitions, t.entered[i], s.states[i])
	}
	c.Int(telemetry.BreakerCalls, int64(t.calls.Successes), s.success)
	c.Int(telemetry.BreakerCalls, int64(t.calls.Failures), s.failure)
	c.Int(telemetry.BreakerCalls, int64(t.neutral), s.neutral)
	c.Int(telemetry.BreakerSlowCalls, int64(t.calls.Slow), s.name)
	c.Int(telemetry.BreakerRejections, int64(t.rejected), s.name)
	c.Int(telemetry.BreakerObserved, int64(t.observed), s.name)
	c.Int(telemetry.BreakerHeld, int64(t.held), s.name)
	c.Int(telemetry.BreakerProbes, int64(t.probing), s.name)
}

func collectorOf(name string) func(*Breaker, *telemetry.Collector) {
	s := setsOf(name)
	return func(b *Breaker, c *telemetry.Collector) { b.tally().collect(c, s) }
}

func groupCollectorOf(name string) func(*Group, *telemetry.Collector) {
	s := setsOf(name)
	return func(g *Group, c *telemetry.Collector) { g.tally().collect(c, s) }
}

func bulkheadCollectorOf(name string) func(*Bulkhead, *telemetry.Collector) {
	s := setsOf(name)
	return func(h *Bulkhead, c *telemetry.Collector) {
		stats := h.Stats()
		c.Int(telemetry.BulkheadLimit, int64(stats.MaxInFlight), s.name)
		c.Int(telemetry.BulkheadInFlight, int64(stats.InFlight), s.name)
		c.Int(telemetry.BulkheadQueued, int64(stats.Queued), s.name)
		c.Int(telemetry.BulkheadRefusals, int64(stats.Refused), s.refusedFull)
		c.Int(telemetry.BulkheadRefusals, int64(stats.TimedOut), s.refusedTimeout)
		c.Int(telemetry.BulkheadRefusals, int64(stats.GaveUp), s.refusedEnd)
	}
}

// rejectedBy describes a rejection in a span's event.
func rejectedBy(err *OpenError) trace.EventOption {
	return trace.WithAttributes(attribute.String("holdfast.breaker.name", err.Name), attribute.String("holdfast.breaker.state", err.State.String()),
		attribute.String("holdfast.breaker.reason", err.Reason))
}
