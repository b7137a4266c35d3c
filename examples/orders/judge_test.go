package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// worldBegan is when the doctored Worlds began.
var worldBegan = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// because says of one call why it ran twice, as a queue.Ledger does.
func because(call string, why queue.Rule) func(string) []queue.Rule {
	return func(id string) []queue.Rule {
		if id != call {
			return nil
		}
		return []queue.Rule{why}
	}
}

// sound is an account in which all is well: an order that was bought, charged and mailed in the east, and one that was lost within the exposure of a move with a cause.
func sound() *closing {
	h := history.New()
	a := &closing{
		c: newComposition(), start: worldBegan, history: h, kept: map[string]service.Order{"kept": {ID: "kept", Email: embedded.Email("buy/0/1")}},
		lost: map[string]time.Time{"lost": worldBegan.Add(2 * time.Minute)}, stores: map[failover.Region]string{embedded.East: "orders-east", embedded.West: "orders-west"},
		charged: map[string]int{"kept": 1}, rules: func(string) []queue.Rule { return nil }, longest: time.Second,
		moves: []embedded.Move{{Opened: worldBegan.Add(75 * time.Second), Transition: failover.Transition{
			From: embedded.East, To: embedded.West, Asked: worldBegan.Add(65 * time.Second), Cut: worldBegan.Add(70 * time.Second), Reason: "lost",
			Exposure: failover.Exposure{Known: true, AcknowledgedUntil: worldBegan.Add(64 * time.Second), Bound: 10 * time.Second},
		}}},
		steps: []embedded.KeyStep{
			{Region: embedded.East, Key: charge("kept"), At: worldBegan.Add(time.Second)},
			{Region: embedded.East, Key: charge("kept"), Done: true, At: worldBegan.Add(2 * time.Second)},
			{Region: embedded.West, Key: charge("kept"), Done: true, At: worldBegan.Add(2 * time.Second)},
		},
	}
	h.AddStore("orders-east", "orders-east")
	h.AddStore("orders-west", "orders-east")
	h.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("kept"), At: time.Second})
	h.AddAck(history.Ack{Key: embedded.OrderKey("kept"), At: time.Second})
	h.AddOp(history.Op{Class: "POST /orders", Load: "buy", Client: 0, Seq: 1, Start: time.Second, End: 2 * time.Second})
	h.AddEffect(history.Effect{Kind: "charge", Key: "kept", At: 1500 * time.Millisecond})
	h.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 2 * time.Second})
	n := h.FaultStarts(history.Fault{Kind: "region-down", Target: "region-down us-east-1", From: time.Minute})
	h.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("lost"), At: 60 * time.Second})
	h.AddAck(history.Ack{Key: embedded.OrderKey("lost"), At: 60 * time.Second})
	h.FaultEnds(n, 90*time.Second)
	return a
}

// charge is the key of the deferred charge of an order; callOf says "charge-" and the order.
func charge(order string) idempotency.Key {
	return idempotency.Key{ID: "orders.charge.v1/charge-" + order}
}

func mail(order string) idempotency.Key { return idempotency.Key{ID: "orders.mail.v1/mail-" + order} }

// planned makes the move of a sound account a planned one.
func planned(a *closing) {
	a.moves[0].Planned = true
	a.lost = nil
	a.kept["lost"] = service.Order{ID: "lost"}
}

