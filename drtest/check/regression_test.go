package check_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// An outage that lasts beyond the start of another fault is measured from where it began to where it ended.
func TestRTOOutlastsTheNextFault(t *testing.T) {
	h := history.New()
	down(h, 10*second, 60*second)
	down(h, 12*second, 20*second)
	ops(h, seconds(10, 30)...)
	h.Finish(100 * second)
	expect(t, check.RTO(20*second).Evaluate(h), check.StatusPassed, "RTO: 20s")
	expect(t, check.RTO(19*second).Evaluate(h), check.StatusFailed, "RTO: 20s")
}

// A fault under which nobody called was not judged, whatever happened under the others.
func TestRTOWithoutCallsUnderTheLastFault(t *testing.T) {
	h := history.New()
	down(h, 10*second, 20*second)
	down(h, 200*second, 300*second)
	ops(h)
	h.Finish(400 * second)
	expect(t, check.RTO(time.Hour).Evaluate(h), check.StatusInconclusive, "no operation was due after", "3m20s")
}

// twoClasses has a hundred times as many good operations of one class as bad ones of the other.
func twoClasses() *history.History {
	h := history.New()
	down(h, 10*second, 20*second)
	for s := range 100 {
		at := time.Duration(s) * second
		h.AddOp(history.Op{Class: "GET", Load: "l", Seq: s, Start: at, End: at + 1, Weight: 1000, Attempts: 1})
		h.AddOp(history.Op{Class: "POST", Load: "l", Seq: s, Start: at, End: at + 2, Weight: 1, Attempts: 1, Outcome: history.OutcomeFailed})
	}
	h.Finish(100 * second)
	return h
}

// Much traffic of one class does not hide that another never came back.
func TestEveryClassIsJudged(t *testing.T) {
	h := twoClasses()
	expect(t, check.RTO(time.Hour).Evaluate(h), check.StatusFailed, "RTO: not recovered", `class "POST"`)
	expect(t, check.RTO(time.Hour).For("GET").Evaluate(h), check.StatusPassed)
	expect(t, check.Availability(0.99).Evaluate(h), check.StatusFailed, `class "POST"`, "Availability: 0 %")
	expect(t, check.Availability(0.99).For("GET").Evaluate(h), check.StatusPassed)
}

// What was lost between a partition and the promotion is not measured to a fault an hour later.
func TestRPOEndsAtThePromotion(t *testing.T) {
	h := history.New()
	down(h, 0, 100*second)
	acked(h, "db", "a", "b", "c") // at 1 to 3 s
	h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "dr", At: 9 * second})
	down(h, time.Hour, 2*time.Hour)
	h.SetSurvivors("db", map[string]bool{})
	h.Finish(3 * time.Hour)
	expect(t, check.RPO(8*second).Evaluate(h), check.StatusPassed, "RPO: 8s", "promotion of dr")
}

// Two Regions that could write together for less than a look's distance, by their own word, did so.
func TestSingleWriterSeesShortOverlaps(t *testing.T) {
	for name, tt := range map[string]struct {
		deposed, since time.Duration
		want           check.Status
	}{
		"overlap":    {1200 * time.Millisecond, 1100 * time.Millisecond, check.StatusFailed},
		"none":       {1100 * time.Millisecond, 1100 * time.Millisecond, check.StatusPassed},
		"none, late": {1050 * time.Millisecond, 1200 * time.Millisecond, check.StatusPassed},
	} {
		t.Run(name, func(t *testing.T) {
			h := history.New()
			look := 1250 * time.Millisecond
			h.SetEpoch("east", 1, 0, 0)
			h.SetEpoch("east", 0, look, tt.deposed)
			h.SetEpoch("west", 2, look, tt.since)
			h.Finish(10 * second)
			expect(t, check.SingleWriter().Evaluate(h), tt.want)
		})
	}
}

// Weights of thinned loads are fractions, whose sum depends on their order: no class is left out for that.
func TestLatencyOfThinnedLoads(t *testing.T) {
	h := history.New()
	for i, weight := range []float64{0.1, 0.2, 0.3} { // 0.6000000000000001; from the quickest on, 0.6
		h.AddOp(history.Op{Class: "slow", Load: "l", Seq: i, End: time.Duration(3-i) * second, Weight: weight})
	}
	h.AddOp(history.Op{Class: "quick", Load: "l", End: 4 * second, Start: 4 * second, Weight: 1})
	h.Finish(10 * second)
	expect(t, check.Latency(1, second).Evaluate(h), check.StatusFailed, "3s", `class "slow"`)
}

// A window ends where the next begins, and what uses a budget up has not exceeded it.
func TestErrorBudgetToTheLast(t *testing.T) {
	h := history.New()
	ops(h, 5, 15, 25) // one of ten
	h.Finish(100 * second)
	expect(t, check.ErrorBudget(0.9, 10*second).Evaluate(h), check.StatusPassed, "100 % burned")
	expect(t, check.ErrorBudget(0.9, 10*second).AtMost(0.99).Evaluate(h), check.StatusFailed)
}

