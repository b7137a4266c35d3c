package history_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

func record(order ...string) *history.History {
	h := history.New()
	for i, key := range order {
		h.AddAck(history.Ack{Key: key, At: time.Duration(i)})
	}
	return h
}

func TestHashIsOfTheOrder(t *testing.T) {
	if a, b := record("a", "b").Hash(), record("a", "b").Hash(); a != b {
		t.Errorf("equal histories have hashes %s and %s", a, b)
	}
	if record("a", "b").Hash() == record("b", "a").Hash() {
		t.Error("two orders have one hash")
	}
}

// Every kind of record is in the hash.
func TestHashCoversEverything(t *testing.T) {
	seen := map[string]bool{history.New().Hash(): true}
	for name, add := range map[string]func(*history.History){
		"op":     func(h *history.History) { h.AddOp(history.Op{}) },
		"ack":    func(h *history.History) { h.AddAck(history.Ack{}) },
		"effect": func(h *history.History) { h.AddEffect(history.Effect{}) },
		"write":  func(h *history.History) { h.AddWrite(history.Write{}) },
		"fault":  func(h *history.History) { h.FaultStarts(history.Fault{}) },
		"heal":   func(h *history.History) { h.FaultEnds(h.FaultStarts(history.Fault{}), 1) },
		"mark":   func(h *history.History) { h.AddMark(history.Mark{}) },
		"epoch":  func(h *history.History) { h.SetEpoch("x", 1, 0, 0) },
	} {
		h := history.New()
		add(h)
		if sum := h.Hash(); seen[sum] {
			t.Errorf("%s does not change the hash", name)
		} else {
			seen[sum] = true
		}
	}
}

func TestTies(t *testing.T) {
	h := history.New()
	for _, at := range []time.Duration{1, 1} {
		if !h.Occur(at, "a", 0, 0) {
			t.Error("a source ties with itself")
		}
	}
	if !h.Occur(2, "b", 0, 0) {
		t.Error("a source ties with an earlier instant")
	}
	if h.Occur(2, "a", 1, 0) {
		t.Error("two sources in one nanosecond are no tie")
	}
	h.AddOp(history.Op{Load: "a", Client: 1, Seq: 1, End: 2})
	if n, first := h.Ties(); n != 2 || !strings.Contains(first, "b 0/0 and a 1/0") {
		t.Errorf("Ties = %d, %q", n, first)
	}
}

func TestTerms(t *testing.T) {
	h := history.New()
	if h.SetEpoch("x", 0, 0, 0) {
		t.Error("no epoch at first is a change")
	}
	if !h.SetEpoch("x", 1, 1, 1) || h.SetEpoch("x", 1, 2, 2) || !h.SetEpoch("x", 2, 3, 3) || !h.SetEpoch("x", 0, 4, 4) || !h.SetEpoch("x", 3, 5, 5) {
		t.Error("SetEpoch misjudges a change")
	}
	h.Finish(9)
	want := []history.Term{{Name: "x", Epoch: 1, From: 1, To: 3}, {Name: "x", Epoch: 2, From: 3, To: 4}, {Name: "x", Epoch: 3, From: 5, To: 9}}
	for i, term := range h.Terms() {
		if term != want[i] {
			t.Errorf("term %d = %+v, want %+v", i, term, want[i])
		}
	}
}

func TestFinishEndsOpenFaults(t *testing.T) {
	h := history.New()
	h.FaultEnds(h.FaultStarts(history.Fault{From: 1}), 2)
	h.FaultStarts(history.Fault{From: 3})
	h.Finish(9)
	if f := h.Faults(); f[0].To != 2 || !f[0].Ended || f[1].To != 9 || f[1].Ended {
		t.Errorf("faults %+v", f)
	}
	if h.End() != 9 {
		t.Errorf("End = %v", h.End())
	}
}

func TestOutcomeString(t *testing.T) {
	for o, want := range map[history.Outcome]string{history.OutcomeOK: "ok", history.OutcomeFailed: "failed", history.OutcomeUnknown: "unknown"} {
		if o.String() != want {
			t.Errorf("%d is called %q", o, o)
		}
	}
}

func TestNothingIsRecordedAfterTheEnd(t *testing.T) {
	h := history.New()
	n := h.FaultStarts(history.Fault{From: 1})
	h.Finish(5)
	sum := h.Hash()
	h.AddOp(history.Op{})
	h.AddAck(history.Ack{})
	h.AddEffect(history.Effect{})
	h.AddWrite(history.Write{})
	h.AddMark(history.Mark{})
	h.AddSample("g", history.Sample{})
	h.SetEpoch("x", 1, 6, 6)
	h.FaultEnds(n, 7)
	h.FaultStarts(history.Fault{})
	if h.Hash() != sum || len(h.Ops())+len(h.Acks())+len(h.Effects())+len(h.Writes())+len(h.Marks())+len(h.Samples("g"))+len(h.Terms()) != 0 {
		t.Error("something was recorded after the end")
	}
	if f := h.Faults(); len(f) != 1 || f[0].Ended || f[0].To != 5 {
		t.Errorf("faults %+v", f)
	}
}

func TestSinceAndForget(t *testing.T) {
	h := history.New()
	add := func(n int) {
		for range n {
			at := time.Duration(len(h.Marks())) * time.Second
			h.AddMark(history.Mark{Kind: "tick", At: at})
			h.AddOp(history.Op{End: at})
			h.AddAck(history.Ack{At: at})
			h.AddEffect(history.Effect{At: at})
			h.AddWrite(history.Write{At: at})
			h.AddSample("g", history.Sample{At: at})
		}
	}
	counts := func(n history.News) [6]int {
		return [6]int{len(n.Marks), len(n.Ops), len(n.Acks), len(n.Effects), len(n.Writes), len(n.Samples["g"])}
	}
	expect := func(what string, n history.News, want int) {
		t.Helper()
		if got := counts(n); got != [6]int{want, want, want, want, want, want} {
			t.Errorf("%s: %v, want %d each", what, got, want)
		}
	}
	var none history.Cursor
	add(10)
	news, at := h.Since(none)
	expect("the first ten", news, 10)
	news, at = h.Since(at)
	expect("nothing new", news, 0)
	ops := h.Ops()
	h.Forget(4 * time.Second)
	if len(ops) != 10 || ops[0].End != 0 || ops[9].End != 9*time.Second {
		t.Error("Forget changed what was read before")
	}
	news, _ = h.Since(none)
	expect("what is left", news, 6)
	news, at = h.Since(at)
	expect("nothing new after Forget", news, 0)
	add(3) // at 6 s, 7 s and 8 s: times come from the number of marks that are left
	h.Forget(100 * time.Second)
	news, at = h.Since(at)
	expect("new and forgotten", news, 0)
	add(2)
	news, _ = h.Since(at)
	expect("two more", news, 2)
	s := h.Snapshot(time.Hour)
	if s.End() != time.Hour || len(s.Ops()) != 2 || s.Hash() != h.Hash() || h.End() != 0 {
		t.Errorf("snapshot: end %v, %d operations", s.End(), len(s.Ops()))
	}
	h.Forget(0)
	history.New().Forget(time.Hour)
}