// Every invariant of the composition sees the record that breaks it, says so in its own sentence and nothing else.
func TestEveryInvariantSeesItsViolation(t *testing.T) {
	for name, tt := range map[string]struct {
		doctor func(*closing)
		want   string // "" = the account is sound
	}{
		"all is well":                   {func(*closing) {}, ""},
		"an acknowledged order is gone": {func(a *closing) { a.lost = nil }, `vanished: order "lost", acknowledged at 1m0s, is neither in the database nor in the loss list`},
		"an order is gone whose disk nobody could read": {func(a *closing) {
			a.lost, a.unread = nil, []embedded.Unread{{Store: "orders-east", At: worldBegan.Add(2 * time.Minute)}}
		}, ""},
		"another disk could not be read": {func(a *closing) {
			a.lost, a.unread = nil, []embedded.Unread{{Store: "orders-west", At: worldBegan.Add(2 * time.Minute)}}
		}, `vanished: order "lost"`},
		"the disk was lost before the order": {func(a *closing) {
			a.lost, a.unread = nil, []embedded.Unread{{Store: "orders-east", At: worldBegan.Add(30 * time.Second)}}
		}, `vanished: order "lost"`},
		"a lost disk had more than the exposure": {func(a *closing) {
			a.lost, a.unread, a.moves[0].Exposure.Bound = nil, []embedded.Unread{{Store: "orders-east", At: worldBegan.Add(2 * time.Minute)}}, 3*time.Second
		}, `beyond the exposure: order "lost"`},
		"more was lost than the exposure says":                     {func(a *closing) { a.moves[0].Exposure.Bound = 3 * time.Second }, `beyond the exposure: order "lost", committed in orders-east at 1m0s, is lost and was in no exposure that was recorded`},
		"an order was acknowledged after the last acknowledgement": {func(a *closing) { a.moves[0].Exposure.AcknowledgedUntil = worldBegan.Add(50 * time.Second) }, `beyond the exposure: order "lost"`},
		"a planned move lost an order":                             {func(a *closing) { a.moves[0].Planned = true }, `beyond the exposure: order "lost"`},
		"a move that never opened lost an order":                   {func(a *closing) { a.moves[0].Opened = time.Time{} }, `beyond the exposure: order "lost"`},
		"the order was lost where the writer was not":              {func(a *closing) { a.moves[0].From, a.moves[0].To = embedded.West, embedded.East }, `beyond the exposure: order "lost"`},
		"nobody knew the exposure":                                 {func(a *closing) { a.moves[0].Exposure.Known = false }, `beyond the exposure: order "lost"`},
		"nobody knew the exposure, and a person accepted that": {func(a *closing) {
			a.moves[0].Exposure.Known, a.moves[0].AcceptLoss = false, &failover.AcceptLoss{Exposure: failover.UnknownExposure}
		}, ""},
		"a refused operation has an order": {func(a *closing) {
			a.history.AddOp(history.Op{Class: "POST /orders", Load: "buy", Client: 1, Seq: 7, Start: 3 * time.Second, End: 4 * time.Second, Outcome: history.OutcomeFailed, Err: "503"})
			a.kept["x"] = service.Order{ID: "x", Email: embedded.Email("buy/1/7")}
		}, "refused and done: operation 1/7 was refused at 4s (503), and there is order x"},
		"an operation of unknown outcome has an order": {func(a *closing) {
			a.history.AddOp(history.Op{Class: "POST /orders", Load: "buy", Client: 1, Seq: 7, End: 4 * time.Second, Outcome: history.OutcomeUnknown})
			a.kept["x"] = service.Order{ID: "x", Email: embedded.Email("buy/1/7")}
		}, ""},
		"an operation has two orders": {func(a *closing) {
			a.kept["x"] = service.Order{ID: "x", Email: embedded.Email("buy/0/1")}
		}, "ordered twice: operation 0/1 has 2 orders"},
		"an order is charged twice":  {func(a *closing) { a.charged["kept"] = 2 }, `charged twice: order "kept", 2 times`},
		"a deferred call is nowhere": {func(a *closing) { a.calls.Lost = []string{"mail-kept"} }, "lost: deferred call mail-kept"},
		"a call is done twice":       {func(a *closing) { a.calls.Repeated = map[string][]queue.Rule{"mail-kept": nil} }, `done twice without a reason: deferred call "mail-kept"`},
		"a call is done twice, for its lease was lost": {func(a *closing) {
			a.calls.Repeated = map[string][]queue.Rule{"mail-kept": {queue.RuleLeaseLost}}
			a.rules = because("mail-kept", queue.RuleLeaseLost)
		}, ""},
		"a call is done twice, for it came twice": {func(a *closing) {
			a.calls.Repeated = map[string][]queue.Rule{"mail-kept": {queue.RuleSendUnknown}}
			a.rules = because("mail-kept", queue.RuleSendUnknown)
		}, `done twice without a reason: deferred call "mail-kept"`},
		"two mails": {func(a *closing) { a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 3 * time.Second}) }, `mailed twice: order "kept", 2 mails and no reason: []`},
		"two mails, for the first Region kept the key when it was lost": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.East, Key: mail("kept"), At: worldBegan.Add(time.Second)})
			a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 80 * time.Second})
		}, ""},
		"two mails, and the Region that took over had the key": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.East, Key: mail("kept"), At: worldBegan.Add(time.Second)},
				embedded.KeyStep{Region: embedded.West, Key: mail("kept"), Done: true, At: worldBegan.Add(3 * time.Second)})
			a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 80 * time.Second})
		}, `mailed twice: order "kept"`},
		"two mails, and the Region that was lost never knew the key": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.West, Key: mail("kept"), Done: true, At: worldBegan.Add(80 * time.Second)})
			a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 81 * time.Second})
		}, `mailed twice: order "kept"`},
		"two mails, and only the Region that took over knew the key": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.West, Key: mail("kept"), At: worldBegan.Add(time.Second)})
			a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 81 * time.Second})
		}, `mailed twice: order "kept"`},
		"two mails, and the key came after the move": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.East, Key: mail("kept"), Done: true, At: worldBegan.Add(80 * time.Second)})
			a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 81 * time.Second})
		}, `mailed twice: order "kept"`},
		"two mails, for the process was killed with the first": {func(a *closing) { killedAt(a, "us-east-1", 3*time.Second) }, ""},
		"two mails, and another process was killed":            {func(a *closing) { killedAt(a, "us-west-2", 3*time.Second) }, `mailed twice: order "kept"`},
		"two mails, and the process was killed before":         {func(a *closing) { killedAt(a, "us-east-1", time.Second) }, `mailed twice: order "kept"`},
		"two mails, and the process was killed long after":     {func(a *closing) { killedAt(a, "us-east-1", 40*time.Second) }, `mailed twice: order "kept"`},
		"two mails, and the process was killed with its result stored": {func(a *closing) {
			killedAt(a, "us-east-1", 6*time.Second)
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.East, Key: mail("kept"), Done: true, At: worldBegan.Add(5 * time.Second)})
		}, `mailed twice: order "kept"`},
		"a call that had its effect is begun anew": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.East, Key: charge("kept"), At: worldBegan.Add(4 * time.Second)})
		}, `begun anew: call "orders.charge.v1/charge-kept" had its effect at 1.5s and was begun as new in us-east-1 at 4s`},
		"a call is begun anew behind a move that took its key along": {func(a *closing) {
			a.steps = append(a.steps, embedded.KeyStep{Region: embedded.West, Key: charge("kept"), At: worldBegan.Add(80 * time.Second)})
		}, "begun anew"},
		"a call is begun anew behind a move that left its key": {func(a *closing) {
			a.steps = append(a.steps[:2], embedded.KeyStep{Region: embedded.West, Key: charge("kept"), At: worldBegan.Add(80 * time.Second)})
		}, ""},
		"a planned move leaves a key behind": {func(a *closing) { planned(a); a.steps = a.steps[:2] }, `left behind: key "  orders.charge.v1/charge-kept", done in us-east-1 at 2s, was not in us-west-2 when the planned move to it opened, at 1m15s`},
		"a planned move brings a key too late": {func(a *closing) {
			planned(a)
			a.steps[2].At = worldBegan.Add(76 * time.Second)
		}, "left behind"},
		"a key is copied from where it was done without an answer": {func(a *closing) { planned(a); a.steps = a.steps[2:]; a.steps[0].Copied = true }, ""},
		"an unplanned move without a cause":                        {func(a *closing) { a.moves[0].Asked = worldBegan.Add(30 * time.Second) }, "the writer was moved to us-west-2 at 30s without a cause: lost"},
		"a cause that is none": {func(a *closing) {
			a.moves = append(a.moves, a.moves[0])
			a.moves[1].Asked = worldBegan.Add(10 * time.Minute)
			n := a.history.FaultStarts(history.Fault{Kind: "gray", From: 9 * time.Minute})
			a.history.FaultEnds(n, 10*time.Minute)
		}, "the writer was moved to us-west-2 at 10m0s without a cause"},
		"an unplanned move with a ramp":              {func(a *closing) { a.moves[0].Phases = []failover.Phase{failover.PhaseOpen, failover.PhaseRamping} }, "the unplanned move to us-west-2 was ramped"},
		"a planned move with a ramp":                 {func(a *closing) { planned(a); a.moves[0].Phases = []failover.Phase{failover.PhaseRamping} }, ""},
		"requests in circles":                        {func(a *closing) { besiege(a, busy+1, 5*time.Second) }, "in circles: sqs.us-east-1.amazonaws.com got 151 requests in second 5, about which 0 orders and calls were done, want at most 150"},
		"as many requests as there may be":           {func(a *closing) { besiege(a, busy, 5*time.Second) }, ""},
		"as many requests as calls may make":         {func(a *closing) { doTogether(a, 100); besiege(a, busy+perDone*100, 8*time.Second) }, ""},
		"more requests than calls may make":          {func(a *closing) { doTogether(a, 100); besiege(a, busy+perDone*100+1, 8*time.Second) }, "got 351 requests in second 8, about which 100 orders"},
		"as many requests, when the calls were done": {func(a *closing) { doTogether(a, 100); besiege(a, busy+perDone*100, 11*time.Second) }, "got 350 requests in second 11, about which 0 orders"},
		"a stop that takes too long":                 {func(a *closing) { a.longest = 31 * time.Second }, "a process took 31s to stop, want at most 30s"},
		"a call is given up":                         {func(a *closing) { a.dead = []deadCall{died("mail-kept")} }, `given up: call "mail-kept", whose order is there, is in the dead-letter queue of us-east-1: attempts after 10 attempts (no)`},
		"a call of a lost order is given up":         {func(a *closing) { a.dead = []deadCall{died("mail-lost")} }, ""},
		"a Region is blamed for what it did": {func(a *closing) {
			a.blamed = []embedded.Blame{{Process: "p", Region: embedded.East, Counted: 3, Failed: 3}}
		}, ""},
		"a Region is blamed for more than it did": {func(a *closing) {
			a.blamed = []embedded.Blame{{Process: "p", Region: embedded.East, Counted: 4, Failed: 3}}
		}, `blamed: process "p" holds 4 failures against us-east-1, where 3 requests failed`},
		"work is taken on with the word to stop": {func(a *closing) {
			a.taken, a.drain = []embedded.Late{{Process: "p", Request: "POST /orders", After: 1050 * time.Millisecond}}, time.Second
		}, ""},
		"work is taken on late": {func(a *closing) {
			a.taken, a.drain = []embedded.Late{{Process: "p", Request: "POST /orders", After: 1200 * time.Millisecond}}, time.Second
		}, `taken on late: process "p" took POST /orders 1.2s after it was told to stop`},
		"refused by its stop":          {func(a *closing) { a.refusals = []embedded.Refusal{refusal(40*time.Second, time.Minute)} }, `failed by its stop: process "p" answered POST /orders with 503 at 40s, in quiet times`},
		"refused by a young process":   {func(a *closing) { a.refusals = []embedded.Refusal{refusal(40*time.Second, time.Second)} }, ""},
		"refused in an outage":         {func(a *closing) { a.refusals = []embedded.Refusal{refusal(61*time.Second, time.Minute)} }, ""},
		"refused soon after an outage": {func(a *closing) { a.refusals = []embedded.Refusal{refusal(2*time.Minute, time.Minute)} }, ""},
		"refused long after an outage": {func(a *closing) { a.refusals = []embedded.Refusal{refusal(10*time.Minute, time.Minute)} }, "failed by its stop"},
	} {
		t.Run(name, func(t *testing.T) {
			a := sound()
			tt.doctor(a)
			a.history.Finish(15 * time.Minute)
			said := a.judge()
			if tt.want == "" && len(said) > 0 || tt.want != "" && (len(said) != 1 || !strings.Contains(said[0].Error(), tt.want)) {
				t.Errorf("the account says %q, want %q", said, tt.want)
			}
		})
	}
}

