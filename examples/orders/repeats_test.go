package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// The cases in which a guarded call may run again, as idempotency prints them. Each is a case of the run that came before the repetition, and had ended in it, or was never to end, when that began.
const (
	ruleUnknown   queue.Rule = "the run before had ended with an unknown outcome"
	ruleCrashed   queue.Rule = "the process of the run before was killed with its result"
	ruleDeposed   queue.Rule = "the writer of the run before had been replaced, and nobody had its result"
	ruleLeaseLost queue.Rule = "the lease of the run before had passed, and nobody had its result"
	ruleStoreLost queue.Rule = "its key had one copy, in the Region that was lost"
)

// claimed is how long the key of a run is kept that its store does not hear of: the lease, by default.
const claimed = 30 * time.Second

// deferred: every deferred call is accounted for, and what ran twice, or sent two mails, has a reason out of the promise.
func (a *closing) deferred() {
	for _, id := range a.calls.Lost {
		a.say("lost: deferred call %s", id)
	}
	mails := a.mails()
	for id := range a.calls.Repeated {
		order, mail := strings.CutPrefix(id, "mail-")
		if mail && mails[order] > 1 {
			continue // said below
		}
		a.repeated(id, "done twice without a reason", 2)
	}
	for order, n := range mails {
		if n > 1 {
			a.repeated("mail-"+order, "mailed twice without a reason", n)
		}
	}
}

// mails counts them by order.
func (a *closing) mails() map[string]int {
	mails := map[string]int{}
	for _, e := range a.history.Effects() {
		if e.Kind == "mail" {
			mails[e.Key]++
		}
	}
	return mails
}

// repeated demands that each run of a call that had its effect times times, or may have had it, could not be known to the one that followed.
func (a *closing) repeated(id, what string, times int) {
	var runs []embedded.KeyRun
	for _, r := range a.runs {
		if callOf(r.Key) == id && a.acted(r) {
			runs = append(runs, r)
		}
	}
	if len(runs) < times {
		a.say("%s: call %q, %d times, in %d runs%s", what, id, times, len(runs), a.storyOf(id))
		return
	}
	for i, next := range runs[1:] {
		reason := a.excuse(runs[i], next)
		if reason == "" {
			a.say("%s: call %q, run in %s at %v and again in %s at %v%s", what, id, runs[i].Process, a.since(runs[i].Began), next.Process, a.since(next.Began), a.storyOf(id))
			return
		}
		a.c.repeated[reason]++
	}
}

// acted reports whether a run may have had its effect: that of a mail is seen, the others had it if they ended with a result, or did not end.
func (a *closing) acted(r embedded.KeyRun) bool {
	order, mail := strings.CutPrefix(callOf(r.Key), "mail-")
	if !mail {
		return r.End == embedded.RunDone || r.End == embedded.RunOpen
	}
	return slices.ContainsFunc(a.mailed, func(s embedded.Request) bool { return s.For == order && !s.NotRun && a.sentIn(r, s) })
}

// sentIn reports whether a mail was sent in a run: the last that its process had begun by then.
func (a *closing) sentIn(r embedded.KeyRun, s embedded.Request) bool {
	if s.Process != r.Process || s.At.Before(r.Began) {
		return false
	}
	return !slices.ContainsFunc(a.runs, func(later embedded.KeyRun) bool {
		return later.Process == r.Process && nameOf(later.Key) == nameOf(r.Key) && later.Began.After(r.Began) && !later.Began.After(s.At)
	})
}

// excuse returns why a run may have followed another, "" if it may not. What the store that granted it had known is no reason.
func (a *closing) excuse(run, next embedded.KeyRun) queue.Rule {
	ended := run.End != embedded.RunOpen && !run.Ended.After(next.Began)
	switch {
	case a.knew(next.Region, next):
	case ended && run.End != embedded.RunDone && !a.answered(run):
		return ruleUnknown
	case a.leftBehind(run, next):
		return ruleStoreLost
	case a.knew("", next): // and no Region was lost with it
	case a.killed(run, next):
		return ruleCrashed
	case next.Epoch > run.Epoch && a.apart(lastSign(run), next.Asked, run.Region):
		return ruleDeposed
	case next.Began.Sub(run.Renewed) >= claimed-clockSkew && a.apart(run.Renewed, next.Asked, run.Region):
		return ruleLeaseLost
	}
	return ""
}

