package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// A closing is the account of one World at its end.
type closing struct {
	c *composition
	w *drtest.World
	f *embedded.Fleet

	start    time.Time // of the World
	history  *history.History
	kept     map[string]service.Order
	lost     map[string]time.Time // the loss list
	unread   []embedded.Unread
	moves    []embedded.Move
	stores   map[failover.Region]string // of the database
	charged  map[string]int
	calls    queue.LedgerReport
	rules    func(call string) []queue.Rule
	steps    []embedded.KeyStep
	sent     []embedded.Request
	claims   map[string]int // of keys, by their IDs
	puts     map[failover.Region]map[int]int
	longest  time.Duration // stop of a process
	refusals []embedded.Refusal
	dead     []deadCall
	blamed   []embedded.Blame
	taken    []embedded.Late // requests that processes took on after they were told to stop
	drain    time.Duration   // how long they may
	errs     []error
}

// closeBooks demands what the packages promise together, beside the checks of the World.
func (c *composition) closeBooks(ctx context.Context, w *drtest.World, f *embedded.Fleet, operator *embedded.Operator) []error {
	a := &closing{
		c: c, w: w, f: f, start: worldStart(w), history: w.History(), kept: map[string]service.Order{}, lost: operator.Lost(), unread: operator.Unread(), moves: f.Moves(),
		stores: map[failover.Region]string{}, charged: f.Payments.Charges(), rules: f.Ledger.Rules, steps: f.KeySteps(), longest: f.LongestStop(), refusals: f.Refusals(),
		dead: deadCalls(f), blamed: f.Blames(), taken: f.Late(), sent: f.Requests(), claims: f.Claims(), puts: f.Puts(), drain: f.Config.Settings.DrainDelay,
	}
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
	a.deferred()
	a.keys()
	a.requests()
	a.movesOfTheWriter()
	a.stops()
	a.givenUp()
	a.blames()
	a.late()
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
	if !known || !slices.ContainsFunc(a.moves, func(m embedded.Move) bool { return a.exposed(m, write) }) {
		a.say("beyond the exposure: order %q, committed in %s at %v, is lost and was in no exposure that was recorded", id, write.Store, write.At)
	}
}

// exposed reports whether a move may have lost a write, by its own record.
func (a *closing) exposed(m embedded.Move, write history.Write) bool {
	if m.Planned || m.Opened.IsZero() || write.Store != a.stores[m.From] {
		return false
	}
	if !m.Exposure.Known { // and a person has accepted that
		return m.AcceptLoss != nil && m.AcceptLoss.Exposure == failover.UnknownExposure && write.At <= a.since(m.Opened)
	}
	age := a.since(m.Exposure.AcknowledgedUntil) - write.At
	return age >= -clockSkew && age <= m.Exposure.Bound
}

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

// excuses are the cases in which a guarded call may run again: its lease was lost, its process died after the effect, it ended with an
// unknown outcome. A second copy is none: the guard is there to know it.
var excuses = []queue.Rule{queue.RuleLeaseLost, queue.RuleFailed, queue.RuleStopped, queue.RuleCrashed}

// ruleStoreLost is the last printed case: the key's store lost acknowledged writes, here all that had one copy when its Region was lost.
const ruleStoreLost queue.Rule = "its key had one copy, in the Region that was lost"

// deferred: every deferred call is accounted for, and what ran twice, or sent two mails, has a reason out of the promise.
func (a *closing) deferred() {
	for _, id := range a.calls.Lost {
		a.say("lost: deferred call %s", id)
	}
	for id := range a.calls.Repeated {
		if a.reason(id) == "" {
			a.say("done twice without a reason: deferred call %q: %v%s", id, a.calls.Repeated[id], a.stepsOfCall(id))
		}
	}
	mails := map[string]int{}
	for _, e := range a.history.Effects() {
		if e.Kind == "mail" {
			mails[e.Key]++
		}
	}
	for order, n := range mails {
		if n < 2 {
			continue
		}
		reason := a.reason("mail-" + order)
		if reason == "" {
			a.say("mailed twice: order %q, %d mails and no reason: %v%s", order, n, a.rules("mail-"+order), a.stepsOfCall("mail-"+order))
		}
		a.c.repeated[reason]++
	}
}

