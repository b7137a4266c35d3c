package main

import (
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// paid: what was acknowledged has all that is promised, and nothing was charged or mailed for what is no order.
func (a *closing) paid() {
	mails := a.mails()
	if a.atRest {
		a.promised(mails)
	}
	for id := range a.charged {
		a.exists(id, "charged")
	}
	for id := range mails {
		a.exists(id, "mailed")
	}
}

// promised: every order that was acknowledged, is kept and was not declined is charged once, mailed and settled by the end, when nothing waits any more. Of an order that nobody was told of
// no more is promised than that it is charged once at most: its user was to ask again.
func (a *closing) promised(mails map[string]int) {
	settled := map[string]bool{}
	for _, r := range a.results {
		if order, ok := strings.CutPrefix(callOf(r.Key), "settle-"); ok {
			settled[order] = true
		}
	}
	for _, r := range a.runs { // its result may be in no store: it is done all the same, and its call is deleted
		if order, ok := strings.CutPrefix(callOf(r.Key), "settle-"); ok && r.End == embedded.RunDone {
			settled[order] = true
		}
	}
	for _, ack := range a.history.Acks() {
		id := strings.TrimPrefix(ack.Key, embedded.OrderKey(""))
		order, kept := a.kept[id]
		if !kept {
			continue
		}
		a.c.paid++
		switch {
		case order.Status == service.StatusDeclined && a.charged[id] > 0:
			a.say("charged and declined: order %q", id)
		case order.Status == service.StatusDeclined:
		case a.charged[id] == 0:
			a.say("never charged: order %q, acknowledged at %v%s", id, ack.At, a.storyOf("charge-"+id))
		case mails[id] == 0:
			a.say("never mailed: order %q, acknowledged at %v%s", id, ack.At, a.storyOf("mail-"+id))
		case !settled[id]:
			a.say("never settled: order %q, acknowledged at %v%s", id, ack.At, a.storyOf("settle-"+id))
		case order.Status != service.StatusPaid || !order.Settled:
			a.fellBack(id, order)
		}
	}
}

// fellBack demands of an order whose row does not say what was done for it that an unplanned move has lost the update: the key of the call is in both Regions, and outlives it.
func (a *closing) fellBack(id string, order service.Order) {
	for _, w := range a.history.Writes() {
		if w.Key == embedded.OrderKey(id) && slices.ContainsFunc(a.moves, func(m embedded.Move) bool { return a.exposed(m, w) }) {
			a.c.behind++
			return
		}
	}
	a.say("fell back: order %q is charged, mailed and settled, its row says %q, settled %t, and no write of it was in an exposure%s", id, order.Status, order.Settled, a.storyOf("settle-"+id))
}

// exists demands of what was charged or mailed that it is an order that is kept, or was lost with its Region.
func (a *closing) exists(id, what string) {
	if _, kept := a.kept[id]; kept {
		return
	}
	if _, listed := a.lost[id]; listed {
		return
	}
	for _, w := range a.history.Writes() {
		if w.Key != embedded.OrderKey(id) || !a.onALostDisk(w) {
			continue
		}
		if !slices.ContainsFunc(a.history.Acks(), func(ack history.Ack) bool { return ack.Key == w.Key }) {
			a.within(id, w, true) // else it was demanded with what was acknowledged
		}
		return
	}
	a.say("%s for nothing: order %q is neither kept nor lost with a Region%s", what, id, a.writesOf(id))
}

// writesOf tells where an order was committed.
func (a *closing) writesOf(id string) string {
	var all []history.Write
	for _, w := range a.history.Writes() {
		if w.Key == embedded.OrderKey(id) {
			all = append(all, w)
		}
	}
	if len(all) == 0 {
		return ", and was never committed"
	}
	return ", first committed in " + all[0].Store + " at " + all[0].At.String()
}