// answered reports whether the relay has said that it has the mail of a run: then the run has nothing to leave open.
func (a *closing) answered(run embedded.KeyRun) bool {
	order, mail := strings.CutPrefix(callOf(run.Key), "mail-")
	return mail && slices.ContainsFunc(a.mailed, func(s embedded.Request) bool { return s.For == order && s.Done && a.sentIn(run, s) })
}

// lastSign is when a run was last heard of: its end or the last extension of its lease.
func lastSign(run embedded.KeyRun) time.Time {
	if run.End == embedded.RunOpen {
		return run.Renewed
	}
	return run.Ended
}

// apart reports whether something was wrong meanwhile with one of the Regions, or with a key store, so that what was told the stores in them may not have come there.
func (a *closing) apart(from, to time.Time, regions ...failover.Region) bool {
	return slices.ContainsFunc(a.history.Faults(), func(f history.Fault) bool {
		names := strings.Fields(f.Target)
		there := slices.ContainsFunc(regions, func(r failover.Region) bool { return touches(f, r) }) || slices.Contains(names, redisIn(embedded.East)) || slices.Contains(names, redisIn(embedded.West))
		return there && f.From <= a.since(to) && a.since(from) <= f.To
	})
}

// knew reports whether the store of a Region, or any for "", had the result of a key when a run of it was asked for.
func (a *closing) knew(region string, next embedded.KeyRun) bool {
	return slices.ContainsFunc(a.results, func(r embedded.KeyResult) bool {
		return nameOf(r.Key) == nameOf(next.Key) && (region == "" || r.Region == region) && !r.At.After(next.Asked)
	})
}

// copiedWithin is how long after its end the result of a run is in both Regions, when all is well.
const copiedWithin = 5 * time.Second

// leftBehind reports whether an unplanned move has left the key of a run where it was: it was claimed while the Region that was lost could write, something kept its result from the other
// Region when it ended, and it was begun again where the writer went, afterwards.
func (a *closing) leftBehind(run, next embedded.KeyRun) bool {
	if run.End != embedded.RunOpen && !a.apart(run.Began, run.Ended.Add(copiedWithin), embedded.East, embedded.West) {
		return false
	}
	return slices.ContainsFunc(a.moves, func(m embedded.Move) bool {
		return !m.Planned && !m.Opened.IsZero() && m.From == run.Region && m.To == next.Region && !next.Began.Before(m.Opened) && !run.Began.After(lastOfTerm(m))
	})
}

// lastOfTerm is until when the former writer may have gone on.
func lastOfTerm(m embedded.Move) time.Time {
	last := m.Cut
	if m.Exposure.AcknowledgedUntil.After(last) {
		last = m.Exposure.AcknowledgedUntil
	}
	return last.Add(clockSkew)
}

// killed reports whether the process of a run was killed before the next, in the life in which it ran: what crashes comes back under its name.
func (a *closing) killed(run, next embedded.KeyRun) bool {
	for _, m := range a.history.Marks() {
		if m.Kind != history.MarkProcess || m.Name != run.Process || m.At < a.since(run.Began) {
			continue
		}
		switch m.Text {
		case "killed":
			return m.At <= a.since(next.Began)
		case "started":
			return false
		}
	}
	return false
}

// callOf is the call ID that a key belongs to; "" for that of a request.
func callOf(k idempotency.Key) string {
	_, id, _ := strings.Cut(k.ID, "/")
	return id
}

// nameOf is what one key has and no other.
func nameOf(k idempotency.Key) string { return k.Scope + " " + k.Op + " " + k.ID }

