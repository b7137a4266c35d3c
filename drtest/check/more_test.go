package check_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

func TestErrorBudget(t *testing.T) {
	h := history.New()
	down(h, 10*second, 20*second)
	ops(h, seconds(10, 15)...) // 5 of 100, one a second
	h.Finish(100 * second)
	// An hour at one a second: 3600 operations, of which 1 % is 36; 5 are 13.9 % of that.
	expect(t, check.ErrorBudget(0.99, time.Hour).Evaluate(h), check.StatusPassed, "ErrorBudget: 13.89 % burned", `5 operations failed, the budget of 1h0m0s is 36.0, while "down"`)
	expect(t, check.ErrorBudget(0.99, time.Hour).AtMost(0.1).Evaluate(h), check.StatusFailed)
	expect(t, check.ErrorBudget(0.999, time.Hour).Evaluate(h), check.StatusFailed, "138.9 %")
	expect(t, check.ErrorBudget(0.9, 10*second).Evaluate(h), check.StatusFailed, "500 %") // one of ten may fail, five did
	expect(t, check.ErrorBudget(0.9, 100*second).Evaluate(h), check.StatusPassed, "50 %")
	expect(t, check.ErrorBudget(0.9, time.Hour).For("nobody").Evaluate(h), check.StatusInconclusive, "no operation ended")
	expect(t, check.ErrorBudget(1, time.Hour).Evaluate(h), check.StatusInconclusive, "makes no sense")
	expect(t, check.ErrorBudget(0.99, time.Hour).For("POST").Evaluate(twoClasses()), check.StatusFailed)
	expect(t, check.ErrorBudget(0.99, time.Hour).Evaluate(twoClasses()), check.StatusFailed, `class "POST" burned the most`)
}

func TestErrorBudgetDegraded(t *testing.T) {
	h := history.New()
	h.AddOp(history.Op{Class: "c", Weight: 1, Degraded: true})
	h.Finish(10 * second)
	expect(t, check.ErrorBudget(0.99, time.Minute).Evaluate(h), check.StatusFailed)
	expect(t, check.ErrorBudget(0.99, time.Minute).WithDegraded().Evaluate(h), check.StatusPassed)
}

// timed has operations of class c that take 1 to 100 ms, of which the last ones time out.
func timed(unknown int) *history.History {
	h := history.New()
	for i := range 100 {
		op := history.Op{Class: "c", Load: "l", Seq: i, Start: time.Duration(i) * second, Weight: 1}
		op.End = op.Start + time.Duration(i+1)*time.Millisecond
		if i >= 100-unknown {
			op.Outcome = history.OutcomeUnknown
		}
		h.AddOp(op)
	}
	h.Finish(200 * second)
	return h
}

func TestLatency(t *testing.T) {
	expect(t, check.Latency(0.99, 99*time.Millisecond).Evaluate(timed(0)), check.StatusPassed, "Latency 99 %: 99ms")
	expect(t, check.Latency(0.99, 98*time.Millisecond).Evaluate(timed(0)), check.StatusFailed)
	expect(t, check.Latency(1, 99*time.Millisecond).For("c").Evaluate(timed(0)), check.StatusFailed, "Latency 100 %(c): 100ms")
	expect(t, check.Latency(0.5, 50*time.Millisecond).Evaluate(timed(2)), check.StatusPassed)
	expect(t, check.Latency(0.99, time.Hour).Evaluate(timed(2)), check.StatusFailed, "an operation that timed out")
	expect(t, check.Latency(0.99, time.Hour).For("d").Evaluate(timed(0)), check.StatusInconclusive, "no operation")
	expect(t, check.Latency(0, time.Hour).Evaluate(timed(0)), check.StatusInconclusive, "0 is no quantile")
}

// A failure that comes at once does not make a service quick, and much quick traffic does not hide a slow class.
func TestLatencyOfWhatSucceeded(t *testing.T) {
	h := history.New()
	h.AddOp(history.Op{Class: "quick", Weight: 1000, End: time.Millisecond})
	h.AddOp(history.Op{Class: "slow", Weight: 1, End: time.Second})
	h.AddOp(history.Op{Class: "slow", Weight: 100, Outcome: history.OutcomeFailed, End: time.Microsecond})
	h.Finish(second)
	expect(t, check.Latency(0.5, 10*time.Millisecond).Evaluate(h), check.StatusFailed, "1s", `class "slow"`)
}

