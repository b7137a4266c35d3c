package report_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
)

// outage is a report with something in every lane.
func outage(t *testing.T) *report.Report {
	t.Helper()
	h := history.New()
	n := h.FaultStarts(history.Fault{Text: "us-east-1 is down (blackhole)", Kind: "region-down", Target: "region-down us-east-1", From: 5 * time.Minute})
	h.FaultStarts(history.Fault{Event: 1, Text: "30 % of payments answers <500>", Kind: "gray", Target: "gray payments", From: 50 * time.Minute})
	h.SetEpoch("us-east-1/app", 1, 0, 0)
	h.AddMark(history.Mark{Kind: history.MarkBreaker, Name: "payments", Text: "open", At: 5*time.Minute + 2*time.Second})
	h.AddMark(history.Mark{Kind: history.MarkBreaker, Name: "payments", Text: "half-open", At: 5*time.Minute + 20*time.Second})
	h.AddMark(history.Mark{Kind: history.MarkBreaker, Name: "payments", Text: "closed", At: 6 * time.Minute})
	h.AddMark(history.Mark{Kind: history.MarkDetected, Name: "monitor", Text: "3 probes missed", At: 5*time.Minute + 15*time.Second})
	h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "orders-dr", Text: "in us-west-2", At: 5*time.Minute + 45*time.Second})
	h.SetEpoch("us-east-1/app", 0, 5*time.Minute+17*time.Second, 5*time.Minute+16*time.Second)
	h.SetEpoch("us-west-2/app", 2, 5*time.Minute+46*time.Second, 5*time.Minute+46*time.Second)
	h.AddStore("orders", "orders")
	for i := range 3600 {
		at := time.Duration(i) * time.Second
		op := history.Op{Class: "POST /orders", Load: "orders", Seq: i, Start: at, End: at + 40*time.Millisecond, Weight: 10, Region: "us-east-1"}
		switch down := at - 5*time.Minute; {
		case down >= 0 && down < 40*time.Second:
			op.Outcome, op.Region, op.End = history.OutcomeUnknown, "", at+3*time.Second
		case down >= 0 && down < 46*time.Second:
			op.Outcome, op.Region = history.OutcomeFailed, "us-west-2"
		case down >= 0 && down < 52*time.Second:
			op.Degraded, op.Region = true, "us-west-2"
		case down >= 0:
			op.Region, op.End = "us-west-2", at+70*time.Millisecond
		}
		h.AddOp(op)
		if op.Outcome == history.OutcomeOK {
			h.AddAck(history.Ack{Key: at.String(), Class: op.Class, At: at})
			h.AddWrite(history.Write{Group: "orders", Store: "orders", Key: at.String(), At: at})
		}
		h.AddSample("queue <depth>", history.Sample{At: at, Value: float64(max(0, 400-max(i-300, 300-i)))})
	}
	h.FaultEnds(n, 45*time.Minute)
	h.Finish(time.Hour)
	kept := map[string]bool{}
	for _, a := range h.Acks() {
		kept[a.Key] = a.At != 299*time.Second
	}
	h.SetSurvivors("orders", kept)
	return report.New(report.Info{
		Name: "Loss of us-east-1 <script>alert(1)</script>", Seed: 7, StartAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("Kathmandu", 20700)), Fidelity: "bytes",
		Regions: []string{"users", "us-east-1", "us-west-2"}, Rules: map[string]string{"orders": "one in 10 is sent"},
	}, h, []check.Check{check.RTO(time.Minute).Floor(check.Setting{Name: "promotion", Took: 30 * time.Second}), check.RPO(time.Second), check.Availability(0.999), check.AppliedOnce()})
}

func TestHTML(t *testing.T) {
	r := outage(t)
	html := r.HTML()
	for _, want := range []string{
		"Loss of us-east-1 &lt;script&gt;", "52s", "The slowest recovery", "us-east-1 is down (blackhole), 5m to 45m", "epoch 2, from 5m 46s to the end",
		"open, 5m 2s to 5m 20s", "half-open, 5m 20s to 6m", "queue &lt;depth&gt;", "30 % of payments answers &lt;500&gt;, from 50m to the end", "RPO: 1s", "2025-12-31 18:15:00 UTC", "one in 10 is sent",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, not := range []string{"<script", "http://", "https://", "url(", "@import", "onload="} {
		if strings.Contains(html, not) {
			t.Errorf("the page holds %q", not)
		}
	}
	data, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	back, err := report.Parse(data)
	if err != nil || back.HTML() != html {
		t.Errorf("the page of the JSON form differs, or: %v", err)
	}
	if _, err := report.Parse([]byte(`{"version": 99}`)); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("Parse of a later version = %v", err)
	}
	if _, err := report.Parse([]byte(`{`)); err == nil {
		t.Error("Parse of half a report did not fail")
	}
}

// An empty run has a page as well.
func TestHTMLOfNothing(t *testing.T) {
	h := history.New()
	h.Finish(0)
	if html := report.New(report.Info{}, h, nil).HTML(); !strings.Contains(html, "No check was asked for") || strings.Contains(html, "NaN") {
		t.Errorf("page:\n%s", html)
	}
}

// A gauge that has no number for a while costs its readings, not the report.
func TestGaugesWithoutANumber(t *testing.T) {
	h := history.New()
	for i, v := range []float64{math.NaN(), math.Inf(1), 7, math.NaN(), -3, math.Inf(-1)} {
		h.AddSample("hit <ratio>", history.Sample{At: time.Duration(i) * time.Second, Value: v})
	}
	h.Finish(time.Minute)
	r := report.New(report.Info{}, h, nil)
	if _, err := r.JSON(); err != nil {
		t.Errorf("JSON: %v", err)
	}
	if html := r.HTML(); strings.Contains(html, "NaN") || strings.Contains(html, "Inf") || !strings.Contains(html, "highest: 7") {
		t.Errorf("page:\n%s", html)
	}
}

// A report that was edited is refused where its page could not be drawn.
func TestParseRefusesWhatCannotBeDrawn(t *testing.T) {
	for name, edit := range map[string]func(*report.Window){
		"no buckets":    func(w *report.Window) { *w = report.Window{Name: w.Name, To: 60, Bucket: 1} },
		"a short list":  func(w *report.Window) { w.Failed = w.Failed[1:] },
		"a short gauge": func(w *report.Window) { w.Gauges["queue <depth>"] = nil },
		"no length":     func(w *report.Window) { w.To = w.From },
		"for ever":      func(w *report.Window) { w.To = 9.2233720368e9 },
	} {
		r := outage(t)
		edit(&r.Windows[0])
		data, err := r.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := report.Parse(data); err == nil || !strings.Contains(err.Error(), "windows[0]") {
			t.Errorf("%s: Parse = %v", name, err)
		}
	}
}
