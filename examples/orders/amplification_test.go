package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/failover"
)

// What a budget pays for, by the defaults of retry.BudgetConfig: a share of the calls, some a second, and what it has saved up.
const (
	perCall   = .2
	perSecond = 3
	savedUp   = 10
)

// amplification: whoever repeats requests has a budget for that: in any time at all, however long, all that it sends is at most 1.2 for each call + 3 a second + the 10 that are saved
// up. That is at most 1.2 + 3/s ÷ the rate of its calls, and 10 requests once; of N processes together 1.2 + N · 3/s ÷ their rate, and N · 10. Nothing is sent twice beside that.
func (a *closing) amplification() {
	a.begunAgain()
	from := map[string][]embedded.Request{}
	for _, r := range a.sent {
		from[r.From] = append(from[r.From], r)
	}
	for _, who := range slices.Sorted(maps.Keys(from)) {
		a.withinBudget(who, from[who])
	}
	a.beside()
	a.mostFor()
}

// begunAgain: a charge whose run began after the request before had ended repeats none: the attempts between were refused on their way out, by a breaker say, and when they were paid for
// nobody has seen.
func (a *closing) begunAgain() {
	began := map[string][]time.Time{} // runs, by process and order
	for _, r := range a.runs {
		if order, ok := strings.CutPrefix(r.Key.ID, chargeKey); ok {
			began[r.Process+" "+order] = append(began[r.Process+" "+order], r.Began)
		}
	}
	for i := range a.sent {
		r := &a.sent[i]
		between := func(at time.Time) bool { return r.Paid.Before(at) && !at.After(r.At) }
		if r.Again && hostOf(*r) == payments && slices.ContainsFunc(began[r.Process+" "+r.For], between) {
			r.Again, r.Paid = false, r.At
		}
	}
}

