package main

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/failover"
)

// touches reports whether a fault acts on a Region itself, a zone or a process of it, or on its links. A host there is none of them.
func touches(f history.Fault, region failover.Region) bool {
	return slices.ContainsFunc(strings.Fields(f.Target), func(name string) bool { return name == region || strings.HasPrefix(name, region+"/") })
}

// between reports whether a fault acts on the way between the two Regions: the third sees both then, and nobody has a majority against the writer's.
func between(f history.Fault) bool {
	names := strings.Fields(f.Target)
	return slices.Contains(names, embedded.East) && slices.Contains(names, embedded.West)
}

// causes are the faults for which a Region is unhealthy: it is lost, or cut off, or its database or its process is. What other hosts answer is none. Each says whether probes get
// through now and then, so that the Region is given up, and taken back, more than once in one stay.
var causes = map[string]bool{"region-down": false, "partition": false, "crash": false, "az-down": false, "latency": true, "loss": true, "dns": true}

// movesOfTheWriter: an unplanned move has a cause, and opens at once.
func (a *closing) movesOfTheWriter() {
	for _, m := range a.moves {
		if m.Opened.IsZero() {
			continue
		}
		kind := "unplanned"
		if m.Planned {
			kind = "planned"
		}
		a.c.moves[kind]++
		if m.Planned {
			continue
		}
		if slices.Contains(m.Phases, failover.PhaseRamping) {
			a.say("the unplanned move to %s was ramped", m.To)
		}
		if !a.caused(m) {
			a.say("the writer was moved to %s at %v without a cause in %s: %s", m.To, a.since(m.Asked), m.From, m.Reason)
		}
	}
}

// How long the traces of a fault in a Region may move its writer, at the pace of this composition: a probe that was sent hangs on, the Region is held for unhealthy once more for each time that it has been
// (failover.ControllerConfig, HoldFor), and the votes that say so last a lease.
const (
	probeTimeout = 4 * time.Second
	holdFor      = 6 * time.Second
	mostHolds    = 10
	voteLasts    = 4*time.Second + time.Second
)

// caused reports whether something was wrong with the Region that a move took the writer from, or had been so lately.
func (a *closing) caused(m embedded.Move) bool {
	at, times, last := a.since(m.Asked), 0, time.Duration(-1)
	for _, f := range a.history.Faults() {
		again, cause := causes[f.Kind]
		if !cause || !touches(f, m.From) || between(f) || f.From > at {
			continue
		}
		times++
		if again {
			times += int((min(f.To, at) - f.From) / holdFor)
		}
		last = max(last, f.To)
	}
	ok := last >= 0 && at <= last+probeTimeout+holdFor*time.Duration(min(times, mostHolds))+voteLasts
	if ok {
		a.c.traces = max(a.c.traces, at-last)
	}
	return ok
}

// How long after a fault, or after a new writer has opened, its traces may still be a reason for a refusal. Checkout takes orders again when what it needs is there (degrade.NoWait), and that is when its
// Region has held and its writer has a lease. Reads come back a level at a time.
const (
	ordersAfter = probeTimeout + holdFor + voteLasts
	readsAfter  = time.Minute
	givenUp     = 3 * time.Minute // a move that was cut and never opened: the writer before opens again
)

// stops: every process stops within its deadline, and fails nothing that it has taken in unless the weather does.
func (a *closing) stops() {
	a.c.longest = max(a.c.longest, a.longest)
	if a.longest > holdfast.StopTimeout {
		a.say("a process took %v to stop, want at most %v", a.longest, holdfast.StopTimeout)
	}
	for _, e := range a.endings {
		a.c.stops++
		if a.fair(e.Process, a.since(e.Told), ordersAfter) {
			a.c.fair++
		}
	}
	for _, r := range a.refusals {
		at := a.since(r.At)
		after := readsAfter
		if strings.HasPrefix(r.Request, "POST ") {
			after = ordersAfter
		}
		if r.Age < settledIn || !a.fair(r.Process, at, after) {
			a.c.excused++
			continue
		}
		a.say("failed by its stop: process %q answered %s with %s at %v, and nothing else stood in its way", r.Process, r.Request, r.Answer, at)
	}
}

// fair reports whether nothing was wrong, nor had been so for a time before, that stops orders, by the table "What stops when X is gone" in docs/orders.md: not with the process's Region, the writer's, its key store
// or the coordinator's Region, and no move was under way.
func (a *closing) fair(process string, at, after time.Duration) bool {
	region, _, _ := strings.Cut(process, "/")
	for _, f := range a.history.Faults() {
		if f.From <= at && at <= f.To+after && a.stopsOrders(f, region, at) {
			return false
		}
	}
	return !slices.ContainsFunc(a.moves, func(m embedded.Move) bool {
		switch {
		case a.since(m.Asked) > at:
			return false
		case !m.Opened.IsZero():
			return at <= a.since(m.Opened)+after
		}
		return !m.Cut.IsZero() && at <= a.since(m.Cut)+givenUp
	})
}

// stopsOrders reports whether a fault may stop orders that a process of a Region has taken in.
func (a *closing) stopsOrders(f history.Fault, region failover.Region, at time.Duration) bool {
	if f.Kind == "flag-store-down" || strings.Contains(f.Target, "/witness-") {
		return false
	}
	for _, r := range []failover.Region{region, a.writerAt(at), a.writerAt(f.To), embedded.Third} {
		if touches(f, r) || r != embedded.Third && slices.Contains(strings.Fields(f.Target), redisIn(r)) {
			return true
		}
	}
	return false
}

// writerAt is where the writer was at an instant.
func (a *closing) writerAt(at time.Duration) failover.Region {
	writer, since := embedded.East, time.Duration(0)
	for _, m := range a.moves {
		if opened := a.since(m.Opened); !m.Opened.IsZero() && opened <= at && opened >= since {
			writer, since = m.To, opened
		}
	}
	return writer
}
