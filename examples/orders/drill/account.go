package drill

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// An Account says what became of everything that was promised.
type Account struct {
	Acknowledged int         `json:"acknowledged"` // orders that a user was told of
	Found        int         `json:"found"`        // of them, in the writer's database
	Lost         []LostOrder `json:"lost"`         // of them, in the loss list
	Missing      []string    `json:"missing"`      // of them, in neither: must be empty

	Charged      int      `json:"charged"`
	ChargedTwice []string `json:"charged_twice"` // must be empty
	Uncharged    []string `json:"uncharged"`     // acknowledged, found, and neither charged nor, if the user was told that it is later, waiting: must be empty

	Mails       int         `json:"mails"`
	MailedTwice []MailTwice `json:"mailed_twice"` // each must have a reason

	Calls    queue.LedgerReport `json:"calls"`     // deferred
	DeadLost int                `json:"dead_lost"` // of them, dead because their order was lost with its Region
	DeadElse []string           `json:"dead_else"` // of them, dead for another reason: must be empty
	Unknown  []UnknownOrder     `json:"unknown"`   // orders without an answer
	Writes   int                `json:"writes_of_unknown_outcome"`
}

// A LostOrder was acknowledged and is gone with its Region.
type LostOrder struct {
	ID  string        `json:"id"`
	Age time.Duration `json:"age"` // from its acknowledgement to the loss of the Region
	At  time.Time     `json:"at"`  // of its acknowledgement

	exposure failover.Exposure // that the move away from the Region printed
}

// A loss is when a Region was lost, on the World's clock, and what the move away from it said might be lost.
type loss struct {
	at       time.Duration
	exposure failover.Exposure
}

// A MailTwice is an order whose mail went out more than once.
type MailTwice struct {
	Order string       `json:"order"`
	Times int          `json:"times"`
	Runs  int          `json:"runs"` // of its call: a mail for each at most
	Why   []queue.Rule `json:"why"`
}

// An UnknownOrder is one for which the user gave up without an answer.
type UnknownOrder struct {
	Key   string        `json:"key"`
	At    time.Duration `json:"at"`
	Error string        `json:"error"`
}

// The IDs of the deferred calls that mail and charge an order: service/place.go names them.
func mailCall(order string) string   { return "mail-" + order }
func chargeCall(order string) string { return "charge-" + order }

// settle waits until deferred calls are at rest: done, dead or held by nobody for longer. It looks into queues only then: a queue is looked into by receiving,
// which keeps workers from what is in it.
func (d *script) settle(ctx context.Context) queue.LedgerReport {
	var last queue.LedgerReport
	ended := func() bool { return last.Done+last.Dead+last.Dropped+last.Expired >= last.Accepted }
	start := time.Now()
	until(ctx, time.Second, d.cfg.Settle, func() bool {
		last = d.Calls.Check(ctx, nil)
		return ended()
	})
	until(ctx, time.Second, d.cfg.Settle-time.Since(start), func() bool {
		last = d.Calls.Check(ctx, d.Holdings())
		return len(last.Unverified) == 0 && last.Balanced() && ended()
	})
	if waiting := last.Accepted - last.Done - last.Dead - last.Dropped - last.Expired; waiting > 0 {
		d.tell("%d deferred calls still wait", waiting)
	} else {
		d.tell("deferred calls are at rest")
	}
	return last
}

// account closes the books.
func (d *script) account(ctx context.Context, h *history.History) (Account, map[string]bool, error) {
	a := Account{Calls: d.settle(ctx), Writes: len(d.Unknown())}
	orders, err := d.Orders(ctx)
	if err != nil {
		return a, nil, fmt.Errorf("drill: the orders of the writer: %w", err)
	}
	d.users.mu.Lock()
	told := maps.Clone(d.users.status)
	d.users.mu.Unlock()
	acked := map[string]time.Duration{}
	for _, ack := range h.Acks() {
		if ack.Class == classPlace {
			acked[ack.Key] = ack.At
		}
	}
	waiting := d.waiting(ctx) // before charges are counted: a call that has left since has charged
	charges := d.Charges()
	began := time.Now().Add(-d.World.Elapsed())
	for _, id := range slices.Sorted(maps.Keys(told)) {
		a.Acknowledged++
		lost, listed := d.lost[id]
		switch {
		case orders[id]:
			a.Found++
			if charges[id] == 0 && (told[id] == "paid" || !waiting[chargeCall(id)]) {
				a.Uncharged = append(a.Uncharged, id)
			}
		case listed:
			at := acked[ackKey(id)]
			a.Lost = append(a.Lost, LostOrder{id, lost.at - at, began.Add(at), lost.exposure})
		default:
			a.Missing = append(a.Missing, id)
		}
	}
	a.count(charges, d.Mails(), d.Calls)
	a.dead(d.Calls.Dead(), d.lost)
	a.list(h)
	return a, orders, nil
}

// waiting returns the deferred calls that some queue, dead-letter queue or spool holds. One that does not answer is told of in Account.Calls.
func (d *script) waiting(ctx context.Context) map[string]bool {
	all := map[string]bool{}
	for _, h := range d.Holdings() {
		ids, _ := h.Calls(ctx)
		for _, id := range ids {
			all[id] = true
		}
	}
	return all
}

