package check_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

const second = time.Second

// ops returns one operation a second from 0 to 100, of which those at the given seconds fail.
func ops(h *history.History, failed ...int) {
	for s := range 100 {
		op := history.Op{Class: "c", Load: "l", Seq: s, Start: time.Duration(s) * second, End: time.Duration(s)*second + 1, Weight: 1, Attempts: 1}
		if slices.Contains(failed, s) {
			op.Outcome = history.OutcomeUnknown
		}
		h.AddOp(op)
	}
}

func seconds(from, to int) (list []int) {
	for s := from; s < to; s++ {
		list = append(list, s)
	}
	return list
}

func down(h *history.History, from, to time.Duration) {
	n := h.FaultStarts(history.Fault{Text: "down", From: from})
	h.FaultEnds(n, to)
}

func expect(t *testing.T, v check.Verdict, status check.Status, want ...string) {
	t.Helper()
	if v.Status != status {
		t.Errorf("status %s, want %s: %v", v.Status, status, v)
	}
	for _, w := range want {
		if !strings.Contains(v.String(), w) {
			t.Errorf("no %q in %v", w, v)
		}
	}
}

func TestRTO(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faults [][2]time.Duration
		failed []int
		limit  time.Duration
		status check.Status
		want   string
	}{
		{"no fault", nil, nil, second, check.StatusInconclusive, "no fault was injected"},
		{"no harm", [][2]time.Duration{{10 * second, 20 * second}}, nil, second, check.StatusPassed, "no window of 1s"},
		{"harm before the fault does not count", [][2]time.Duration{{10 * second, 20 * second}}, []int{5}, second, check.StatusPassed, "0s"},
		{"recovered", [][2]time.Duration{{10 * second, 20 * second}}, seconds(10, 15), 5 * second, check.StatusPassed, "RTO: 5s"},
		{"too slow", [][2]time.Duration{{10 * second, 20 * second}}, seconds(10, 15), 4 * second, check.StatusFailed, "RTO: 5s, want at most 4s"},
		{"a relapse is no recovery", [][2]time.Duration{{10 * second, 20 * second}}, append(seconds(10, 15), 40), 20 * second, check.StatusFailed, "RTO: 31s"},
		{"not recovered", [][2]time.Duration{{10 * second, 20 * second}}, seconds(10, 100), time.Hour, check.StatusFailed, "not recovered"},
		{"each fault until the next", [][2]time.Duration{{10 * second, 20 * second}, {50 * second, 60 * second}}, []int{10, 50, 51, 52}, 3 * second, check.StatusPassed, "RTO: 3s"},
		{"nothing after the fault", [][2]time.Duration{{200 * second, 300 * second}}, nil, second, check.StatusInconclusive, "no operation was due"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := history.New()
			for _, f := range tt.faults {
				down(h, f[0], f[1])
			}
			ops(h, tt.failed...)
			h.Finish(400 * second)
			expect(t, check.RTO(tt.limit).Evaluate(h), tt.status, tt.want)
		})
	}
}

func TestRTOPhasesSum(t *testing.T) {
	h := history.New()
	down(h, 10*second, 60*second)
	for _, m := range []history.Mark{
		{Kind: history.MarkDetected, Name: "monitor", At: 13 * second},
		{Kind: history.MarkDetected, Name: "late", At: 19 * second},
		{Kind: history.MarkPromoted, Name: "db", At: 18 * second},
	} {
		h.AddMark(m)
	}
	ops(h, seconds(10, 30)...)
	h.Finish(100 * second)
	v := check.RTO(time.Minute).For("c").Floor(
		check.Setting{Name: "interval × threshold", Took: 3 * second}, check.Setting{Name: "promotion", Took: 10 * second}).Evaluate(h)
	expect(t, v, check.StatusPassed, "RTO(c): 20s", "floor from configuration: 13s; promotion dominates with 10s", "measured − floor: 7s")
	var sum float64
	var names []string
	for _, p := range v.Phases {
		sum += p.Seconds
		names = append(names, p.Name)
	}
	if sum != 20 || !slices.Equal(names, []string{"detect", "decide+switch", "recover"}) {
		t.Errorf("phases %v sum to %v", v.Phases, sum)
	}
}

