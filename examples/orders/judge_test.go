package main

import (
	"fmt"
	"slices"
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

// sound is an account in which all is well: an order that was bought, charged and mailed in the east, and one that was lost within the exposure of a move with a cause.
func sound() *closing {
	h := history.New()
	a := &closing{
		c: newComposition(), atRest: true, start: worldBegan, history: h, kept: map[string]service.Order{"kept": marked("kept", embedded.Email("buy/0/1"))},
		lost: map[string]time.Time{"lost": worldBegan.Add(2 * time.Minute)}, stores: map[failover.Region]string{embedded.East: "orders-east", embedded.West: "orders-west"},
		charged: map[string]int{"kept": 1}, longest: time.Second,
		moves: []embedded.Move{{Opened: worldBegan.Add(75 * time.Second), Transition: failover.Transition{
			From: embedded.East, To: embedded.West, Asked: worldBegan.Add(65 * time.Second), Cut: worldBegan.Add(70 * time.Second), Reason: "lost",
			Exposure: failover.Exposure{Known: true, AcknowledgedUntil: worldBegan.Add(64 * time.Second), Bound: 10 * time.Second},
		}}},
		runs: []embedded.KeyRun{
			attempt(charge("kept"), embedded.East, time.Second, 2*time.Second),
			attempt(mail("kept"), embedded.East, 1900*time.Millisecond, 2100*time.Millisecond),
			attempt(settle("kept"), embedded.East, 4*time.Second, 5*time.Second),
		},
		results: []embedded.KeyResult{
			result(charge("kept"), embedded.East, 2*time.Second), result(charge("kept"), embedded.West, 2*time.Second),
			result(mail("kept"), embedded.East, 2100*time.Millisecond), result(mail("kept"), embedded.West, 2100*time.Millisecond),
			result(settle("kept"), embedded.East, 5*time.Second), result(settle("kept"), embedded.West, 5*time.Second),
		},
		mailed: []embedded.Request{sent("kept", embedded.East, 2*time.Second)},
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

func settle(order string) idempotency.Key {
	return idempotency.Key{ID: "orders.settle.v1/settle-" + order}
}

// attempt is the first of a key, which ended with a result.
func attempt(key idempotency.Key, region failover.Region, began, ended time.Duration) embedded.KeyRun {
	at := worldBegan.Add(began)
	return embedded.KeyRun{
		Process: region + "/app-0", Region: region, Key: key, Number: 1, Epoch: 1, Asked: at, Began: at, Renewed: at, Ended: worldBegan.Add(ended), End: embedded.RunDone,
	}
}

func result(key idempotency.Key, region failover.Region, at time.Duration) embedded.KeyResult {
	return embedded.KeyResult{Region: region, Key: key, At: worldBegan.Add(at)}
}

func sent(order string, region failover.Region, at time.Duration) embedded.Request {
	return embedded.Request{Process: region + "/app-0", For: order, At: worldBegan.Add(at)}
}

// planned makes the move of a sound account a planned one, which lost nothing.
func planned(a *closing) {
	a.moves[0].Planned = true
	keep(a, "lost")
}

// keep keeps an order, and does all that is promised of it.
func keep(a *closing, id string) {
	delete(a.lost, id)
	a.kept[id] = marked(id, "")
	a.charged[id] = 1
	a.history.AddEffect(history.Effect{Kind: "mail", Key: id, At: 3 * time.Minute})
	a.results = append(a.results, result(settle(id), embedded.East, 3*time.Minute), result(settle(id), embedded.West, 3*time.Minute))
}

// marked is the row of an order for which all has been done.
func marked(id, email string) service.Order {
	return service.Order{ID: id, Email: email, Status: service.StatusPaid, Settled: true}
}

// fallen lets the row of an order that was bought say less than was done, and its last update come then.
func fallen(a *closing, id string, status service.Status, settled bool, at time.Duration) {
	bought(a, id)
	mailed(a, id)
	a.kept[id] = service.Order{ID: id, Status: status, Settled: settled}
	a.history.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey(id), At: at})
}

// bought is an order that was acknowledged, is kept, and has had what is promised but for the mail.
func bought(a *closing, id string) {
	a.kept[id] = marked(id, "")
	a.charged[id] = 1
	a.history.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey(id), At: 10 * time.Second})
	a.history.AddAck(history.Ack{Key: embedded.OrderKey(id), At: 10 * time.Second})
	a.results = append(a.results, result(settle(id), embedded.East, 30*time.Second))
}

func mailed(a *closing, id string) {
	a.history.AddEffect(history.Effect{Kind: "mail", Key: id, At: 11 * time.Second})
}