// withinBudget plays what was paid for against a budget that begins full. What comes at one instant has no order: calls that begin then may have paid in after what was spent.
func (a *closing) withinBudget(who string, sent []embedded.Request) {
	turn := func(r embedded.Request) int {
		if r.Again {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(sent, func(x, y embedded.Request) int { return cmp.Or(x.Paid.Compare(y.Paid), cmp.Compare(turn(x), turn(y))) })
	var at, since time.Time
	spent, calls, again := 0., 0, 0
	for _, r := range sent {
		spent -= perSecond * r.Paid.Sub(at).Seconds()
		if !r.Again {
			spent -= perCall
		}
		if spent < 0 {
			spent, calls, again, since = 0, 0, 0, r.Paid
		}
		at = r.Paid
		if !r.Again {
			calls++
			continue
		}
		spent++
		again++
		a.c.spent = max(a.c.spent, spent)
		if spent > savedUp+rounding {
			a.say("amplified: %s sent %d requests for %d calls in %v, from %v on, want at most 1.2 for each, 3 a second, and 10", who, calls+again, calls, at.Sub(since), a.since(since))
			return
		}
	}
}

const rounding = 1e-3 // a budget counts in millionths, and time in nanoseconds

// beside: requests that no budget has paid for are first ones: one for each operation of users, and for payments and the relays at most one for each run under the key of a call.
func (a *closing) beside() {
	type call struct{ host, what string }
	first, begun := map[call]int{}, map[string]int{}
	for _, r := range a.runs {
		begun[r.Key.ID]++
	}
	for _, r := range a.sent {
		if !r.Again && r.For != "" {
			first[call{hostOf(r), r.For}]++
		}
	}
	for c, n := range first {
		runs := 1
		switch c.host {
		case payments:
			runs = begun[chargeKey+c.what]
		case mails:
			runs = begun[mailKey+c.what]
		}
		if n > runs {
			a.say("repeated beside the budget: %s got %d first requests for %q, which ran %d times", c.host, n, c.what, runs)
		}
	}
}

// The hops that are told apart, and the IDs of keys of deferred calls before the order's.
const (
	toService = "the service"
	payments  = "payments"
	mails     = "the mail relays"
	chargeKey = "orders.charge.v1/charge-"
	mailKey   = "orders.mail.v1/mail-"
)

func hostOf(r embedded.Request) string {
	switch {
	case r.Host == embedded.PaymentsHost:
		return payments
	case strings.HasPrefix(r.Host, "mail."):
		return mails
	}
	return toService
}

// lookAt is how long the record counts requests, and enough how many calls must be among them.
const (
	lookAt = 10 * time.Second
	enough = 10
)

// mostFor keeps for the record how many requests for a call each hop has got at the most.
func (a *closing) mostFor() {
	type window struct {
		host string
		n    time.Duration
	}
	calls, requests := map[window]int{}, map[window]int{}
	for _, r := range a.sent {
		w := window{hostOf(r), a.since(r.Paid) / lookAt}
		requests[w]++
		if !r.Again {
			calls[w]++
		}
	}
	for w, n := range calls {
		if n >= enough {
			a.c.amplified[w.host] = max(a.c.amplified[w.host], math.Round(100*float64(requests[w])/float64(n))/100)
		}
	}
}

// toldOfLosses: nobody is told of an order by a writer that does not have it, nor pays for it: once a move has opened that lost it, its mail is not sent, and it is not charged.
func (a *closing) toldOfLosses() {
	committed := map[string]history.Write{}
	for _, w := range a.history.Writes() {
		if _, known := committed[w.Key]; !known {
			committed[w.Key] = w
		}
	}
	for _, r := range a.sent {
		write, known := committed[embedded.OrderKey(r.For)]
		what, told := map[string]string{mails: "mail", payments: "charge"}[hostOf(r)]
		if _, there := a.kept[r.For]; there || !known || !told {
			continue
		}
		if _, listed := a.lost[r.For]; !listed && !a.onALostDisk(write) {
			continue
		}
		for _, m := range a.moves {
			if a.exposed(m, write) && a.since(m.Opened) >= write.At && a.after(r, m) {
				a.say("told of a loss: %s sent the %s of order %q at %v, which the move to %s had lost at %v", r.From, what, r.For, a.since(r.At), m.To, a.since(m.Opened))
				return
			}
		}
	}
}

// after reports whether a request was sent by a process that writes after a move: where it led to, or wherever a later one did.
func (a *closing) after(r embedded.Request, m embedded.Move) bool {
	region, _, _ := strings.Cut(r.From, "/")
	return slices.ContainsFunc(a.moves, func(later embedded.Move) bool {
		return later.To == region && !later.Opened.IsZero() && !later.Opened.Before(m.Opened) && !r.At.Before(later.Opened)
	})
}

// Calls that wait are put off one by one: each may add a request to its second, and one that goes in circles adds more. So may each copy, where a queue makes some.
func TestPutOffCallsAreCounted(t *testing.T) {
	const sqs = "sqs.us-east-1.amazonaws.com"
	doubles := func(host string, from time.Duration) func(*closing) {
		return func(a *closing) { unwell(a, "duplicate", host, from, from+2*time.Second) }
	}
	for name, tt := range map[string]struct {
		spoil   func(*closing)
		allowed int // requests beyond the limit
	}{
		"a queue that doubles nothing": {func(*closing) {}, 40},
		"one that does":                {doubles(sqs, 20*time.Second), 65},
		"one that has":                 {doubles(sqs, 10*time.Second), 65},
		"one that has, long ago":       {func(a *closing) { unwell(a, "duplicate", sqs, -4*time.Minute, -3*time.Minute) }, 40},
		"one that will":                {doubles(sqs, 21*time.Second), 40},
		"that of the other Region":     {doubles("sqs.us-west-2.amazonaws.com", 10*time.Second), 40},
	} {
		for more, want := range map[int]int{tt.allowed: 0, tt.allowed + 1: 1} {
			a := sound()
			tt.spoil(a)
			a.puts = map[failover.Region]map[int]embedded.Puts{embedded.East: {20: {Calls: 40, Copies: 25}}}
			besiege(a, busy+more, 20*time.Second)
			if a.requests(); len(a.errs) != want {
				t.Errorf("%s: %d requests above the limit while 40 calls were sent, and 25 copies: %v, want %d sentences", name, more, a.errs, want)
			}
		}
	}
}

// Each message that is given up may add two requests: when a move has lost orders their calls go together.
func TestBuriedCallsAreCounted(t *testing.T) {
	for more, want := range map[int]int{perBuried * 60: 0, perBuried*60 + 1: 1} {
		a := sound()
		a.puts = map[failover.Region]map[int]embedded.Puts{embedded.East: {20: {Buried: 60}}}
		besiege(a, busy+more, 20*time.Second)
		if a.requests(); len(a.errs) != want {
			t.Errorf("%d requests above the limit while 60 messages were given up: %v, want %d sentences", more, a.errs, want)
		}
	}
}

// Each of these invariants sees the record that breaks it, and nothing else does.
func TestRepetitionsAndLossesAreSeen(t *testing.T) {
	at := func(d time.Duration) time.Time { return worldBegan.Add(d) }
	mailTo := func(from, order string, when time.Duration) embedded.Request {
		return embedded.Request{From: from, Host: embedded.RelayHost(embedded.West), For: order, At: at(when), Paid: at(when)}
	}
	storm := func(again int, every time.Duration) (sent []embedded.Request) {
		sent = append(sent, embedded.Request{From: "users", Host: "orders", For: "buy/0/1", At: at(time.Second), Paid: at(time.Second)})
		for n := range again {
			when := at(time.Second + time.Duration(n)*every)
			sent = append(sent, embedded.Request{From: "users", Host: "orders", For: "buy/0/1", Again: true, At: when, Paid: when})
		}
		return sent
	}
	charges := func(a *closing, order string, began, sent time.Duration, again bool) {
		a.runs = append(a.runs, attempt(charge(order), embedded.East, began, began+time.Second))
		a.sent = append(a.sent, embedded.Request{
			From: "us-east-1/app-0, life 1", Process: "us-east-1/app-0", Host: embedded.PaymentsHost, For: order, Again: again, At: at(sent), Paid: at(time.Second),
		})
	}
	burst := func(a *closing) { // all that is saved up
		a.sent = nil
		for n := range 10 {
			charges(a, fmt.Sprint("burst-", n), time.Second, time.Second, false)
		}
		for _, first := range a.sent {
			first.Again = true
			a.sent = append(a.sent, first)
		}
	}
	after := func(a *closing, more int) { // repeats as many again, in a moment
		for _, r := range a.sent[:more] {
			r.Again, r.Paid = true, r.Paid.Add(time.Microsecond)
			a.sent = append(a.sent, r)
		}
	}
	for name, tt := range map[string]struct {
		spoil func(*closing)
		want  string // of the one sentence; "" = none
	}{
		"a burst of charges":                          {spoil: burst},
		"and what calls of that instant have paid in": {spoil: func(a *closing) { burst(a); after(a, 2) }},
		"and more than they have":                     {spoil: func(a *closing) { burst(a); after(a, 3) }, want: "amplified: us-east-1/app-0, life 1"},
		"and one more, sent later": {spoil: func(a *closing) {
			burst(a)
			charges(a, "late", time.Second, 2*time.Second, true)
		}, want: "amplified: us-east-1/app-0, life 1"},
		"and one more, whose run began later": {spoil: func(a *closing) {
			burst(a)
			charges(a, "late", 50*time.Second, 51*time.Second, true)
		}},
		"sound":                          {spoil: func(*closing) {}},
		"what is saved up":               {spoil: func(a *closing) { a.sent = storm(10, time.Millisecond) }},
		"three a second for a minute":    {spoil: func(a *closing) { a.sent = storm(180, time.Second/3) }},
		"more than is saved up":          {spoil: func(a *closing) { a.sent = storm(11, time.Millisecond) }, want: "amplified: users sent 12 requests for 1 calls"},
		"four a second":                  {spoil: func(a *closing) { a.sent = storm(60, time.Second/4) }, want: "amplified: users"},
		"an operation that begins twice": {spoil: func(a *closing) { a.sent = append(storm(0, 0), storm(0, 0)...) }, want: `repeated beside the budget: the service got 2 first requests for "buy/0/1"`},
		"a mail for each run":            {spoil: func(a *closing) { a.sent = []embedded.Request{mailTo("us-west-2/app-0, life 1", "kept", time.Second)} }},
		"two mails of one run":           {spoil: func(a *closing) { a.sent = append(a.sent, a.sent...) }, want: `repeated beside the budget: the mail relays got 2 first requests for "kept", which ran 1 times`},
		"a mail of a lost order, before": {spoil: func(a *closing) {
			a.sent = []embedded.Request{mailTo("us-east-1/app-0, life 1", "lost", 61*time.Second)}
		}},
		"by who has written before, and after": {spoil: func(a *closing) {
			a.sent = []embedded.Request{mailTo("us-east-1/app-0, life 1", "lost", 80*time.Second)}
		}},
		"by the new writer": {spoil: func(a *closing) {
			a.sent = []embedded.Request{mailTo("us-west-2/app-0, life 2", "lost", 80*time.Second)}
		}, want: `told of a loss: us-west-2/app-0, life 2 sent the mail of order "lost"`},
		"a charge by the new writer": {spoil: func(a *closing) {
			r := mailTo("us-west-2/app-0, life 2", "lost", 80*time.Second)
			r.Host = embedded.PaymentsHost
			a.sent = []embedded.Request{r}
		}, want: `told of a loss: us-west-2/app-0, life 2 sent the charge of order "lost"`},
		"a charge before": {spoil: func(a *closing) {
			r := mailTo("us-east-1/app-0, life 1", "lost", 61*time.Second)
			r.Host = embedded.PaymentsHost
			a.sent = []embedded.Request{r}
		}},
		"at home again": {spoil: func(a *closing) {
			a.moves = append(a.moves, embedded.Move{Opened: at(3 * time.Minute), Transition: failover.Transition{From: embedded.West, To: embedded.East, Planned: true}})
			a.sent = []embedded.Request{mailTo("us-east-1/app-0, life 3", "lost", 4*time.Minute)}
		}, want: "told of a loss: us-east-1/app-0, life 3"},
	} {
		t.Run(name, func(t *testing.T) {
			a := sound()
			a.runs = append(a.runs, attempt(mail("lost"), embedded.East, time.Minute, 61*time.Second), attempt(charge("lost"), embedded.East, time.Minute, 61*time.Second))
			a.sent = []embedded.Request{mailTo("us-east-1/app-0, life 1", "kept", time.Second)}
			tt.spoil(a)
			a.amplification()
			a.toldOfLosses()
			switch {
			case tt.want == "" && len(a.errs) > 0, tt.want != "" && len(a.errs) != 1:
				t.Errorf("%d sentences, %v, want %q", len(a.errs), a.errs, tt.want)
			case tt.want != "" && !strings.HasPrefix(a.errs[0].Error(), tt.want):
				t.Errorf("got %q, want %q", a.errs[0], tt.want)
			}
		})
	}
}