func TestRTODegraded(t *testing.T) {
	h := history.New()
	down(h, 0, 10*second)
	h.AddOp(history.Op{Class: "c", Start: second, Weight: 1, Degraded: true})
	h.AddOp(history.Op{Class: "c", Start: 20 * second, Weight: 1})
	h.Finish(30 * second)
	expect(t, check.RTO(5*second).Evaluate(h), check.StatusFailed)
	expect(t, check.RTO(5*second).WithDegraded().Evaluate(h), check.StatusPassed)
	expect(t, check.RTO(5*second).For("other").Evaluate(h), check.StatusInconclusive)
	expect(t, check.RTO(5*second).Window(0, 1).Evaluate(h), check.StatusInconclusive, "makes no sense")
	expect(t, check.RTO(5*second).Window(30*second, 0.5).Evaluate(h), check.StatusPassed)
}

// acked writes and acknowledges keys at seconds of their index.
func acked(h *history.History, group string, keys ...string) {
	for i, k := range keys {
		at := time.Duration(i+1) * second
		h.AddWrite(history.Write{Group: group, Store: group, Key: k, At: at})
		h.AddAck(history.Ack{Key: k, At: at + time.Millisecond})
	}
}

func TestLossAndRPO(t *testing.T) {
	h := history.New()
	acked(h, "db", "a", "b", "c", "d")
	h.AddAck(history.Ack{Key: "done", At: 5 * second})
	h.AddEffect(history.Effect{Kind: "mail", Key: "done", At: 6 * second})
	down(h, 10*second, 20*second)
	h.SetSurvivors("db", map[string]bool{"a": true, "c": true})
	h.Finish(30 * second)
	expect(t, check.LostWrites(2).Evaluate(h), check.StatusPassed, "2 of 5 acknowledged writes lost", `lost "b": committed in db at 2s`)
	expect(t, check.LostWrites(1).Evaluate(h), check.StatusFailed)
	expect(t, check.RPO(8*second).Evaluate(h), check.StatusPassed, "RPO: 8s", "oldest committed at 2s, newest at 4s", "8s after the oldest")
	expect(t, check.RPO(7*second).Evaluate(h), check.StatusFailed)
	expect(t, check.LostWrites(0).In(func(string) bool { return true }).Evaluate(h), check.StatusPassed)
	expect(t, check.LostWrites(4).In(func(string) bool { return false }).Evaluate(h), check.StatusFailed)
}

func TestRPOWithoutAFault(t *testing.T) {
	h := history.New()
	acked(h, "db", "a", "b", "c")
	h.SetSurvivors("db", map[string]bool{})
	expect(t, check.RPO(2*second).Evaluate(h), check.StatusPassed, "RPO: 2s")
	h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "dr", At: 9 * second})
	expect(t, check.RPO(2*second).Evaluate(h), check.StatusFailed, "RPO: 8s", "promotion of dr")
}

func TestNothingAcknowledged(t *testing.T) {
	expect(t, check.RPO(0).Evaluate(history.New()), check.StatusInconclusive, "Op.Acked")
	expect(t, check.LostWrites(0).Evaluate(history.New()), check.StatusInconclusive)
}

func TestAcknowledgedAndNeverWritten(t *testing.T) {
	h := history.New()
	h.AddAck(history.Ack{Key: "ghost", At: second})
	expect(t, check.LostWrites(0).Evaluate(h), check.StatusFailed, "in no store and without effect")
	expect(t, check.RPO(0).Evaluate(h), check.StatusPassed) // one instant reaches back by nothing
}

func TestAvailabilityWeighs(t *testing.T) {
	h := history.New()
	h.AddOp(history.Op{Class: "c", Weight: 90})
	h.AddOp(history.Op{Class: "c", Weight: 5, Degraded: true})
	h.AddOp(history.Op{Class: "c", Weight: 3, Outcome: history.OutcomeFailed})
	h.AddOp(history.Op{Class: "c", Weight: 2, Outcome: history.OutcomeUnknown})
	expect(t, check.Availability(0.9).Evaluate(h), check.StatusPassed, "90 %", "90 ok, 5 degraded, 3 failed, 2 unknown")
	expect(t, check.Availability(0.91).For("c").Evaluate(h), check.StatusFailed, "Availability(c)")
	expect(t, check.Availability(0.95).WithDegraded().Evaluate(h), check.StatusPassed)
	expect(t, check.Availability(0).For("x").Evaluate(h), check.StatusInconclusive)
}