// again lets the mail of the order that is kept go out once more. Of the first result only known is left.
func again(a *closing, region failover.Region, at time.Duration, doctor func(first, second *embedded.KeyRun), known ...embedded.KeyResult) {
	a.results = append(slices.DeleteFunc(a.results, func(r embedded.KeyResult) bool { return r.Key == mail("kept") }), known...)
	second := attempt(mail("kept"), region, at, at+200*time.Millisecond)
	second.Number = 2
	if doctor != nil {
		doctor(&a.runs[1], &second)
	}
	a.runs = append(a.runs, second)
	a.mailed = append(a.mailed, sent("kept", region, at+100*time.Millisecond))
	a.history.AddEffect(history.Effect{Kind: "mail", Key: "kept", At: at + 100*time.Millisecond})
}

// renewed lets the first of two runs keep its lease until the move.
func renewed(first, _ *embedded.KeyRun) { first.Renewed = worldBegan.Add(time.Minute) }

// killed ends a process.
func killed(a *closing, region failover.Region, at time.Duration) {
	a.history.AddMark(history.Mark{Kind: history.MarkProcess, Name: region + "/app-0", Text: "killed", At: at})
}

// unwell is a fault of so long.
func unwell(a *closing, kind, target string, from, to time.Duration) {
	n := a.history.FaultStarts(history.Fault{Kind: kind, Target: kind + " " + target, From: from})
	a.history.FaultEnds(n, to)
}

// movedLater adds an unplanned move, ten minutes later.
func movedLater(a *closing) {
	m := a.moves[0]
	m.Asked, m.Cut, m.Opened = worldBegan.Add(10*time.Minute), worldBegan.Add(10*time.Minute+5*time.Second), worldBegan.Add(10*time.Minute+10*time.Second)
	a.moves = append(a.moves, m)
}

// unknownLoss is an order that was lost in a move whose exposure nobody knew, which a person accepted.
func unknownLoss(a *closing, at time.Duration) {
	a.moves[0].Exposure, a.moves[0].AcceptLoss = failover.Exposure{}, &failover.AcceptLoss{Exposure: failover.UnknownExposure}
	a.lost["older"] = worldBegan.Add(2 * time.Minute)
	a.history.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("older"), At: at})
}

// cameHome is the move before: the writer came home.
func cameHome(a *closing, opened time.Duration) {
	a.moves = append(a.moves, embedded.Move{Opened: worldBegan.Add(opened), Transition: failover.Transition{
		From: embedded.West, To: embedded.East, Planned: true, Asked: worldBegan.Add(opened - 5*time.Second), Cut: worldBegan.Add(opened - 3*time.Second),
	}})
}