// moved has east write, lose that at 10 s, and write again from a second on; 0 = never.
func moved(again time.Duration) *history.History {
	h := history.New()
	h.SetEpoch("east/1", 1, 0, 0)
	down(h, 10*second, 60*second)
	h.SetEpoch("east/1", 0, 11*second, 11*second)
	h.SetEpoch("west/1", 2, 20*second, 20*second)
	if again > 0 {
		h.SetEpoch("west/1", 0, again, again)
		h.SetEpoch("east/2", 3, again, again)
	}
	h.Finish(400 * second)
	return h
}

func TestFailedBackByTerms(t *testing.T) {
	expect(t, check.FailedBack(time.Minute).Evaluate(moved(100*second)), check.StatusPassed, "FailedBack: east writes again after 40s")
	expect(t, check.FailedBack(30*second).Evaluate(moved(100*second)), check.StatusFailed, "west/1 may still write at 1m40s")
	expect(t, check.FailedBack(time.Minute).Evaluate(moved(0)), check.StatusFailed, "west/1 may still write")
	expect(t, check.FailedBack(time.Hour).Evaluate(moved(0)), check.StatusInconclusive, "the record ends at 6m40s")

	nobody := history.New()
	nobody.SetEpoch("east", 1, 0, 0)
	down(nobody, 10*second, 20*second)
	nobody.SetEpoch("east", 0, 30*second, 30*second)
	nobody.Finish(200 * second)
	expect(t, check.FailedBack(second).Evaluate(nobody), check.StatusFailed, "east may not write at the end")
}

func TestFailedBackByAnswers(t *testing.T) {
	answers := func(region string) *history.History {
		h := history.New()
		down(h, 10*second, 20*second)
		for s := range 100 {
			op := history.Op{Class: "c", Load: "l", Seq: s, Start: time.Duration(s) * second, End: time.Duration(s)*second + 1, Weight: 1, Region: "east"}
			if s >= 10 && s < 25 {
				op.Region = "west"
			} else if s >= 25 {
				op.Region = region
			}
			h.AddOp(op)
		}
		h.Finish(100 * second)
		return h
	}
	expect(t, check.FailedBack(10*second).Evaluate(answers("east")), check.StatusPassed, "east answers 100 %")
	expect(t, check.FailedBack(time.Second).Evaluate(answers("east")), check.StatusFailed, "east answers 94.94 %")
	expect(t, check.FailedBack(time.Second).Share(0.9).Evaluate(answers("east")), check.StatusPassed)
	expect(t, check.FailedBack(10*second).Evaluate(answers("west")), check.StatusFailed, "east answers 0 %")
	expect(t, check.FailedBack(10*second).Evaluate(answers("")), check.StatusInconclusive, "nobody was followed")

	open := history.New()
	open.FaultStarts(history.Fault{Text: "down", From: second})
	open.Finish(10 * second)
	expect(t, check.FailedBack(second).Evaluate(open), check.StatusInconclusive, `"down" at 1s never ended`)
	expect(t, check.FailedBack(second).Evaluate(history.New()), check.StatusInconclusive, "no fault")
}

func TestSurge(t *testing.T) {
	after := func(times float64) *history.History {
		h := history.New()
		down(h, 20*second, 40*second)
		for s := range 100 {
			weight := 10.0
			if s >= 20 && s < 40 {
				weight = 100 // while the fault is there: that is for Amplification
			}
			if s >= 50 && s < 55 {
				weight *= times
			}
			h.AddRequest("api", time.Duration(s)*second+second/2, weight)
		}
		h.AddRequest("other", 50*second, 1)
		h.Finish(100 * second)
		return h
	}
	expect(t, check.Surge(2).On("api").Evaluate(after(2)), check.StatusPassed, "Surge(api): 2 times", "worst from 49.6s to 54.6s: 20 requests a second, 10 before")
	expect(t, check.Surge(2).Evaluate(after(2)), check.StatusFailed, "Surge: 2.02 times")
	expect(t, check.Surge(2).On("api").Evaluate(after(5)), check.StatusFailed, "5 times")
	expect(t, check.Surge(3).On("api").Window(10*second).Evaluate(after(5)), check.StatusPassed, "3 times")
	expect(t, check.Surge(2).On("nobody").Evaluate(after(5)), check.StatusInconclusive, "no request was sent before")
	expect(t, check.Surge(2).Window(11*second).Evaluate(after(5)), check.StatusInconclusive, "the first fault came at 20s: too early")
	expect(t, check.Surge(2).Window(time.Millisecond).Evaluate(after(5)), check.StatusInconclusive, "below a second")
	expect(t, check.Surge(2).Evaluate(history.New()), check.StatusInconclusive, "no fault was injected that ended")
}