func TestAmplification(t *testing.T) {
	h := history.New()
	down(h, 10*second, 20*second)
	for s := range 30 {
		attempts := 1
		if s >= 10 && s < 20 {
			attempts = 4
		}
		h.AddOp(history.Op{Class: "c", Seq: s, Start: time.Duration(s) * second, Weight: 2, Attempts: attempts})
	}
	h.Finish(30 * second)
	expect(t, check.Amplification(4).Evaluate(h), check.StatusPassed, "over the whole time 2")
	expect(t, check.Amplification(3).For("c").Evaluate(h), check.StatusFailed, `worst from 10s to 20s: 80 requests for 20 operations, while "down"`)
	expect(t, check.Amplification(3).Evaluate(history.New()), check.StatusInconclusive)
}

func TestDrained(t *testing.T) {
	h := history.New()
	down(h, 10*second, 20*second)
	for s := range 60 {
		v := 0.0
		if s >= 10 && s < 40 {
			v = float64(40 - s)
		}
		h.AddSample("backlog", history.Sample{At: time.Duration(s) * second, Value: v})
	}
	expect(t, check.Drained("backlog", 20*second).Evaluate(h), check.StatusPassed, "drained 19s after", "highest 30 at 10s")
	expect(t, check.Drained("backlog", 10*second).Evaluate(h), check.StatusFailed)
	expect(t, check.Drained("backlog", 10*second).To(10).Evaluate(h), check.StatusPassed)
	expect(t, check.Drained("other", second).Evaluate(h), check.StatusInconclusive)
	h.AddSample("backlog", history.Sample{At: 60 * second, Value: 3})
	expect(t, check.Drained("backlog", time.Hour).Evaluate(h), check.StatusFailed, "3 left at the end")
}

func TestAppliedOnce(t *testing.T) {
	h := history.New()
	for i, k := range []string{"1", "2", "1", "1"} {
		h.AddEffect(history.Effect{Kind: "charge", Key: k, At: time.Duration(i) * second})
	}
	h.AddEffect(history.Effect{Kind: "mail", Key: "1"})
	expect(t, check.AppliedOnce("mail").Evaluate(h), check.StatusPassed)
	expect(t, check.AppliedOnce().Evaluate(h), check.StatusFailed, "2 of 5 effects", `charge of "1" at 0s and again at 2s`)
	expect(t, check.AppliedOnce("gift").Evaluate(h), check.StatusInconclusive)
}

func TestSingleWriter(t *testing.T) {
	h := history.New()
	expect(t, check.SingleWriter().Evaluate(h), check.StatusInconclusive)
	h.SetEpoch("east/1", 1, 0, 0)
	h.SetEpoch("east/2", 1, 0, 0)
	h.SetEpoch("east/1", 0, 10*second, 10*second)
	h.SetEpoch("east/2", 0, 10*second, 10*second)
	h.SetEpoch("west/1", 2, 10*second, 10*second)
	h.SetEpoch("west/1", 0, 12*second, 12*second)
	expect(t, check.SingleWriter().Evaluate(h), check.StatusPassed)
	h.SetEpoch("west/1", 2, 14*second, 14*second)
	h.SetEpoch("east/1", 1, 15*second, 15*second)
	h.SetEpoch("east/1", 0, 16*second, 16*second)
	h.Finish(20 * second)
	expect(t, check.SingleWriter().Evaluate(h), check.StatusFailed, "west/1 under epoch 2 and east/1 under epoch 1 both may write from 15s to 16s")
}

func TestWritesInDeposedStores(t *testing.T) {
	h := history.New()
	h.AddStore("db", "db")
	h.AddStore("dr", "db")
	h.AddWrite(history.Write{Group: "db", Store: "db", Key: "a", Epoch: 1, At: second})
	h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "dr", Text: "in west", At: 2 * second})
	h.AddWrite(history.Write{Group: "db", Store: "dr", Key: "b", Epoch: 2, At: 3 * second})
	expect(t, check.SingleWriter().Evaluate(h), check.StatusPassed)
	h.AddWrite(history.Write{Group: "db", Store: "db", Key: "c", Epoch: 1, At: 4 * second})
	expect(t, check.SingleWriter().Evaluate(h), check.StatusFailed, `db committed "c" under epoch 1 at 4s, after dr was promoted in west at 2s`)
}

func TestExamplesAreFew(t *testing.T) {
	h := history.New()
	for range 2 {
		for _, k := range strings.Split("abcdefgh", "") {
			h.AddEffect(history.Effect{Kind: "k", Key: k})
		}
	}
	expect(t, check.AppliedOnce().Evaluate(h), check.StatusFailed, "and 3 more")
}