// ending is the stop of a process whose last request ended then.
func ending(shut time.Duration, polls ...time.Duration) embedded.Ending {
	e := embedded.Ending{Process: embedded.East + "/app-0", Told: worldBegan.Add(shut - time.Second), Shut: worldBegan.Add(shut), Gone: worldBegan.Add(shut + 10*time.Second)}
	for _, p := range polls {
		e.Polls = append(e.Polls, worldBegan.Add(shut+p))
	}
	return e
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
		"the order was lost where the writer was not": {func(a *closing) {
			a.moves[0].From, a.moves[0].To = embedded.West, embedded.East
			unwell(a, "region-down", "us-west-2", time.Minute, 90*time.Second)
		}, `beyond the exposure: order "lost"`},
		"a recorded exposure is far too wide": {func(a *closing) {
			a.moves[0].Exposure.Bound = 24 * time.Hour
			a.lost["older"] = worldBegan.Add(2 * time.Minute)
			a.history.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("older"), At: 2 * time.Second})
		}, `beyond the exposure: order "older"`},
		"a recorded exposure is wide, and the copy stood still": {func(a *closing) {
			a.moves[0].Exposure.Bound = 24 * time.Hour
			a.lost["older"] = worldBegan.Add(2 * time.Minute)
			a.history.AddWrite(history.Write{Group: "orders-east", Store: "orders-east", Key: embedded.OrderKey("older"), At: 2 * time.Second})
			unwell(a, "replication-pause", "orders-west", time.Second, 90*time.Second)
		}, ""},
		"nobody knew the exposure": {func(a *closing) { a.moves[0].Exposure.Known = false }, `beyond the exposure: order "lost"`},
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
		"a call is done twice, and ran once": {
			func(a *closing) { a.calls.Repeated = map[string][]queue.Rule{"settle-kept": {queue.RuleFailed}} },
			`done twice without a reason: call "settle-kept", 2 times, in 1 runs`,
		},
		"a call is done twice, and its first result was known": {func(a *closing) {
			a.calls.Repeated = map[string][]queue.Rule{"settle-kept": {queue.RuleFailed}}
			a.runs = append(a.runs, attempt(settle("kept"), embedded.East, 10*time.Second, 11*time.Second))
		}, `done twice without a reason: call "settle-kept", run in us-east-1/app-0 at 4s and again in us-east-1/app-0 at 10s`},
		"a call is done twice, for nobody had its first result when its lease had passed": {func(a *closing) {
			a.calls.Repeated = map[string][]queue.Rule{"settle-kept": nil}
			unwell(a, "gray", "redis.us-east-1.internal", 3*time.Second, 34*time.Second)
			a.results = append(a.results[:4], result(settle("kept"), embedded.East, 36*time.Second))
			a.runs = append(a.runs, attempt(settle("kept"), embedded.East, 35*time.Second, 36*time.Second))
		}, ""},
		"two mails": {
			func(a *closing) { again(a, embedded.East, 10*time.Second, nil) },
			`mailed twice without a reason: call "mail-kept", run in us-east-1/app-0 at 1.9s and again in us-east-1/app-0 at 10s`,
		},
		"two mails, for the outcome of the first was unknown": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) { first.End = embedded.RunHeld })
		}, ""},
		"two mails, for the first failed and may have been sent": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) { first.End = embedded.RunReleased })
		}, ""},
		"two mails, and the first was sent, by its answer, and left open": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) { first.End = embedded.RunHeld })
			a.mailed[0].Done = true
		}, "mailed twice without a reason"},
		"two mails, and the first was not sent, by its answer": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) { first.End = embedded.RunReleased })
			a.mailed[0].NotRun = true
		}, `mailed twice without a reason: call "mail-kept", 2 times, in 1 runs`},
		"two mails, and the first failed when the second had begun": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) {
				first.End, first.Ended = embedded.RunHeld, worldBegan.Add(11*time.Second)
			})
		}, "mailed twice"},
		"two mails, and it was the second that failed": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(_, second *embedded.KeyRun) { second.End = embedded.RunHeld })
		}, "mailed twice"},
		"three mails, and one of them has a reason": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) { first.End = embedded.RunHeld })
			again(a, embedded.East, 20*time.Second, nil)
		}, `mailed twice without a reason: call "mail-kept", run in us-east-1/app-0 at 10s and again in us-east-1/app-0 at 20s`},
		"two mails, for the lease of the first had passed": {func(a *closing) {
			again(a, embedded.East, 32*time.Second, nil)
			unwell(a, "lost-reply", "redis.us-east-1.internal", time.Second, 5*time.Second)
		}, ""},
		"two mails, and the lease of the first had passed in fair weather": {func(a *closing) {
			again(a, embedded.East, 32*time.Second, nil)
			unwell(a, "gray", "mail.us-east-1.internal", time.Second, 5*time.Second)
		}, "mailed twice"},
		"two mails, and the lease of the first had passed, and the other Region was gone": {func(a *closing) {
			again(a, embedded.East, 32*time.Second, nil)
			unwell(a, "region-down", "us-west-2", time.Second, 5*time.Second)
		}, "mailed twice"},
		"two mails, and the lease of the first was kept": {func(a *closing) { again(a, embedded.East, 72*time.Second, renewed) }, "mailed twice"},
		"two mails, and the lease of the first had passed, and the other Region had its result": {func(a *closing) {
			again(a, embedded.East, 32*time.Second, nil, result(mail("kept"), embedded.West, 3*time.Second))
		}, "mailed twice"},
		"two mails, for the writer of the first was replaced while it ran, and nobody heard of it": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, second *embedded.KeyRun) { first.End, second.Epoch = embedded.RunOpen, 3 })
			unwell(a, "partition", "us-east-1 us-west-2", 2*time.Second, 9*time.Second)
		}, ""},
		"two mails, and the writer of the first was replaced while it ran, in fair weather": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, second *embedded.KeyRun) { first.End, second.Epoch = embedded.RunOpen, 3 })
		}, "mailed twice"},
		"two mails, and the writer was replaced when the first had ended": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(_, second *embedded.KeyRun) { second.Epoch = 3 })
		}, "mailed twice"},
		"two mails, and the writer was replaced before the result could be stored": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(_, second *embedded.KeyRun) { second.Epoch = 3 })
			unwell(a, "partition", "us-east-1 us-west-2", 2*time.Second, 9*time.Second)
		}, ""},
		"two mails, while the first ran under the same epoch": {func(a *closing) {
			again(a, embedded.East, 10*time.Second, func(first, _ *embedded.KeyRun) { first.End = embedded.RunOpen })
		}, "mailed twice"},
		"two mails, for the first Region kept the key when it was lost": {func(a *closing) {
			again(a, embedded.West, 80*time.Second, renewed, result(mail("kept"), embedded.East, 3*time.Second))
			unwell(a, "gray", "redis.us-west-2.internal", 2*time.Second, 9*time.Second)
		}, ""},
		"two mails, and nothing kept the key from the other Region": {func(a *closing) {
			again(a, embedded.West, 80*time.Second, renewed, result(mail("kept"), embedded.East, 3*time.Second))
			unwell(a, "gray", "redis.us-west-2.internal", 8*time.Second, 9*time.Second)
		}, "mailed twice"},
		"two mails, before the move that left the key": {func(a *closing) {
			again(a, embedded.West, 74*time.Second, renewed, result(mail("kept"), embedded.East, 3*time.Second))
		}, "mailed twice"},
		"two mails, and the Region that took over had the key": {func(a *closing) {
			again(a, embedded.West, 80*time.Second, renewed, result(mail("kept"), embedded.West, 3*time.Second))
		}, "mailed twice"},
		"two mails, and the Region that took over got the key before the second": {func(a *closing) {
			again(a, embedded.West, 80*time.Second, renewed, result(mail("kept"), embedded.East, 3*time.Second), result(mail("kept"), embedded.West, 79*time.Second))
		}, "mailed twice"},
		"two mails, and the Region that took over got the key after the second": {func(a *closing) {
			again(a, embedded.West, 80*time.Second, renewed, result(mail("kept"), embedded.East, 3*time.Second), result(mail("kept"), embedded.West, 81*time.Second))
			unwell(a, "partition", "us-east-1 us-west-2", 2*time.Second, 9*time.Second)
		}, ""},
		"two mails, and the first was begun when its Region could write no more": {func(a *closing) {
			again(a, embedded.West, 80*time.Second, func(first, _ *embedded.KeyRun) {
				first.Number = 2
				first.Began, first.Renewed, a.mailed[0].At = worldBegan.Add(72*time.Second), worldBegan.Add(72*time.Second), worldBegan.Add(73*time.Second)
				first.Ended = worldBegan.Add(74 * time.Second)
			},
				result(mail("kept"), embedded.East, 74*time.Second))
		}, "mailed twice"},
		"two mails, and the move that left the key was planned": {func(a *closing) {
			planned(a)
			again(a, embedded.West, 80*time.Second, renewed)
		}, "mailed twice"},
		"two mails, for the process was killed with the first": {func(a *closing) {
			killed(a, embedded.East, 3*time.Second)
			again(a, embedded.East, 10*time.Second, nil)
		}, ""},
		"two mails, and the process was killed in its next life": {func(a *closing) {
			a.history.AddMark(history.Mark{Kind: history.MarkProcess, Name: embedded.East + "/app-0", Text: "started", At: 3 * time.Second})
			killed(a, embedded.East, 4*time.Second)
			again(a, embedded.East, 10*time.Second, nil)
		}, "mailed twice"},
		"two mails, and another process was killed": {func(a *closing) {
			killed(a, embedded.West, 3*time.Second)
			again(a, embedded.East, 10*time.Second, nil)
		}, "mailed twice"},
		"two mails, and the process was killed before": {func(a *closing) { killed(a, embedded.East, time.Second); again(a, embedded.East, 10*time.Second, nil) }, "mailed twice"},
		"two mails, and the process was killed after": {func(a *closing) {
			killed(a, embedded.East, 11*time.Second)
			again(a, embedded.East, 10*time.Second, nil)
		}, "mailed twice"},
		"two mails, and the process was killed with its result stored": {func(a *closing) {
			killed(a, embedded.East, 3*time.Second)
			again(a, embedded.East, 10*time.Second, nil, result(mail("kept"), embedded.East, 2100*time.Millisecond))
		}, "mailed twice"},
		"a call that had its effect is begun anew": {
			func(a *closing) {
				a.runs = append(a.runs, attempt(charge("kept"), embedded.East, 4*time.Second, 5*time.Second))
			},
			`begun anew: call "orders.charge.v1/charge-kept" had its effect at 1.5s and was begun as new in us-east-1 at 4s`,
		},
		"a call that had its effect is begun again, as one that is known": {func(a *closing) {
			r := attempt(charge("kept"), embedded.East, 4*time.Second, 5*time.Second)
			r.Number = 2
			a.runs = append(a.runs, r)
		}, ""},
		"a call is begun anew behind a move that took its key along": {func(a *closing) {
			a.runs = append(a.runs, attempt(charge("kept"), embedded.West, 80*time.Second, 81*time.Second))
		}, "begun anew"},
		"a call is begun anew behind a move that left its key": {func(a *closing) {
			a.results = slices.Delete(a.results, 1, 2)
			a.runs = append(a.runs, attempt(charge("kept"), embedded.West, 80*time.Second, 81*time.Second))
			unwell(a, "lost-reply", "redis.us-west-2.internal", time.Second, 9*time.Second)
		}, ""},
		"a call is begun anew behind a move, and its key should have been there": {func(a *closing) {
			a.results = slices.Delete(a.results, 1, 2)
			a.runs = append(a.runs, attempt(charge("kept"), embedded.West, 80*time.Second, 81*time.Second))
		}, "begun anew"},
		"a call is begun anew before the move that left its key": {func(a *closing) {
			a.results = slices.Delete(a.results, 1, 2)
			a.runs = append(a.runs, attempt(charge("kept"), embedded.West, 74*time.Second, 81*time.Second))
		}, "begun anew"},
		"a planned move leaves a key behind": {
			func(a *closing) { planned(a); a.results = slices.Delete(a.results, 1, 2) },
			`left behind: key "  orders.charge.v1/charge-kept", done in us-east-1 at 2s, was not in us-west-2 when the planned move to it opened, at 1m15s`,
		},
		"a planned move brings a key too late":                     {func(a *closing) { planned(a); a.results[1].At = worldBegan.Add(76 * time.Second) }, "left behind"},
		"a key is copied from where it was done without an answer": {func(a *closing) { planned(a); a.results[1].Copied = true; a.results = a.results[1:] }, ""},
		"an order is never charged":                                {func(a *closing) { bought(a, "x"); mailed(a, "x"); delete(a.charged, "x") }, `never charged: order "x", acknowledged at 10s`},
		"an order is never mailed":                                 {func(a *closing) { bought(a, "x") }, `never mailed: order "x", acknowledged at 10s`},
		"an order is never settled":                                {func(a *closing) { bought(a, "x"); mailed(a, "x"); a.results = a.results[:len(a.results)-1] }, `never settled: order "x", acknowledged at 10s`},
		"an order is settled, and no store kept the result": {func(a *closing) {
			bought(a, "x")
			mailed(a, "x")
			a.results = a.results[:len(a.results)-1]
			a.runs = append(a.runs, attempt(settle("x"), embedded.East, 30*time.Second, 31*time.Second))
		}, ""},
		"an order is nearly settled": {func(a *closing) {
			bought(a, "x")
			mailed(a, "x")
			a.results = a.results[:len(a.results)-1]
			a.runs = append(a.runs, attempt(settle("x"), embedded.East, 30*time.Second, 31*time.Second))
			a.runs[len(a.runs)-1].End = embedded.RunReleased
		}, `never settled: order "x", acknowledged at 10s`},
		"an order waits for its mail to the end, as is said elsewhere":       {func(a *closing) { a.atRest = false; bought(a, "x") }, ""},
		"an order is settled, its row does not say so, and nothing was lost": {func(a *closing) { fallen(a, "x", service.StatusPaid, false, 30*time.Second) }, `fell back: order "x" is charged, mailed and settled, its row says "paid", settled false, and no write of it was in an exposure`},
		"an order is charged, its row does not say so, and nothing was lost": {func(a *closing) { fallen(a, "x", service.StatusPending, true, 30*time.Second) }, `fell back: order "x"`},
		"a move has lost the last update of an order":                        {func(a *closing) { fallen(a, "x", service.StatusPaid, false, 62*time.Second) }, ""},
		"a planned move has lost the last update of an order": {func(a *closing) {
			planned(a)
			fallen(a, "x", service.StatusPaid, false, 62*time.Second)
			a.results = append(a.results, result(settle("x"), embedded.West, 30*time.Second))
		}, `fell back: order "x"`},
		"an order has all that is promised": {func(a *closing) { bought(a, "x"); mailed(a, "x") }, ""},
		"an order is declined": {func(a *closing) {
			bought(a, "x")
			delete(a.charged, "x")
			a.kept["x"] = service.Order{Status: service.StatusDeclined}
		}, ""},
		"an order is declined and charged":                {func(a *closing) { bought(a, "x"); a.kept["x"] = service.Order{Status: service.StatusDeclined} }, `charged and declined: order "x"`},
		"an order that nobody was told of is not charged": {func(a *closing) { a.kept["x"] = service.Order{ID: "x"} }, ""},
		"a lost order was charged":                        {func(a *closing) { a.charged["lost"] = 1; mailed(a, "lost") }, ""},
		"what is no order is charged":                     {func(a *closing) { a.charged["x"] = 1 }, `charged for nothing: order "x" is neither kept nor lost with a Region, and was never committed`},
		"what is no order is mailed":                      {func(a *closing) { mailed(a, "x") }, `mailed for nothing: order "x"`},
		"an order is charged and gone": {func(a *closing) {
			a.history.AddWrite(history.Write{Store: "orders-east", Key: embedded.OrderKey("x"), At: time.Minute})
			a.charged["x"] = 1
		}, `charged for nothing: order "x" is neither kept nor lost with a Region, first committed in orders-east at 1m0s`},
		"an order is charged and was on a lost disk": {func(a *closing) {
			a.history.AddWrite(history.Write{Store: "orders-east", Key: embedded.OrderKey("x"), At: time.Minute})
			a.charged["x"], a.unread = 1, []embedded.Unread{{Store: "orders-east", At: worldBegan.Add(2 * time.Minute)}}
		}, ""},
		"an order is charged, was on a lost disk and in no exposure": {func(a *closing) {
			a.history.AddWrite(history.Write{Store: "orders-east", Key: embedded.OrderKey("x"), At: 50 * time.Second})
			a.charged["x"], a.unread = 1, []embedded.Unread{{Store: "orders-east", At: worldBegan.Add(2 * time.Minute)}}
		}, `beyond the exposure: order "x"`},
		"nobody knew the exposure, and all was well when the order was written": {func(a *closing) { unknownLoss(a, 50*time.Second) }, `beyond the exposure: order "older"`},
		"nobody knew the exposure, and the copy stood still": {func(a *closing) {
			unknownLoss(a, 50*time.Second)
			unwell(a, "replication-pause", "orders-west", 40*time.Second, 90*time.Second)
		}, ""},
		"nobody knew the exposure, and the copy had stood still before": {func(a *closing) {
			unknownLoss(a, 50*time.Second)
			unwell(a, "replication-pause", "orders-west", 30*time.Second, 40*time.Second)
		}, `beyond the exposure: order "older"`},
		"nobody knew the exposure, and the order is from before the move before":    {func(a *closing) { unknownLoss(a, 50*time.Second); cameHome(a, 55*time.Second) }, `beyond the exposure: order "older"`},
		"nobody knew the exposure, and no copy had been made since the move before": {func(a *closing) { unknownLoss(a, 50*time.Second); cameHome(a, 40*time.Second) }, ""},
		"nobody knew the exposure, and a copy had been made since the move before": {func(a *closing) {
			unknownLoss(a, 50*time.Second)
			cameHome(a, 40*time.Second)
			a.rebuilt = []embedded.Rebuilt{{Store: "orders-west", At: worldBegan.Add(45 * time.Second)}}
		}, `beyond the exposure: order "older"`},
		"an unplanned move without a cause": {func(a *closing) { a.moves[0].Asked = worldBegan.Add(30 * time.Second) }, "the writer was moved to us-west-2 at 30s without a cause in us-east-1: lost"},
		"a move with the traces of a cause": {func(a *closing) { a.moves[0].Asked = worldBegan.Add(105 * time.Second) }, ""},
		"a move long after its cause":       {func(a *closing) { a.moves[0].Asked = worldBegan.Add(106 * time.Second) }, "without a cause in us-east-1"},
		"a cause that came and went twice": {func(a *closing) {
			a.moves[0].Asked = worldBegan.Add(110 * time.Second)
			unwell(a, "crash", "us-east-1/app-0", 70*time.Second, 80*time.Second)
		}, ""},
		"a cause that is none": {func(a *closing) {
			movedLater(a)
			unwell(a, "gray", "sqs.us-east-1.amazonaws.com", 9*time.Minute, 11*time.Minute)
		}, "the writer was moved to us-west-2 at 10m0s without a cause"},
		"a clock that is off is no cause":      {func(a *closing) { movedLater(a); unwell(a, "clock-skew", "us-east-1", 9*time.Minute, 11*time.Minute) }, "without a cause"},
		"a cause in the Region that took over": {func(a *closing) { movedLater(a); unwell(a, "region-down", "us-west-2", 9*time.Minute, 11*time.Minute) }, "without a cause"},
		"a cause between the others": {func(a *closing) {
			movedLater(a)
			unwell(a, "partition", "us-east-2 us-west-2", 9*time.Minute, 11*time.Minute)
		}, "without a cause"},
		"a cause between the two": {func(a *closing) {
			movedLater(a)
			unwell(a, "partition", "us-east-1 us-west-2", 9*time.Minute, 11*time.Minute)
			unwell(a, "loss", "us-west-2 us-east-1", 9*time.Minute, 11*time.Minute)
		}, "without a cause"},
		"a cause on the way to the third": {func(a *closing) {
			movedLater(a)
			unwell(a, "partition", "us-east-1 us-east-2", 9*time.Minute, 11*time.Minute)
		}, ""},
		"a cause in the database's zone":                {func(a *closing) { movedLater(a); unwell(a, "az-down", "us-east-1 db", 9*time.Minute, 11*time.Minute) }, ""},
		"workers that end with the last request":        {func(a *closing) { a.endings = []embedded.Ending{ending(30*time.Second, time.Second)} }, ""},
		"a worker that asks on":                         {func(a *closing) { a.endings = []embedded.Ending{ending(30*time.Second, 1100*time.Millisecond)} }, `worked on late: process "us-east-1/app-0" took on a poll 1.1s after its last request, which ended at 30s`},
		"a worker that asks on while the guard waits":   {func(a *closing) { a.endings = []embedded.Ending{ending(70*time.Second, 9*time.Second)} }, ""},
		"a worker that asks on for longer than a guard": {func(a *closing) { a.endings = []embedded.Ending{ending(70*time.Second, 31*time.Second)} }, "worked on late"},
		"a worker that begins a call late": {func(a *closing) {
			a.endings = []embedded.Ending{ending(30 * time.Second)}
			bought(a, "x")
			mailed(a, "x")
			a.runs = append(a.runs, attempt(settle("x"), embedded.East, 33*time.Second, 34*time.Second))
		}, `worked on late: process "us-east-1/app-0" took on orders.settle.v1/settle-x 3s after`},
		"the next process begins a call": {func(a *closing) {
			a.endings = []embedded.Ending{ending(30 * time.Second)}
			bought(a, "x")
			mailed(a, "x")
			a.runs = append(a.runs, attempt(settle("x"), embedded.East, 41*time.Second, 42*time.Second))
		}, ""},
		"refused by its stop while payments are gone": {func(a *closing) {
			unwell(a, "gray", "payments.internal", 4*time.Minute, 6*time.Minute)
			refuses(a, 5*time.Minute)
		}, "failed by its stop"},
		"refused by its stop while the standby's keys are gone": {func(a *closing) {
			unwell(a, "gray", "redis.us-east-1.internal", 4*time.Minute, 6*time.Minute)
			refuses(a, 5*time.Minute)
		}, "failed by its stop"},
		"refused by its stop while the writer's keys are gone": {func(a *closing) {
			unwell(a, "gray", "redis.us-west-2.internal", 4*time.Minute, 6*time.Minute)
			refuses(a, 5*time.Minute)
		}, ""},
		"refused by its stop while the standby is gone": {func(a *closing) {
			unwell(a, "region-down", "us-east-1", 4*time.Minute, 6*time.Minute)
			refuses(a, 5*time.Minute)
		}, "failed by its stop"},
		"refused by its stop while the coordinator is gone": {func(a *closing) {
			unwell(a, "region-down", "us-east-2", 4*time.Minute, 6*time.Minute)
			refuses(a, 5*time.Minute)
		}, ""},
		"refused by its stop while the witness is gone": {func(a *closing) {
			unwell(a, "crash", "us-east-2/witness-0", 4*time.Minute, 6*time.Minute)
			refuses(a, 5*time.Minute)
		}, "failed by its stop"},
		"refused by its stop soon after the writer's Region was": {func(a *closing) {
			unwell(a, "loss", "us-east-2 us-west-2", 4*time.Minute, 5*time.Minute)
			refuses(a, 5*time.Minute+14*time.Second)
		}, ""},
		"refused by its stop when the writer's Region has been back for a while": {func(a *closing) {
			unwell(a, "loss", "us-east-2 us-west-2", 4*time.Minute, 5*time.Minute)
			refuses(a, 5*time.Minute+16*time.Second)
		}, "failed by its stop"},
		"a read is refused by its stop while levels come back": {func(a *closing) {
			unwell(a, "loss", "us-east-2 us-west-2", 4*time.Minute, 5*time.Minute)
			refuses(a, 5*time.Minute+16*time.Second)
			a.refusals[0].Request = "GET /stock/anvil"
		}, ""},
		"refused by its stop while the writer moves": {func(a *closing) { movedLater(a); a.moves[1].Planned = true; refuses(a, 10*time.Minute+24*time.Second) }, ""},
		"an unplanned move with a ramp":              {func(a *closing) { a.moves[0].Phases = []failover.Phase{failover.PhaseOpen, failover.PhaseRamping} }, "the unplanned move to us-west-2 was ramped"},
		"a planned move with a ramp":                 {func(a *closing) { planned(a); a.moves[0].Phases = []failover.Phase{failover.PhaseRamping} }, ""},
		"requests in circles":                        {func(a *closing) { besiege(a, busy+1, 20*time.Second) }, "in circles: sqs.us-east-1.amazonaws.com got 101 requests in second 20, about which 0 orders and calls were done, want at most 100"},
		"as many requests as there may be":           {func(a *closing) { besiege(a, busy, 20*time.Second) }, ""},
		"as many requests as calls may make":         {func(a *closing) { doTogether(a, 100); besiege(a, busy+perDone*100, 8*time.Second) }, ""},
		"more requests than calls may make":          {func(a *closing) { doTogether(a, 100); besiege(a, busy+perDone*100+1, 8*time.Second) }, "got 301 requests in second 8, about which 100 orders"},
		"as many requests, when the calls were done": {func(a *closing) { doTogether(a, 100); besiege(a, busy+perDone*100, 11*time.Second) }, "got 300 requests in second 11, about which 0 orders"},
		"the same with one message, as often as may be": {func(a *closing) {
			a.handled = []embedded.Handled{{What: "received", Region: embedded.East, ID: "m", Second: 20, Times: sameMessage}}
		}, ""},
		"the same with one message, round and round": {func(a *closing) {
			a.handled = []embedded.Handled{{What: embedded.SentNow, Region: embedded.East, ID: "c", Second: 7, Times: sameCall}, {What: "received", Region: embedded.East, ID: "m", Second: 20, Times: sameMessage + 1}}
		}, `round and round: "m" was received `},
		"a message that came twice is deleted as often as may be": {func(a *closing) {
			a.handled = []embedded.Handled{{What: embedded.Deleted, Region: embedded.East, ID: "m", Second: 20, Times: sameDelete}}
		}, ""},
		"a message is deleted again and again": {func(a *closing) {
			a.handled = []embedded.Handled{{What: embedded.Deleted, Region: embedded.East, ID: "m", Second: 20, Times: sameDelete + 1}}
		}, `round and round: "m" was deleted 7 times in us-east-1 in second 20, want at most 6`},
		"one call is sent again and again": {func(a *closing) {
			a.handled = []embedded.Handled{{What: embedded.SentNow, Region: embedded.East, ID: "c", Second: 7, Times: sameCall + 1}}
		}, `round and round: "c" was sent at once 9 times in us-east-1 in second 7, want at most 8`},
		"a stop that takes too long":         {func(a *closing) { a.longest = 31 * time.Second }, "a process took 31s to stop, want at most 30s"},
		"a call is given up":                 {func(a *closing) { a.dead = []deadCall{died("mail-kept")} }, `given up: call "mail-kept", whose order is there, is in the dead-letter queue of us-east-1: attempts after 10 attempts (no)`},
		"a call of a lost order is given up": {func(a *closing) { a.dead = []deadCall{died("mail-lost")} }, ""},
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
		"refused by its stop":                    {func(a *closing) { a.refusals = []embedded.Refusal{refusal(40*time.Second, time.Minute)} }, `failed by its stop: process "us-west-2/app-0" answered POST /orders with 503 at 40s, and nothing else stood in its way`},
		"refused by a young process":             {func(a *closing) { a.refusals = []embedded.Refusal{refusal(40*time.Second, time.Second)} }, ""},
		"refused in an outage":                   {func(a *closing) { a.refusals = []embedded.Refusal{refusal(61*time.Second, time.Minute)} }, ""},
		"refused when the writer has just moved": {func(a *closing) { a.refusals = []embedded.Refusal{refusal(89*time.Second, time.Minute)} }, ""},
		"refused when the writer has moved":      {func(a *closing) { a.refusals = []embedded.Refusal{refusal(91*time.Second, time.Minute)} }, "failed by its stop"},
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
			a.results = append(a.results, result(key, region, 8*time.Second+time.Duration(i)))
		}
	}
}

// refuses lets a process that writes, told to stop, refuse an order.
func refuses(a *closing, at time.Duration) { a.refusals = []embedded.Refusal{refusal(at, time.Minute)} }

func refusal(at, age time.Duration) embedded.Refusal {
	return embedded.Refusal{Process: embedded.West + "/app-0", Request: "POST /orders", Answer: "503", At: worldBegan.Add(at), Age: age}
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
		if why := wellAgain(start, amiss(9*time.Minute), steadyFor); why != nil {
			t.Errorf("nine minutes of unrest: %q", why)
		}
		start = time.Now()
		if why := wellAgain(start, amiss(time.Hour), steadyFor); len(why) != 1 || why[0] != "amiss for 1h0m0s" {
			t.Errorf("an hour of unrest: %q", why)
		}
		start = time.Now()
		if why := wellAgain(start.Add(-5*time.Minute), amiss(9*time.Minute), 0); len(why) != 1 || time.Since(start) > 6*time.Minute {
			t.Errorf("nine minutes of unrest, after five that had gone by: %q after %v", why, time.Since(start))
		}
	})
}