func (a *Account) count(charges, mails map[string]int, calls *queue.Ledger) {
	for _, id := range slices.Sorted(maps.Keys(charges)) {
		a.Charged++
		if charges[id] > 1 {
			a.ChargedTwice = append(a.ChargedTwice, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(mails)) {
		a.Mails++
		if n := mails[id]; n > 1 {
			a.MailedTwice = append(a.MailedTwice, MailTwice{id, n, calls.Runs(mailCall(id)), calls.Rules(mailCall(id))})
		}
	}
}

// dead tells the calls apart that are dead. Those of an order that its Region lost must be: there is nothing to charge or to settle, and nothing to tell a user.
func (a *Account) dead(calls map[string]queue.Reason, lost map[string]loss) {
	for id, reason := range calls {
		_, order, _ := strings.Cut(id, "-") // service names calls after their order
		if _, gone := lost[order]; gone && (reason == queue.ReasonPermanent || reason == queue.ReasonStaleEpoch) {
			a.DeadLost++
		} else {
			a.DeadElse = append(a.DeadElse, fmt.Sprintf("%s (%s)", id, reason))
		}
	}
	slices.Sort(a.DeadElse)
}

func (a *Account) list(h *history.History) {
	for _, op := range h.Ops() {
		if op.Class == classPlace && op.Outcome == history.OutcomeUnknown {
			a.Unknown = append(a.Unknown, UnknownOrder{fmt.Sprintf("%s-%d-%d", op.Load, op.Client, op.Seq), op.Start, op.Err})
		}
	}
}

// broken lists what must not be.
func (a *Account) broken() (why []string) {
	say := func(n int, format string, args ...any) {
		if n > 0 {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	say(len(a.Missing), "%d acknowledged orders are neither in the database nor in the loss list: %v", len(a.Missing), few(a.Missing))
	say(len(a.ChargedTwice), "%d orders are charged twice: %v", len(a.ChargedTwice), few(a.ChargedTwice))
	say(len(a.Uncharged), "%d orders are neither charged nor does their charge wait: %v", len(a.Uncharged), few(a.Uncharged))
	say(len(a.Calls.Lost), "%d deferred calls are lost: %v", len(a.Calls.Lost), few(a.Calls.Lost))
	say(len(a.DeadElse), "%d deferred calls are dead and their orders are not: %v", len(a.DeadElse), few(a.DeadElse))
	say(len(a.Calls.Unexplained), "%d deferred calls ran twice without a reason: %v", len(a.Calls.Unexplained), few(a.Calls.Unexplained))
	say(len(a.Calls.Unverified), "%d holdings of deferred calls did not answer: %v", len(a.Calls.Unverified), few(a.Calls.Unverified))
	for _, m := range a.MailedTwice {
		switch {
		case len(m.Why) == 0:
			why = append(why, fmt.Sprintf("order %s was mailed %d times without a reason", m.Order, m.Times))
		case m.Times > m.Runs:
			why = append(why, fmt.Sprintf("order %s was mailed %d times in %d runs of its call", m.Order, m.Times, m.Runs))
		}
	}
	for _, l := range a.Lost {
		if outside := l.outside(); outside != "" {
			why = append(why, fmt.Sprintf("order %s was acknowledged %v before the Region was lost, %s", l.ID, l.Age, outside))
		}
	}
	return why
}

// outside says why an order is not one of those that the exposure allowed to lose, "" if it is. Its user may have been told an attempt's time-out after
// the writer said it.
func (l LostOrder) outside() string {
	e := l.exposure
	switch replicated := e.AcknowledgedUntil.Add(-e.Bound); {
	case !e.Known:
		return "and nobody knew the exposure"
	case l.Age > e.Bound, l.At.Before(replicated):
		return fmt.Sprintf("and the exposure was %v: what was acknowledged until %v was replicated", e.Bound, replicated)
	case l.At.After(e.AcknowledgedUntil.Add(attemptTimeout)):
		return fmt.Sprintf("after %v, from when its writer was fenced", e.AcknowledgedUntil)
	}
	return ""
}

func few(ids []string) []string { return ids[:min(5, len(ids))] }

// verdict is the account as a check, so that it stands in the report beside the others.
type verdict struct{ account Account }

func (v verdict) Name() string { return "Account" }

func (v verdict) Evaluate(*history.History) check.Verdict {
	a, why := v.account, v.account.broken()
	result := check.Verdict{
		Check: v.Name(), Status: check.StatusPassed, Want: "every acknowledged order found or lost within the exposure, none charged twice",
		Got: fmt.Sprintf("%d acknowledged: %d found, %d lost; %d charged, %d twice; %d mails, %d twice", a.Acknowledged, a.Found, len(a.Lost), a.Charged, len(a.ChargedTwice), a.Mails, len(a.MailedTwice)), Why: why,
	}
	if len(why) > 0 {
		result.Status = check.StatusFailed
	}
	return result
}