// Keys that are excepted say nothing, neither for nor against.
func TestSingleWriterExcept(t *testing.T) {
	write := func(keys ...string) *history.History {
		h := history.New()
		h.AddStore("db", "db")
		h.AddStore("dr", "db")
		h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "dr", At: second})
		for i, key := range keys {
			h.AddWrite(history.Write{Group: "db", Store: "db", Key: key, At: time.Duration(i+2) * second})
		}
		h.Finish(10 * second)
		return h
	}
	expect(t, check.SingleWriter().Evaluate(write("beat")), check.StatusFailed, "1 writes in deposed stores")
	expect(t, check.SingleWriter().Except("beat").Evaluate(write("beat", "order")), check.StatusFailed, `"order"`, "1 writes in deposed stores")
	expect(t, check.SingleWriter().Except("beat").Except("order").Evaluate(write("beat", "order")), check.StatusInconclusive, "nobody was followed")

	clean := history.New()
	clean.AddStore("db", "db")
	clean.AddWrite(history.Write{Group: "db", Store: "db", Key: "order", At: second})
	clean.Finish(2 * second)
	expect(t, check.SingleWriter().Except("beat").Evaluate(clean), check.StatusPassed)
}

// Reads of one group do not stand for those of another.
func TestStalenessOfAGroupNobodyRead(t *testing.T) {
	h := history.New()
	h.AddRead(history.Read{Group: "db", Store: "db", Key: "k", At: second}, true)
	h.Finish(10 * second)
	expect(t, check.Staleness(second).In("other").Evaluate(h), check.StatusInconclusive, "nothing was read")
	expect(t, check.Staleness(second).In("db").Evaluate(h), check.StatusPassed, "0 of 1 answers")
	expect(t, check.Staleness(second).Evaluate(h.Snapshot(10*second)), check.StatusPassed, "0 of 1 answers")
}

// A group that cannot be judged does not hide what is wrong with another.
func TestConvergedJudgesEveryGroup(t *testing.T) {
	h := contents(map[string]string{"a": "2", "b": "1", "c": "1"})
	h.SetContent("cache", "cache", false, nil) // has no writer
	expect(t, check.Converged().Evaluate(h), check.StatusFailed, `dr has another value of "a"`)
	expect(t, check.Converged("missing", "db").Evaluate(h), check.StatusFailed)
	whole := contents(map[string]string{"a": "1", "b": "1", "c": "1"})
	expect(t, check.Converged("db", "missing").Evaluate(whole), check.StatusInconclusive, `group "missing"`)
}

// Home is home when it goes on under a new epoch, or by another process, without a gap.
func TestFailedBackUnderANewEpoch(t *testing.T) {
	again := func(gap time.Duration) *history.History {
		h := history.New()
		h.SetEpoch("east/1", 1, 0, 0)
		down(h, 10*second, 60*second)
		h.SetEpoch("east/1", 2, 200*second, 200*second)
		h.SetEpoch("east/1", 0, 300*second, 300*second)
		h.SetEpoch("east/2", 3, 300*second+gap, 300*second+gap)
		h.Finish(400 * second)
		return h
	}
	expect(t, check.FailedBack(time.Minute).Evaluate(again(0)), check.StatusPassed, "east writes again after 0s")
	expect(t, check.FailedBack(time.Minute).Evaluate(again(second)), check.StatusFailed, "after 4m1s")
}

// Those who waited for a fault to end come at once: within the second in which it ended.
func TestSurgeAtTheEndOfTheFault(t *testing.T) {
	h := history.New()
	down(h, 20*second, 40*second+time.Microsecond)
	for s := range 100 {
		h.AddRequest("api", time.Duration(s)*second+second/2, 10)
	}
	h.AddRequest("api", 40*second+50*time.Millisecond, 500)
	h.Finish(100 * second)
	expect(t, check.Surge(2).Evaluate(h), check.StatusFailed, "11 times", "worst from 40s to 45s: 110 requests a second, 10 before")
	expect(t, check.Surge(11).Evaluate(h), check.StatusPassed)
}

// A key that was deleted is as young as its deletion, and a copy that has it no more is not stale.
func TestDeletedKeys(t *testing.T) {
	deleted := func(at time.Duration) *history.History {
		h := history.New()
		h.AddWrite(history.Write{Group: "db", Store: "db", Key: "k", At: second})
		h.AddDelete("db", "k", at)
		h.AddRead(history.Read{Group: "db", Store: "dr", Key: "k", Seen: -1, At: 50 * second}, false)
		h.SetContent("db", "db", true, map[string]string{})
		h.SetContent("db", "dr", false, map[string]string{"k": "1"})
		h.Finish(60 * second)
		return h
	}
	expect(t, check.Converged().Evaluate(deleted(58*second)), check.StatusPassed)
	expect(t, check.Converged().Evaluate(deleted(20*second)), check.StatusFailed, `dr has "k", which the writer has not`)
	expect(t, check.Staleness(10*second).Evaluate(deleted(20*second).Snapshot(60*second)), check.StatusPassed, "0 of 1 answers")
}
