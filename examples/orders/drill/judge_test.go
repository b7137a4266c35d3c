package drill

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// Orders that still hang when the way back is asked for are part of the outage.
func TestOrdersThatHangAreNoRecovery(t *testing.T) {
	h := history.New()
	h.FaultStarts(history.Fault{Text: "gone", Kind: "region-down", Target: "region-down east", From: time.Second})
	for i := range 130 { // 10 a second: from the loss on every other hangs for as long as users wait
		op := history.Op{Class: classPlace, Load: "orders", Seq: i, Start: time.Duration(i) * 100 * time.Millisecond, Weight: 1}
		op.End = op.Start + 10*time.Millisecond
		if op.Start >= time.Second && i%2 == 0 {
			op.Outcome, op.End = history.OutcomeUnknown, op.Start+patience
		}
		h.AddOp(op)
	}
	h.Finish(18 * time.Second)
	judge := outage{check.RTO(15 * time.Second).For(classPlace).WithDegraded(), 12 * time.Second}
	if v := judge.Evaluate(h); v.Passed() {
		t.Errorf("half of the orders hang to the end, and the verdict is %v", v)
	}
}

// The planned move has a bound of its own, and orders that wait to the end count.
func TestPause(t *testing.T) {
	record := func(dark func(time.Duration) bool) *history.History {
		h := history.New()
		for i := range 300 { // 10 a second
			op := history.Op{Class: classPlace, Load: "orders", Seq: i, Start: time.Duration(i) * 100 * time.Millisecond, Weight: 1, Degraded: i%2 == 0}
			if op.End = op.Start + 10*time.Millisecond; dark(op.Start) {
				op.Outcome = history.OutcomeFailed
			}
			h.AddOp(op)
		}
		h.Finish(30 * time.Second)
		return h
	}
	between := func(from, to time.Duration) func(time.Duration) bool {
		return func(at time.Duration) bool { return at >= from && at < to }
	}
	const s = time.Second
	for name, c := range map[string]struct {
		dark func(time.Duration) bool
		want check.Status
		got  float64
	}{
		"nothing":         {between(0, 0), check.StatusPassed, .1},
		"the outage only": {between(0, 9*s), check.StatusPassed, .1},
		"a short pause":   {between(15*s, 20*s), check.StatusPassed, 5.1},
		"a long one":      {between(15*s, 22*s), check.StatusFailed, 7.1},
		"to the end":      {between(22*s, 30*s), check.StatusFailed, 7.99},
		"nothing came":    {between(9*s, 30*s), check.StatusInconclusive, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := pauseCheck{6 * s, 10 * s}.Evaluate(record(c.dark))
			if v.Status != c.want || math.Abs(v.Seconds-c.got) > .011 {
				t.Errorf("verdict %v, %.2f s, want %s and %.2f s", v, v.Seconds, c.want, c.got)
			}
		})
	}
}

func TestBroken(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	known := failover.Exposure{Known: true, AcknowledgedUntil: at.Add(2 * time.Second), ReplicatedThrough: at.Add(-time.Second), Bound: 3500 * time.Millisecond}
	lost := func(age time.Duration, exposure failover.Exposure) Account {
		return Account{Lost: []LostOrder{{"o", age, at.Add(-age), exposure}}}
	}
	mailed := func(times, runs int, why ...queue.Rule) Account {
		return Account{MailedTwice: []MailTwice{{"o", times, runs, why}}}
	}
	for name, c := range map[string]struct {
		account Account
		want    string // "" = nothing is broken
	}{
		"nothing":                       {},
		"lost within the exposure":      {lost(time.Second, known), ""},
		"lost while the lease ran out":  {lost(-3*time.Second, known), ""},
		"older than what was copied":    {lost(2*time.Second, known), "was replicated"},
		"older than the exposure":       {lost(4*time.Second, known), "exposure was 3.5s"},
		"by a writer that was fenced":   {lost(-5*time.Second, known), "was fenced"},
		"exposure that nobody knew":     {lost(0, failover.Exposure{}), "nobody knew"},
		"missing":                       {Account{Missing: []string{"o"}}, "neither in the database"},
		"not charged":                   {Account{Uncharged: []string{"o"}}, "neither charged"},
		"mailed twice, lease lost":      {mailed(2, 2, queue.RuleLeaseLost), ""},
		"mailed twice, for no reason":   {mailed(2, 2), "without a reason"},
		"mailed more often than it ran": {mailed(5, 2, queue.RuleLeaseLost), "5 times in 2 runs"},
		"a queue that did not answer":   {Account{Calls: queue.LedgerReport{Unverified: []string{"west orders"}}}, "did not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(c.account.broken(), "; ")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("broken: %q, want %q", got, c.want)
			}
		})
	}
}

// The exposure of another move says nothing about the loss.
func TestExposureIsThatOfTheMoveAway(t *testing.T) {
	home := failover.Transition{To: "east", Exposure: failover.Exposure{Known: true, Bound: time.Hour}}
	away := failover.Transition{To: "west", Exposure: failover.Exposure{Known: true, Bound: time.Second}}
	if got := exposureOf([]failover.Transition{home}, "west"); got.Known {
		t.Errorf("exposure of the move home taken: %+v", got)
	}
	if got := exposureOf([]failover.Transition{away, home}, "west"); got.Bound != time.Second {
		t.Errorf("exposure %+v, want that of the move away", got)
	}
}