func died(call string) deadCall {
	return deadCall{embedded.East, queue.Envelope{ID: call, Death: &queue.Death{Reason: queue.ReasonAttempts, Attempts: 10, Error: "no"}}}
}

// killedAt lets an order have two mails, the first begun in us-east-1 after a second and a half, and kills the process of a Region.
func killedAt(a *closing, region string, at time.Duration) {
	a.steps = append(a.steps, embedded.KeyStep{Region: embedded.East, Key: mail("kept"), At: worldBegan.Add(1500 * time.Millisecond)})
	a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: 40 * time.Second})
	a.history.AddMark(history.Mark{Kind: history.MarkProcess, Name: region + "/app-0", Text: "killed", At: at})
	a.moves = nil
	a.lost, a.kept["lost"] = nil, service.Order{ID: "lost"}
}

// besiege sends requests to an SQS within a second.
func besiege(a *closing, requests int, at time.Duration) {
	for i := range requests {
		a.history.AddRequest("sqs.us-east-1.amazonaws.com", at+time.Duration(i), 1)
	}
}

// doTogether lets calls that have waited be done in the ninth second.
func doTogether(a *closing, calls int) {
	for i := range calls {
		key := idempotency.Key{ID: fmt.Sprintf("orders.settle.v1/settle-%d", i)}
		for _, region := range []string{embedded.East, embedded.West} {
			a.steps = append(a.steps, embedded.KeyStep{Region: region, Key: key, Done: true, At: worldBegan.Add(8*time.Second + time.Duration(i))})
		}
	}
}