// reason returns why a call may have run twice, "" if there is none.
func (a *closing) reason(id string) queue.Rule {
	rules := a.rules(id)
	for _, r := range excuses {
		if slices.Contains(rules, r) {
			return r
		}
	}
	for _, m := range a.moves {
		if a.leftBehind(id, m) {
			return ruleStoreLost
		}
	}
	if a.killedWith(id) {
		return queue.RuleCrashed
	}
	return ""
}

// claimed is how long a call that was begun may still run: the lease of its key, by default.
const claimed = 30 * time.Second

// killedWith reports whether a process was killed with a call: its Region had begun it, and nobody had its result yet.
func (a *closing) killedWith(id string) bool {
	for _, m := range a.history.Marks() {
		region, _, app := strings.Cut(m.Name, "/app-")
		if m.Kind != history.MarkProcess || m.Text != "killed" || !app {
			continue
		}
		runs := false
		for _, s := range a.steps {
			at := a.since(s.At)
			if callOf(s.Key) != id || at > m.At || at < m.At-claimed {
				continue
			}
			runs = !s.Done && (runs || s.Region == region)
		}
		if runs {
			return true
		}
	}
	return false
}

// leftBehind reports whether an unplanned move has left the key of a call where it was: the Region that was lost knew the call, and the one that took over did not have
// its result when it opened.
func (a *closing) leftBehind(id string, m embedded.Move) bool {
	if m.Planned || m.Opened.IsZero() {
		return false
	}
	knew := false
	for _, s := range a.steps {
		if callOf(s.Key) != id || !s.At.Before(m.Opened) {
			continue
		}
		if s.Done && (s.Region == m.To || s.Copied) {
			return false
		}
		knew = knew || s.Region == m.From
	}
	return knew
}

// callOf is the call ID that a key belongs to; "" for that of a request.
func callOf(k idempotency.Key) string {
	_, id, _ := strings.Cut(k.ID, "/")
	return id
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
	type copyOf struct{ key, region string }
	done, first := map[copyOf]time.Duration{}, map[copyOf]time.Duration{} // first: of those that no other Region had
	for _, s := range a.steps {
		at := a.since(s.At)
		if s.Done {
			c := copyOf{nameOf(s.Key), s.Region}
			has := []copyOf{c}
			if s.Copied { // the source has it, whether or not it could say so
				has = append(has, copyOf{c.key, otherRegion(s.Region)})
			} else if first[c] == 0 {
				first[c] = at
			}
			for _, c := range has {
				if done[c] == 0 {
					done[c] = at
				}
			}
			continue
		}
		if effect, had := effects[callOf(s.Key)]; had && effect < at && !a.movedWithin(s, effect) {
			a.say("begun anew: call %q had its effect at %v and was begun as new in %s at %v", s.Key.ID, effect, s.Region, at)
		}
	}
	for c, at := range first {
		for _, m := range a.moves {
			if !m.Planned || m.Opened.IsZero() || m.From != c.region || a.since(m.Cut) < at {
				continue
			}
			if there, ok := done[copyOf{c.key, m.To}]; !ok || there > a.since(m.Opened) {
				a.say("left behind: key %q, done in %s at %v, was not in %s when the planned move to it opened, at %v%s", c.key, c.region, at, m.To, a.since(m.Opened), a.stepsOf(c.key))
			}
		}
	}
}

// stepsOf tells all that the stores did with a key.
func (a *closing) stepsOf(key string) string {
	var b strings.Builder
	for _, s := range a.steps {
		if nameOf(s.Key) == key {
			fmt.Fprintf(&b, "\n    %v %s: %+v", a.since(s.At), s.Region, s)
		}
	}
	return b.String()
}

// stepsOfCall tells all that the stores did with the key of a call.
func (a *closing) stepsOfCall(id string) string {
	for _, s := range a.steps {
		if callOf(s.Key) == id {
			return a.stepsOf(nameOf(s.Key))
		}
	}
	return ""
}

