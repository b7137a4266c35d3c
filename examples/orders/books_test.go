package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A closing is the account of one World at its end.
type closing struct {
	c *composition
	w *drtest.World
	f *embedded.Fleet

	atRest   bool      // no deferred call waits
	start    time.Time // of the World
	history  *history.History
	kept     map[string]service.Order
	lost     map[string]time.Time // the loss list
	unread   []embedded.Unread
	moves    []embedded.Move
	stores   map[failover.Region]string // of the database
	charged  map[string]int
	calls    queue.LedgerReport
	runs     []embedded.KeyRun
	results  []embedded.KeyResult
	mailed   []embedded.Request // of sent, those to the relays
	sent     []embedded.Request
	puts     map[failover.Region]map[int]embedded.Puts
	handled  []embedded.Handled // most often in a second, by the way of handling
	longest  time.Duration      // stop of a process
	refusals []embedded.Refusal
	dead     []deadCall
	blamed   []embedded.Blame
	taken    []embedded.Late // requests that processes took on after they were told to stop
	drain    time.Duration   // how long they may
	endings  []embedded.Ending
	rebuilt  []embedded.Rebuilt
	errs     []error
}

// closeBooks demands what the packages promise together, beside the checks of the World. atRest says that no deferred call waits.
func (c *composition) closeBooks(ctx context.Context, w *drtest.World, f *embedded.Fleet, operator *embedded.Operator, atRest bool) []error {
	a := &closing{
		c: c, w: w, f: f, atRest: atRest, start: worldStart(w), history: w.History(), kept: map[string]service.Order{}, lost: operator.Lost(), unread: operator.Unread(), moves: f.Moves(),
		stores: map[failover.Region]string{}, charged: f.Payments.Charges(), runs: f.KeyRuns(), results: f.KeyResults(), longest: f.LongestStop(), refusals: f.Refusals(),
		dead: deadCalls(f), blamed: f.Blames(), taken: f.Late(), sent: f.Requests(), puts: f.Puts(), handled: f.MostHandled(), drain: f.Config.Settings.DrainDelay,
		endings: f.Endings(), rebuilt: f.Rebuilt(),
	}
	a.mailed = slices.DeleteFunc(slices.Clone(a.sent), func(r embedded.Request) bool { return hostOf(r) != mails })
	for _, o := range f.Orders() {
		a.kept[o.ID] = o
	}
	for region, site := range f.Sites {
		a.stores[region] = site.Store.Name()
	}
	holdings, release, err := f.Holdings()
	if err != nil {
		return []error{err}
	}
	defer release()
	a.calls = f.Ledger.Check(ctx, holdings)
	c.accepted += operator.Accepted()
	return a.judge()
}

// judge demands everything of an account.
func (a *closing) judge() []error {
	a.acknowledged()
	a.refused()
	a.charges()
	a.paid()
	a.deferred()
	a.keys()
	a.requests()
	a.circles()
	a.movesOfTheWriter()
	a.stops()
	a.givenUp()
	a.blames()
	a.late()
	a.lateWork()
	a.amplification()
	a.toldOfLosses()
	return a.errs
}

// worldStart is when the clock of the World's records began.
func worldStart(w *drtest.World) time.Time { return time.Now().Add(-w.Elapsed()) }

func (a *closing) say(format string, args ...any) {
	a.errs = append(a.errs, fmt.Errorf(format, args...))
}

// since is an instant on the clock of the World's records.
func (a *closing) since(t time.Time) time.Duration { return t.Sub(a.start) }

// acknowledged: every acknowledged order is in the writer's database or in the loss list, and what is in the loss list was committed within the
// exposure that the group recorded at the switch. What was on a disk that nobody can read is in no list, and within the exposure all the same.
func (a *closing) acknowledged() {
	committed := map[string]history.Write{}
	for _, write := range a.history.Writes() {
		if _, known := committed[write.Key]; !known {
			committed[write.Key] = write
		}
	}
	lost := 0
	for _, ack := range a.history.Acks() {
		id := strings.TrimPrefix(ack.Key, embedded.OrderKey(""))
		if _, ok := a.kept[id]; ok {
			continue
		}
		lost++
		if _, listed := a.lost[id]; listed {
			continue
		}
		write, ok := committed[ack.Key]
		if !ok || !a.onALostDisk(write) {
			a.say("vanished: order %q, acknowledged at %v, is neither in the database nor in the loss list", id, ack.At)
			continue
		}
		a.c.unlisted++
		a.within(id, write, ok)
	}
	for id := range a.lost {
		write, ok := committed[embedded.OrderKey(id)]
		a.within(id, write, ok)
	}
	a.c.lost += lost
	if lost > 0 {
		a.c.lossy++
	}
}