type answers []any // a status, or an error

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	next := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	if err, failed := next.(error); failed {
		return nil, err
	}
	return &http.Response{StatusCode: next.(int), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{"))}, nil
}

// What an attempt whose answer was lost has done stays unknown, whatever the next one is told.
func TestRefusalAfterALostAnswerIsUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		answers answers
		want    history.Outcome
	}{
		"refused each time":           {answers{503}, history.OutcomeFailed},
		"lost, then refused":          {answers{errors.New("connection reset"), 503}, history.OutcomeUnknown},
		"502, then in progress":       {answers{502, 409}, history.OutcomeUnknown},
		"lost, then refused for good": {answers{errors.New("connection reset"), 402}, history.OutcomeFailed},
		"an answer nobody can read":   {answers{201}, history.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			var got []history.Op
			drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(_ *testing.T, w *drtest.World) {
				u := newUsers(&c.answers)
				w.Load(drtest.Load{Name: "orders", Clients: 1, Rate: drtest.Constant(1), Timeout: patience, Length: 1500 * time.Millisecond, Do: func(ctx context.Context, op *drtest.Op) error {
					return u.place(ctx, op)
				}})
				w.Wait()
				got = w.History().Ops()
			})
			if len(got) == 0 || got[0].Outcome != c.want {
				t.Errorf("operations %+v, want outcome %v", got, c.want)
			}
		})
	}
}

func TestRateMustBeANumber(t *testing.T) {
	for _, rate := range []float64{math.NaN(), math.Inf(1), -1} {
		if err := (Config{Rate: rate}).validate(); err == nil {
			t.Errorf("rate %v is taken", rate)
		}
	}
}

type holding []string

func (h holding) Calls(context.Context) ([]string, error) { return h, nil }

// "It will be charged later" is a promise too: the charge was made or waits somewhere.
func TestChargesThatAreNowhere(t *testing.T) {
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		d := &script{users: newUsers(nil), cfg: Config{}.withDefaults(), System: System{
			World: w, Calls: queue.NewLedger(), Unknown: func() []failover.UnknownWrite { return nil },
			Orders: func(context.Context) (map[string]bool, error) {
				return map[string]bool{"waits": true, "charged": true, "nowhere": true}, nil
			},
			Charges: func() map[string]int { return map[string]int{"charged": 1} },
			Mails:   func() map[string]int { return nil },
			Holdings: func() map[string]queue.Holding {
				return map[string]queue.Holding{"west charges": holding{"charge-waits"}}
			},
		}}
		d.users.status = map[string]string{"waits": "payment pending", "charged": "payment pending", "nowhere": "payment pending"}
		a, _, err := d.account(t.Context(), history.New())
		if err != nil || a.Found != 3 || len(a.Uncharged) != 1 || a.Uncharged[0] != "nowhere" {
			t.Errorf("account %+v, %v; want the order uncharged whose charge is nowhere", a, err)
		}
	})
}

// The heartbeat of a primary that has been replaced breaks nothing; an order that it takes does.
func TestHeartbeatIsNoSecondWriter(t *testing.T) {
	for key, want := range map[string]bool{"beat": true, ackKey("o"): false} {
		h := history.New()
		h.AddStore("east", "orders")
		h.AddStore("west", "orders")
		h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "east", At: time.Second})
		h.AddWrite(history.Write{Group: "orders", Store: "east", Key: ackKey("n"), At: 2 * time.Second, Epoch: 1}) // something to judge
		h.AddWrite(history.Write{Group: "orders", Store: "west", Key: key, At: 2 * time.Second})
		h.Finish(time.Minute)
		if v := (&System{Heartbeat: "beat"}).oneWriter().Evaluate(h); v.Passed() != want {
			t.Errorf("west writes %q after east was promoted: %v, want passed = %t", key, v, want)
		}
	}
}

// Orders without success are told apart by what went on while their users tried.
func TestFailuresByCause(t *testing.T) {
	const s = time.Second
	d := &script{lostAt: 10 * s, found: 20 * s, away: 30 * s, home: 40 * s}
	h := history.New()
	for i, from := range []time.Duration{2 * s, 8 * s, 19 * s, 22 * s, 28 * s, 39 * s, 41 * s} { // each tries for 5 s
		h.AddOp(history.Op{Class: classPlace, Load: "orders", Seq: i, Start: from, End: from + patience, Outcome: history.OutcomeFailed, Weight: 1})
	}
	h.AddOp(history.Op{Class: classPlace, Load: "orders", Seq: 9, Start: 15 * s, End: 16 * s, Outcome: history.OutcomeOK, Weight: 1})
	h.AddOp(history.Op{Class: classFind, Load: "lookups", Start: 15 * s, End: 16 * s, Outcome: history.OutcomeFailed, Weight: 1})
	h.Finish(60 * s)
	if got, want := d.failures(h), (Failures{Outage: 2, Move: 2, Else: 3}); got != want {
		t.Errorf("failures = %+v, want %+v", got, want)
	}
}

// A dead call is right where its order was lost with the Region, and a defect where it was not.
func TestDeadCalls(t *testing.T) {
	var a Account
	a.dead(map[string]queue.Reason{"charge-one": queue.ReasonPermanent, "mail-two": queue.ReasonStaleEpoch, "mail-one": queue.ReasonStaleEpoch, "settle-one": queue.ReasonAttempts},
		map[string]loss{"one": {}})
	if want := []string{"mail-two (" + string(queue.ReasonStaleEpoch) + ")", "settle-one (" + string(queue.ReasonAttempts) + ")"}; a.DeadLost != 2 || !slices.Equal(a.DeadElse, want) {
		t.Errorf("%d dead with their orders, %v else, want 2 and %v", a.DeadLost, a.DeadElse, want)
	}
	if why := a.broken(); len(why) != 1 || !strings.Contains(why[0], "2 deferred calls are dead") {
		t.Errorf("broken = %v, want the two", why)
	}
}