func otherRegion(r failover.Region) failover.Region {
	if r == embedded.East {
		return embedded.West
	}
	return embedded.East
}

// nameOf is what one key has and no other.
func nameOf(k idempotency.Key) string { return k.Scope + " " + k.Op + " " + k.ID }

// movedWithin reports whether the writer was moved without a plan, to where a call was begun as new and between its effect and that, and has left the key behind.
func (a *closing) movedWithin(begun embedded.KeyStep, effect time.Duration) bool {
	return slices.ContainsFunc(a.moves, func(m embedded.Move) bool {
		return m.To == begun.Region && a.since(m.Opened) >= effect && !m.Opened.After(begun.At) && a.leftBehind(callOf(begun.Key), m)
	})
}

// causes are the faults that are a reason to move the writer: the Region is lost, or cut off, or its process is. What other hosts answer is none.
var causes = []string{"region-down", "partition", "partition-one-way", "latency", "loss", "dns", "crash", "clock-skew", "az-down"}

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
		if !a.caused(a.since(m.Asked)) {
			a.say("the writer was moved to %s at %v without a cause: %s", m.To, a.since(m.Asked), m.Reason)
		}
	}
}

// longAfter is how long after a fault its traces may still be a reason.
const longAfter = time.Minute

func (a *closing) caused(at time.Duration) bool {
	return slices.ContainsFunc(a.history.Faults(), func(f history.Fault) bool {
		return slices.Contains(causes, f.Kind) && f.From <= at && at <= f.To+longAfter
	})
}

// busy is how many requests a second the SQS of a Region gets at the most for nothing: polls, extended leases, what is put off. Each order and each call that is done about then
// may add perDone: what has waited for a writer, or for a breaker, goes together, some hundred calls in a second. One call that is given back without a delay makes 2,587.
// Each call that is sent in it, the first time or again, may add one: what waits for its key is put off one by one, and when the key store goes while a hundred calls wait that is a hundred requests.
const (
	busy    = 150
	perDone = 2
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
			put := a.puts[region][second]
			a.c.busiest, a.c.idlest = max(a.c.busiest, n), max(a.c.idlest, n-float64(perDone*work+put))
			if most := busy + perDone*work + put; n > float64(most) {
				a.say("in circles: %s got %.0f requests in second %d, about which %d orders and calls were done, want at most %d", host, n, second, work, most)
				break
			}
			second++
		}
	}
}

// done counts the requests and the deferred calls that were done in each second, by the first result of each key.
func (a *closing) done() map[int]int {
	first := map[string]time.Duration{}
	for _, s := range a.steps {
		at, known := first[nameOf(s.Key)]
		if s.Done && (!known || a.since(s.At) < at) {
			first[nameOf(s.Key)] = a.since(s.At)
		}
	}
	n := map[int]int{}
	for _, at := range first {
		n[int(at/time.Second)]++
	}
	return n
}

// stops: every process stops within its deadline, and in quiet times fails nothing that it has taken in.
func (a *closing) stops() {
	a.c.longest = max(a.c.longest, a.longest)
	if a.longest > holdfast.StopTimeout {
		a.say("a process took %v to stop, want at most %v", a.longest, holdfast.StopTimeout)
	}
	for _, r := range a.refusals {
		if at := a.since(r.At); a.quiet(at) && r.Age >= settledIn {
			a.say("failed by its stop: process %q answered %s with %s at %v, in quiet times", r.Process, r.Request, r.Answer, at)
		}
	}
}

// quiet reports whether nothing has been wrong for a while that a request would notice.
func (a *closing) quiet(at time.Duration) bool {
	for _, f := range a.history.Faults() {
		if f.From <= at && at <= f.To+2*longAfter && f.Kind != "flag-store-down" { // which changes nothing on a request
			return false
		}
	}
	return !slices.ContainsFunc(a.moves, func(m embedded.Move) bool {
		return a.since(m.Asked) <= at && at <= a.since(m.Asked)+3*longAfter
	})
}