// onALostDisk reports whether the store of a write was rebuilt unread after it.
func (a *closing) onALostDisk(write history.Write) bool {
	return slices.ContainsFunc(a.unread, func(u embedded.Unread) bool { return u.Store == write.Store && a.since(u.At) >= write.At })
}

// within demands that a lost order was in an exposure.
func (a *closing) within(id string, write history.Write, known bool) {
	i := slices.IndexFunc(a.moves, func(m embedded.Move) bool { return known && a.exposed(m, write) })
	switch {
	case i >= 0 && a.moves[i].Exposure.Known:
		a.c.exposed["a recorded exposure"]++
	case i >= 0:
		a.c.exposed["one that nobody knew, and a person accepted"]++
	default:
		a.c.exposed["none"]++
		a.say("beyond the exposure: order %q, committed in %s at %v, is lost and was in no exposure that was recorded", id, write.Store, write.At)
	}
}

// exposed reports whether a move may have lost a write, by its own record, or if nobody knew the exposure and a person has accepted that, and by what the World knows: the write came after
// the move before, and nothing that was well copied it. A record that is too wide excuses nothing.
func (a *closing) exposed(m embedded.Move, write history.Write) bool {
	if m.Planned || m.Opened.IsZero() || write.Store != a.stores[m.From] {
		return false
	}
	lossy := write.At >= a.termBefore(m) && a.uncopied(m, write.At)
	if !m.Exposure.Known {
		accepted := m.AcceptLoss != nil && m.AcceptLoss.Exposure == failover.UnknownExposure
		return accepted && write.At <= a.since(m.Opened) && lossy
	}
	age := a.since(m.Exposure.AcknowledgedUntil) - write.At
	return age >= -clockSkew && age <= m.Exposure.Bound && lossy
}

// termBefore is when the move before opened.
func (a *closing) termBefore(m embedded.Move) (at time.Duration) {
	for _, before := range a.moves {
		if !before.Opened.IsZero() && before.Opened.Before(m.Opened) {
			at = max(at, a.since(before.Opened))
		}
	}
	return at
}

// uncopied reports whether a copy of what was committed then may not have come to where the writer went: something was wrong with the way or with one of the ends, or that side had not been
// rebuilt since it had lost its role.
func (a *closing) uncopied(m embedded.Move, at time.Duration) bool {
	since := a.termBefore(m)
	rebuilt := since == 0 || slices.ContainsFunc(a.rebuilt, func(r embedded.Rebuilt) bool {
		return r.Store == a.stores[m.To] && since <= a.since(r.At) && a.since(r.At) <= at
	})
	return !rebuilt || slices.ContainsFunc(a.history.Faults(), func(f history.Fault) bool {
		return (strings.HasPrefix(f.Kind, "replication") || touches(f, embedded.East) || touches(f, embedded.West)) && f.From <= at+copied && at <= f.To+copied
	})
}

// copied is how long after its commit an order is in the copy, when all is well.
const copied = 2 * time.Second

// clockSkew is the default of failover.ControllerConfig.
const clockSkew = time.Second

// refused: what users were told was not done has no order, and one operation has one order at most.
func (a *closing) refused() {
	orders := map[string][]string{}
	for id, o := range a.kept {
		orders[o.Email] = append(orders[o.Email], id)
	}
	for _, op := range a.history.Ops() {
		if op.Class != "POST /orders" {
			continue
		}
		made := orders[embedded.Email(fmt.Sprintf("%s/%d/%d", op.Load, op.Client, op.Seq))]
		switch {
		case len(made) > 1:
			a.say("ordered twice: operation %d/%d has %d orders: %v", op.Client, op.Seq, len(made), made)
		case op.Outcome == history.OutcomeFailed && len(made) > 0:
			a.say("refused and done: operation %d/%d was refused at %v (%s), and there is order %s", op.Client, op.Seq, op.End, op.Err, made[0])
		}
	}
}