func otherRegion(r failover.Region) failover.Region {
	if r == embedded.East {
		return embedded.West
	}
	return embedded.East
}

// keys: a call that had its effect is never begun as one that has never been there, and a planned move leaves no key behind.
func (a *closing) keys() {
	effects := map[string]time.Duration{} // the first of each call, by its ID
	for _, e := range a.history.Effects() {
		id := e.Kind + "-" + e.Key
		if _, known := effects[id]; !known {
			effects[id] = e.At
		}
	}
	for _, r := range a.runs {
		effect, had := effects[callOf(r.Key)]
		if had && r.Number == 1 && effect < a.since(r.Began) && !a.lostWith(r, effect) {
			a.say("begun anew: call %q had its effect at %v and was begun as new in %s at %v", r.Key.ID, effect, r.Region, a.since(r.Began))
		}
	}
	a.keysLeft()
}

// lostWith reports whether the run that had the effect of a call was left behind when it was begun as new.
func (a *closing) lostWith(begun embedded.KeyRun, effect time.Duration) bool {
	return !a.knew(begun.Region, begun) && slices.ContainsFunc(a.runs, func(r embedded.KeyRun) bool {
		return nameOf(r.Key) == nameOf(begun.Key) && a.since(r.Began) <= effect && a.leftBehind(r, begun)
	})
}

// keysLeft: a planned move leaves no key behind.
func (a *closing) keysLeft() {
	type copyOf struct{ key, region string }
	done, first := map[copyOf]time.Duration{}, map[copyOf]time.Duration{} // first: of those that no other Region had
	for _, r := range a.results {
		at, c := a.since(r.At), copyOf{nameOf(r.Key), r.Region}
		has := []copyOf{c}
		if r.Copied { // the source has it, whether or not it could say so
			has = append(has, copyOf{c.key, otherRegion(r.Region)})
		} else if first[c] == 0 {
			first[c] = at
		}
		for _, c := range has {
			if done[c] == 0 {
				done[c] = at
			}
		}
	}
	for c, at := range first {
		for _, m := range a.moves {
			if !m.Planned || m.Opened.IsZero() || m.From != c.region || a.since(m.Cut) < at {
				continue
			}
			if there, ok := done[copyOf{c.key, m.To}]; !ok || there > a.since(m.Opened) {
				a.say("left behind: key %q, done in %s at %v, was not in %s when the planned move to it opened, at %v%s", c.key, c.region, at, m.To, a.since(m.Opened), a.resultsOf(c.key))
			}
		}
	}
}

// storyOf tells all that is known of a call.
func (a *closing) storyOf(id string) string {
	var b strings.Builder
	key := ""
	for _, r := range a.runs {
		if callOf(r.Key) == id {
			key = nameOf(r.Key)
			fmt.Fprintf(&b, "\n    run %d in %s by %s, epoch %d: asked %v, began %v, renewed %v, ended %v (%d)",
				r.Number, r.Region, r.Process, r.Epoch, a.since(r.Asked), a.since(r.Began), a.since(r.Renewed), a.since(r.Ended), r.End)
		}
	}
	for _, s := range a.mailed {
		if "mail-"+s.For == id {
			fmt.Fprintf(&b, "\n    sent by %s at %v, not run: %v", s.Process, a.since(s.At), s.NotRun)
		}
	}
	for _, e := range a.history.Effects() {
		if e.Kind+"-"+e.Key == id {
			fmt.Fprintf(&b, "\n    %s at %v", e.Kind, e.At)
		}
	}
	return b.String() + a.resultsOf(key)
}

// resultsOf tells where the result of a key came to.
func (a *closing) resultsOf(key string) string {
	var b strings.Builder
	for _, r := range a.results {
		if nameOf(r.Key) == key {
			fmt.Fprintf(&b, "\n    result in %s at %v, copied: %v", r.Region, a.since(r.At), r.Copied)
		}
	}
	return b.String()
}
