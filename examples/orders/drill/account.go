package drill

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
	Uncharged    []string `json:"uncharged"`     // acknowledged, found, and neither charged nor waiting: must be empty

	Mails       int         `json:"mails"`
	MailedTwice []MailTwice `json:"mailed_twice"` // each must have a reason

	Calls   queue.LedgerReport `json:"calls"`   // deferred
	Unknown []UnknownOrder     `json:"unknown"` // orders without an answer
	Writes  int                `json:"writes_of_unknown_outcome"`
}

// A LostOrder was acknowledged and is gone with its Region.
type LostOrder struct {
	ID  string        `json:"id"`
	Age time.Duration `json:"age"` // from its acknowledgement to the loss of the Region
}

// A MailTwice is an order whose mail went out more than once.
type MailTwice struct {
	Order string       `json:"order"`
	Times int          `json:"times"`
	Why   []queue.Rule `json:"why"`
}

// An UnknownOrder is one for which the user gave up without an answer.
type UnknownOrder struct {
	Key   string        `json:"key"`
	At    time.Duration `json:"at"`
	Error string        `json:"error"`
}

// mailCall is the ID of the deferred call that mails an order: service/place.go names it.
func mailCall(order string) string { return "mail-" + order }

// settle waits until deferred calls are at rest: done, dead or held by nobody for longer.
func (d *script) settle(ctx context.Context) queue.LedgerReport {
	var last queue.LedgerReport
	until(ctx, time.Second, d.cfg.Settle, func() bool {
		last = d.Calls.Check(ctx, d.Holdings())
		return len(last.Unverified) == 0 && last.Balanced() && last.Done+last.Dead+last.Dropped+last.Expired >= last.Accepted
	})
	return last
}

// account closes the books. lostAt is when the Region was lost, on the World's clock.
func (d *script) account(ctx context.Context, h *history.History, lostAt time.Duration) (Account, map[string]bool, error) {
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
	charges := d.Charges()
	for _, id := range slices.Sorted(maps.Keys(told)) {
		a.Acknowledged++
		switch {
		case orders[id]:
			a.Found++
			if charges[id] == 0 && told[id] == "paid" {
				a.Uncharged = append(a.Uncharged, id)
			}
		case slices.Contains(d.lost, id):
			a.Lost = append(a.Lost, LostOrder{id, lostAt - acked[ackKey(id)]})
		default:
			a.Missing = append(a.Missing, id)
		}
	}
	a.count(charges, d.Mails(), d.Calls)
	a.list(h)
	return a, orders, nil
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
			a.MailedTwice = append(a.MailedTwice, MailTwice{id, n, calls.Rules(mailCall(id))})
		}
	}
}

func (a *Account) list(h *history.History) {
	for _, op := range h.Ops() {
		if op.Class == classPlace && op.Outcome == history.OutcomeUnknown {
			a.Unknown = append(a.Unknown, UnknownOrder{fmt.Sprintf("%s-%d-%d", op.Load, op.Client, op.Seq), op.Start, op.Err})
		}
	}
}

// broken lists what must not be.
func (a *Account) broken(exposure failover.Exposure) (why []string) {
	say := func(n int, format string, args ...any) {
		if n > 0 {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	say(len(a.Missing), "%d acknowledged orders are neither in the database nor in the loss list: %v", len(a.Missing), few(a.Missing))
	say(len(a.ChargedTwice), "%d orders are charged twice: %v", len(a.ChargedTwice), few(a.ChargedTwice))
	say(len(a.Uncharged), "%d orders are called paid and were not charged: %v", len(a.Uncharged), few(a.Uncharged))
	say(len(a.Calls.Lost), "%d deferred calls are lost: %v", len(a.Calls.Lost), few(a.Calls.Lost))
	say(len(a.Calls.Unexplained), "%d deferred calls ran twice without a reason: %v", len(a.Calls.Unexplained), few(a.Calls.Unexplained))
	for _, m := range a.MailedTwice {
		if len(m.Why) == 0 {
			why = append(why, fmt.Sprintf("order %s was mailed %d times without a reason", m.Order, m.Times))
		}
	}
	for _, l := range a.Lost {
		if l.Age > exposure.Bound {
			why = append(why, fmt.Sprintf("order %s was acknowledged %v before the Region was lost; the exposure was %v", l.ID, l.Age, exposure.Bound))
		}
	}
	return why
}

func few(ids []string) []string { return ids[:min(5, len(ids))] }

// verdict is the account as a check, so that it stands in the report beside the others.
type verdict struct {
	account  Account
	exposure failover.Exposure
}

func (v verdict) Name() string { return "Account" }

func (v verdict) Evaluate(*history.History) check.Verdict {
	a, why := v.account, v.account.broken(v.exposure)
	result := check.Verdict{
		Check: v.Name(), Status: check.StatusPassed, Want: "every acknowledged order found or lost within the exposure, none charged twice",
		Got: fmt.Sprintf("%d acknowledged: %d found, %d lost; %d charged, %d twice; %d mails, %d twice", a.Acknowledged, a.Found, len(a.Lost), a.Charged, len(a.ChargedTwice), a.Mails, len(a.MailedTwice)), Why: why,
	}
	if len(why) > 0 {
		result.Status = check.StatusFailed
	}
	return result
}