func refusal(at, age time.Duration) embedded.Refusal {
	return embedded.Refusal{Process: "p", Request: "POST /orders", Answer: "503", At: worldBegan.Add(at), Age: age}
}

// The checks of the World see theirs.
func TestEveryCheckSeesItsViolation(t *testing.T) {
	for name, tt := range map[string]struct {
		doctor func(*history.History)
		check  string
	}{
		"a charge is applied twice": {func(h *history.History) {
			h.AddEffect(history.Effect{Kind: "charge", Key: "a", At: time.Minute})
			h.AddEffect(history.Effect{Kind: "charge", Key: "a", At: 2 * time.Minute})
		}, "AppliedOnce(charge)"},
		"two Regions may write at once": {func(h *history.History) {
			h.SetEpoch("us-east-1/app-0", 1, time.Minute, time.Minute)
			h.SetEpoch("us-west-2/app-0", 3, 2*time.Minute, 2*time.Minute)
		}, "SingleWriter"},
		"a deposed store takes a write": {func(h *history.History) {
			h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "orders-west", At: 2 * time.Minute})
			h.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("a"), Epoch: 1, At: 3 * time.Minute})
		}, "SingleWriter"},
		"five requests for an order": {func(h *history.History) {
			for i := range 60 {
				at := time.Duration(i+60) * time.Second
				h.AddOp(history.Op{Class: "POST /orders", Load: "buy", Seq: i, Start: at, End: at + time.Second, Attempts: 5, Weight: 1})
			}
		}, "Amplification(POST /orders)"},
		"a feature stays below normal": {func(h *history.History) {
			h.AddSample("features below normal", history.Sample{At: 14 * time.Minute, Value: 1})
		}, "Drained(features below normal)"},
	} {
		t.Run(name, func(t *testing.T) {
			verdicts := map[bool]map[string]check.Status{}
			for _, doctored := range []bool{false, true} {
				h := quietHistory()
				if doctored {
					tt.doctor(h)
				}
				h.Finish(15 * time.Minute)
				verdicts[doctored] = map[string]check.Status{}
				for _, c := range promises() {
					verdicts[doctored][c.Name()] = c.Evaluate(h).Status
				}
			}
			for name, status := range verdicts[true] {
				if want := map[bool]check.Status{true: check.StatusFailed, false: check.StatusPassed}[name == tt.check]; status != want || verdicts[false][name] != check.StatusPassed {
					t.Errorf("%s: %s, and %s before; want %s, and passed", name, status, verdicts[false][name], want)
				}
			}
		})
	}
}

