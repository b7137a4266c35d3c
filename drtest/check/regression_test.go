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