// charges: no order is charged twice. Payments know a repetition by its key, so that no printed case excuses one.
func (a *closing) charges() {
	for id, n := range a.charged {
		if n > 1 {
			a.say("charged twice: order %q, %d times", id, n)
		}
	}
}

// busy is how many requests a second the SQS of a Region gets at the most for nothing: polls, extended leases, what is put off. Each order and each call that is done about then
// may add perDone: what has waited for a writer, or for a breaker, goes together, some hundred calls in a second. One call that is given back without a delay makes 2,587.
// Each call that is sent in it, the first time or again, may add one: what waits for its key is put off one by one, and when the key store goes while a hundred calls wait that is a hundred requests.
// Once a queue has doubled what it gets there are copies of what waits, and each that is put off may add one as well.
// A message that is given up, since its order was lost with a Region, is sent to the dead-letter queue and deleted.
const (
	busy      = 100
	perDone   = 2
	perBuried = 2
)

// requests: nothing runs in circles. A call that cannot run is given back with a delay.
func (a *closing) requests() {
	done := a.done()
	for _, region := range []string{embedded.East, embedded.West} {
		host, second := "sqs."+region+".amazonaws.com", 0
		for ticks := range slices.Chunk(a.history.Requests(host), int(time.Second/history.Tick)) {
			n := 0.0
			for _, requests := range ticks {
				n += requests
			}
			work := done[second-1] + done[second] + done[second+1]
			put := a.puts[region][second].Calls + perBuried*a.puts[region][second].Buried
			if a.doubled(host, time.Duration(second)*time.Second) {
				put += a.puts[region][second].Copies
			}
			a.c.busiest, a.c.idlest = max(a.c.busiest, n), max(a.c.idlest, n-float64(perDone*work+put))
			if most := busy + perDone*work + put; n > float64(most) {
				a.say("in circles: %s got %.0f requests in second %d, about which %d orders and calls were done, want at most %d", host, n, second, work, most)
				break
			}
			second++
		}
	}
}

// copiesLast is for how long copies are counted that a queue made: those that wait for a database or a breaker are put off all the time.
const copiesLast = 2 * time.Minute

// doubled reports whether a host has got something twice by the end of a second, and not long ago.
func (a *closing) doubled(host string, second time.Duration) bool {
	return slices.ContainsFunc(a.history.Faults(), func(f history.Fault) bool {
		return f.Kind == string(fault.KindDuplicate) && slices.Contains(strings.Fields(f.Target), host) && f.From < second+time.Second && second <= f.To+copiesLast
	})
}

// sameMessage is how often processes do the same with one message in a second at the most: nothing is handed out again within a second, but a queue delivers twice, and a request
// whose answer is lost is repeated. sameDelete: a worker that gets no answer deletes three times in a second, at once and 0.1 s and 0.5 s later, each message that it holds. sameCall is how often they send one call so
// that it may run at once: what is sent again to be put off is not, by which a queue that delivers twice may make ever more copies.
const (
	sameMessage = 4
	sameDelete  = 6
	sameCall    = 8
)

// circles: nothing goes round with one message, which is seen here whatever else is done in that second.
func (a *closing) circles() {
	for _, h := range a.handled {
		a.c.handled[h.What] = max(a.c.handled[h.What], h.Times)
		most := sameMessage
		switch h.What {
		case embedded.Deleted:
			most = sameDelete
		case embedded.SentNow:
			most = sameCall
		}
		if h.Times > most {
			a.say("round and round: %q was %s %d times in %s in second %d, want at most %d", h.ID, h.What, h.Times, h.Region, h.Second, most)
		}
	}
}

// done counts the requests and the deferred calls that were done in each second, by the first result of each key.
func (a *closing) done() map[int]int {
	first := map[string]time.Duration{}
	for _, r := range a.results {
		if at, known := first[nameOf(r.Key)]; !known || a.since(r.At) < at {
			first[nameOf(r.Key)] = a.since(r.At)
		}
	}
	n := map[int]int{}
	for _, at := range first {
		n[int(at/time.Second)]++
	}
	return n
}