// quietHistory is a World in which nothing is wrong, and something to judge.
func quietHistory() *history.History {
	h := history.New()
	h.AddStore("orders-east", "orders-east")
	h.AddStore("orders-west", "orders-east")
	h.AddEffect(history.Effect{Kind: "charge", Key: "z", At: time.Second})
	h.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("z"), Epoch: 1, At: time.Second})
	h.AddOp(history.Op{Class: "POST /orders", Load: "buy", End: time.Second, Attempts: 1, Weight: 1})
	h.AddSample("features below normal", history.Sample{At: time.Second})
	n := h.FaultStarts(history.Fault{Kind: string(fault.KindGray), From: 2 * time.Second})
	h.FaultEnds(n, 3*time.Second)
	h.AddSample("features below normal", history.Sample{At: 4 * time.Second})
	return h
}

// What is amiss to the end is said, and what passes is not.
func TestUnrestIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		amiss := func(until time.Duration) func() []string {
			return func() (why []string) {
				if time.Since(start) < until {
					why = append(why, fmt.Sprintf("amiss for %v", until))
				}
				return why
			}
		}
		if why := wellAgain(amiss(9*time.Minute), steadyFor); why != nil {
			t.Errorf("nine minutes of unrest: %q", why)
		}
		start = time.Now()
		if why := wellAgain(amiss(time.Hour), steadyFor); len(why) != 1 || why[0] != "amiss for 1h0m0s" {
			t.Errorf("an hour of unrest: %q", why)
		}
	})
}
