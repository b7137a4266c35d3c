package main

import (
	"strings"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/queue"
)

// A deadCall is one in a dead-letter queue.
type deadCall struct {
	region string
	queue.Envelope
}

// deadCalls returns what the dead-letter queues hold. A poison message is no call.
func deadCalls(f *embedded.Fleet) (all []deadCall) {
	for _, site := range f.Sites {
		for _, dead := range site.Dead {
			for _, m := range dead.Messages() {
				if d := (deadCall{region: site.Name}); d.Decode(m.Body) == nil && d.Death != nil {
					all = append(all, d)
				}
			}
		}
	}
	return all
}

// givenUp: a call ends in the dead-letter queue only where nothing else can be done: its order was lost with a Region. No outage of a few minutes makes
// the packages give a call up.
func (a *closing) givenUp() {
	for _, d := range a.dead {
		_, order, _ := strings.Cut(d.ID, "-")
		if _, there := a.kept[order]; there {
			a.say("given up: call %q, whose order is there, is in the dead-letter queue of %s: %s after %d attempts (%s)%s", d.ID, d.region, d.Death.Reason, d.Death.Attempts, d.Death.Error, a.storyOf(d.ID))
		}
	}
}

// blames: what a process holds against a Region for its queue is what that did: no more than the requests to it that failed. Those that were never sent, because a
// breaker was open, say nothing.
func (a *closing) blames() {
	for _, b := range a.blamed {
		if b.Counted > b.Failed {
			a.say("blamed: process %q holds %d failures against %s, where %d requests failed", b.Process, b.Counted, b.Region, b.Failed)
		}
	}
}

// settledIn is how long a new process may take until it has learnt the group's decision and got its lease. Until then it refuses writes, whether it is told to stop
// or not: two deployments at each other's heels are not the second one's fault.
const settledIn = 5 * time.Second

// lateBy is how long after the word to stop a request may still get in: that of the same instant.
const lateBy = 100 * time.Millisecond

// late: a process that is told to stop takes on no more work, whatever the weather: what it would stand on is about to go.
func (a *closing) late() {
	for _, l := range a.taken {
		if l.After > a.drain+lateBy {
			a.say("taken on late: process %q took %s %v after it was told to stop", l.Process, l.Request, l.After)
			return
		}
	}
}

// lateWork: a process takes on no deferred call when its workers have been told to stop. That is their turn when its HTTP server and its guard have ended, which is at once when the stores answer, and
// within the guard's deadline when they do not.
func (a *closing) lateWork() {
	for _, e := range a.endings {
		if e.Shut.IsZero() {
			continue
		}
		what, last := "", e.Shut
		for _, poll := range e.Polls {
			if poll.After(last) {
				what, last = "a poll", poll
			}
		}
		for _, r := range a.runs {
			if r.Process == e.Process && isWork(callOf(r.Key)) && r.Asked.After(last) && r.Asked.Before(e.Gone) {
				what, last = r.Key.ID, r.Asked
			}
		}
		after := last.Sub(e.Shut)
		a.c.drained = max(a.c.drained, after)
		if after > a.turn(e) {
			a.say("worked on late: process %q took on %s %v after its last request, which ended at %v", e.Process, what, after, a.since(e.Shut))
		}
	}
}

// turn is how long after the last request of a process its workers may be told to stop.
func (a *closing) turn(e embedded.Ending) time.Duration {
	if a.fair(e.Process, a.since(e.Shut), ordersAfter) {
		return time.Second
	}
	return holdfast.StopTimeout
}

// isWork reports whether a call is done by workers only: a charge is tried by who places the order.
func isWork(call string) bool {
	return strings.HasPrefix(call, "mail-") || strings.HasPrefix(call, "settle-")
}

// Databases that are lost, or slow to reach, are part of a Region that is well.
func zone(region string) string { return region + "/" + embedded.Databases }