func contents(replica map[string]string) *history.History {
	h := history.New()
	for i, key := range []string{"a", "b", "c"} {
		h.AddWrite(history.Write{Group: "db", Store: "db", Key: key, At: time.Duration(i+1) * 10 * second})
	}
	h.SetContent("db", "db", true, map[string]string{"a": "1", "b": "1", "c": "1"})
	if replica != nil {
		h.SetContent("db", "dr", false, replica)
	}
	h.Finish(32 * second)
	return h
}

func TestConverged(t *testing.T) {
	expect(t, check.Converged().Evaluate(contents(map[string]string{"a": "1", "b": "1", "c": "1"})), check.StatusPassed, "Converged: 0 differences in 1 copies")
	expect(t, check.Converged("db").Evaluate(contents(map[string]string{"a": "1", "b": "1"})), check.StatusPassed) // c is two seconds old
	expect(t, check.Converged().Within(time.Second).Evaluate(contents(map[string]string{"a": "1", "b": "1"})), check.StatusFailed, `dr lacks "c"`)
	expect(t, check.Converged().Evaluate(contents(map[string]string{"b": "2", "x": "1"})), check.StatusFailed,
		"3 differences", `dr lacks "a"`, `dr has another value of "b"`, `dr has "x", which the writer has not`)
	expect(t, check.Converged("db").Evaluate(contents(nil)), check.StatusInconclusive, `group "db" has no writer and copies`)
	expect(t, check.Converged("other").Evaluate(contents(nil)), check.StatusInconclusive)
	expect(t, check.Converged().Evaluate(history.New()), check.StatusInconclusive, "there are no copies")
}

func TestStaleness(t *testing.T) {
	h := history.New()
	for _, at := range []time.Duration{10, 20} {
		h.AddWrite(history.Write{Group: "db", Store: "db", Key: "k", At: at * second})
	}
	read := func(seen, at time.Duration) {
		h.AddRead(history.Read{Group: "db", Store: "dr", Key: "k", Seen: seen, At: at}, false)
	}
	read(-1, 5*second)         // before anything was written
	read(-1, 12*second)        // 2 s old
	read(10*second, 15*second) // the newest there was
	read(10*second, 23*second) // 3 s old
	h.AddRead(history.Read{Group: "db", Store: "db", Key: "k", Seen: 20 * second, At: 25 * second}, true)
	h.AddOp(history.Op{Class: "GET", Load: "l", Age: 7 * second, End: 30 * second, Weight: 1})
	h.Finish(100 * second)
	expect(t, check.Staleness(7*second).Evaluate(h), check.StatusPassed, "Staleness: 7s", "0 of 6 answers")
	expect(t, check.Staleness(2500*time.Millisecond).Evaluate(h), check.StatusFailed, "2 of 6 answers were older", `what GET 0/0 was given at 30s was 7s old`, `"k" read from dr at 23s was 3s old`)
	expect(t, check.Staleness(3*second).In("db").Evaluate(h), check.StatusPassed, "Staleness(db): 3s")
	expect(t, check.Staleness(second).Evaluate(history.New()), check.StatusInconclusive, "nothing was read")
}

func TestRecoverySince(t *testing.T) {
	h := history.New()
	h.FaultStarts(history.Fault{Text: "west is down", From: 5 * second}) // and stays
	ops(h, append(seconds(5, 35), seconds(40, 42)...)...)
	h.Finish(100 * second)
	expect(t, check.RTO(12*second).For("c").Since(30*second, "the core is healed").Evaluate(h), check.StatusPassed, `Recovery(c): 12s`, `"the core is healed" at 30s`)
	expect(t, check.RTO(11*second).Since(30*second, "the core is healed").Evaluate(h), check.StatusFailed, "Recovery: 12s")
	expect(t, check.RTO(time.Second).Since(50*second, "the core is healed").Evaluate(h), check.StatusPassed, "Recovery: 0s")
}
