package degrade

import (
	"time"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// collect reports all counts. It runs on the collecting goroutine.
func (c *Controller) collect(to *telemetry.Collector) {
	now := time.Now()
	c.mu.Lock()
	features, dependencies, flags := c.features, c.dependencies, c.flags
	overrides := c.allOverridesLocked()
	states := make([]State, len(dependencies))
	for i, d := range dependencies {
		states[i] = d.settled
	}
	c.mu.Unlock()

	for _, f := range features {
		f.collect(to, now)
	}
	for i, d := range dependencies {
		to.Int(telemetry.DegradeDependencyState, int64(states[i]), d.set)
		to.Int(telemetry.DegradeStubs, d.stubs.Load(), d.set)
		if last := d.lastReport(); !last.IsZero() {
			to.Float(telemetry.DegradeDependencyAge, now.Sub(last).Seconds(), d.set)
		}
	}
	if flags.known {
		to.Float(telemetry.DegradeFlagsAge, now.Sub(flags.fetched).Seconds(), c.set)
	}
	to.Int(telemetry.DegradeFlagsRejected, c.refusedSets.Load(), c.set)
	to.Int(telemetry.DegradeOverrides, int64(len(overrides)), c.set)
	if left, ok := nextEnd(overrides, now); ok {
		to.Float(telemetry.DegradeOverrideExpiry, left.Seconds(), c.set)
	}
	to.Int(telemetry.DegradeAuditFailures, c.unaudited.Load(), c.set)
	to.Int(telemetry.DegradeEventsDropped, c.dropped.Load(), c.set)
}

func nextEnd(overrides []Override, now time.Time) (left time.Duration, ok bool) {
	for _, o := range overrides {
		if o.Until == nil {
			continue
		}
		if d := o.Until.Sub(now); !ok || d < left {
			left, ok = d, true
		}
	}
	return left, ok
}

// labels are the attribute sets of a feature's counts, built once.
type labels struct {
	plain    telemetry.Set
	to       [len(levelNames)]telemetry.Set
	outcomes [5]telemetry.Set // of fallbacks
	ops      [len(opNames)]telemetry.Set
	lookups  [4]telemetry.Set
}

func newLabels(controller, feature string) *labels {
	set := func(more ...string) telemetry.Set {
		return newSet(controller, append([]string{"feature", feature}, more...)...)
	}
	l := &labels{plain: set()}
	for i, name := range levelNames {
		l.to[i] = set("to", name)
	}
	for i, name := range [...]string{"failed", "fallback", "stale", "stub", "full"} {
		l.outcomes[i] = set("outcome", name)
	}
	for i, name := range [...]string{"read", "write", "optional"} {
		l.ops[i] = set("op", name)
	}
	for i, name := range [...]string{"fresh", "stale", "loaded", "failed"} {
		l.lookups[i] = set("outcome", name)
	}
	return l
}

func (f *Feature) collect(to *telemetry.Collector, now time.Time) {
	to.Int(telemetry.DegradeLevel, int64(f.Level()), f.labels.plain)
	for i := range f.stats.transitions {
		to.Int(telemetry.DegradeTransitions, f.stats.transitions[i].Load(), f.labels.to[i])
	}
	counts := [...]int64{
		f.stats.failed.Load(), f.stats.sources[SourceFallback].Load(), f.stats.sources[SourceStale].Load(), f.stats.sources[SourceStub].Load(), f.stats.full.Load(),
	}
	for i, n := range counts {
		to.Int(telemetry.DegradeFallbacks, n, f.labels.outcomes[i])
	}
	for i := range f.stats.refused {
		to.Int(telemetry.DegradeRefused, f.stats.refused[i].Load(), f.labels.ops[i])
	}
	for i := range f.stats.lookups {
		to.Int(telemetry.DegradeStale, f.stats.lookups[i].Load(), f.labels.lookups[i])
	}
	to.Int(telemetry.DegradeMismatches, f.stats.mismatches.Load(), f.labels.plain)
	if at := f.stats.proven.Load(); at != 0 {
		to.Float(telemetry.DegradeProofAge, now.Sub(f.c.started.Add(time.Duration(at))).Seconds(), f.labels.plain)
	}
}
