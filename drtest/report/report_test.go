package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
)

// drill is the history of a drill that was recorded by hand.
func drill() *history.History {
	h := history.New()
	h.AddMark(history.Mark{Kind: "process", Name: "app", Text: "started"})
	n := h.FaultStarts(history.Fault{Text: "a is down", From: 10 * time.Second})
	h.AddMark(history.Mark{Kind: "detected", Name: "app", At: 12 * time.Second})
	h.FaultEnds(n, 20*time.Second)
	for i, o := range []history.Outcome{history.OutcomeOK, history.OutcomeFailed, history.OutcomeUnknown, history.OutcomeOK} {
		h.AddOp(history.Op{Load: "l", Class: "c", Seq: i, Outcome: o, Weight: 10, Degraded: i == 3, End: time.Duration(i)})
	}
	h.Finish(time.Minute)
	return h
}

func TestReport(t *testing.T) {
	r := report.New(report.Info{Name: "drill", Seed: 3, Rules: map[string]string{"l": "all"}}, drill(), []check.Check{check.Availability(0.9), check.AppliedOnce()})
	if r.Passed() {
		t.Error("the report passes although its checks do not")
	}
	if l := r.Loads[0]; l.Sent != 4 || l.Weight != 40 || l.OK != 10 || l.Degraded != 10 || l.Failed != 10 || l.Unknown != 10 {
		t.Errorf("load %+v", l)
	}
	var what []string
	for _, l := range r.Timeline {
		what = append(what, l.What)
	}
	if got, want := strings.Join(what, "; "), "process: app started; fault: a is down; detected: app; healed: a is down"; got != want {
		t.Errorf("timeline %q, want %q", got, want)
	}
	for _, want := range []string{"drill: 1m0s of virtual time", "seed 3", "no ties", "  l: all", "failed       Availability: 25 %", "inconclusive AppliedOnce"} {
		if !strings.Contains(r.Text(), want) {
			t.Errorf("no %q in:\n%s", want, r.Text())
		}
	}
	data, err := r.JSON()
	if err != nil || !json.Valid(data) {
		t.Errorf("JSON: %v", err)
	}
}

func TestLongTimelineIsCut(t *testing.T) {
	h := history.New()
	for i := range 100 {
		h.AddMark(history.Mark{Kind: "tick", At: time.Duration(i)})
	}
	if text := report.New(report.Info{}, h, nil).Text(); !strings.Contains(text, "and 40 more lines") {
		t.Errorf("text:\n%s", text)
	}
}

func TestTiesAreTold(t *testing.T) {
	h := history.New()
	h.Occur(1, "a", 0, 0)
	h.Occur(1, "b", 0, 0)
	if text := report.New(report.Info{}, h, nil).Text(); !strings.Contains(text, "1 ties (a 0/0 and b 0/0 at 1ns)") {
		t.Errorf("text:\n%s", text)
	}
}
