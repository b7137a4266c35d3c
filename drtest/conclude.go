package drtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
)

// Report returns what the World came to. Before its end that is what it has come to so far: every check is
// evaluated on the record up to now, each time Report is called. It is nil when a World was given up.
func (w *World) Report() *report.Report {
	w.mu.Lock()
	r, lost := w.report, w.lost
	w.mu.Unlock()
	if r != nil || lost {
		return r
	}
	return w.ReportWith()
}

// ReportWith is [World.Report] up to now with further checks.
func (w *World) ReportWith(checks ...check.Check) *report.Report {
	h := w.history.Snapshot(w.now())
	for group, keys := range w.survivors() {
		h.SetSurvivors(group, keys)
	}
	return w.reportOn(h, checks...)
}

func (w *World) reportOn(h *history.History, more ...check.Check) *report.Report {
	w.mu.Lock()
	info, checks := w.infoLocked(), append(slices.Clone(w.checks), more...)
	w.mu.Unlock()
	return report.New(info, h, checks)
}

// conclude evaluates the checks on the finished record.
func (w *World) conclude() *report.Report {
	r := w.reportOn(w.history)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = r
	return r
}

// judge evaluates the checks, outside the bubble and after its end.
func (r *run) judge(w *World) {
	result := w.conclude()
	for _, v := range result.Verdicts {
		if !v.Passed() {
			r.fail("drtest: %s", v)
		}
	}
	if result.Ties > 0 && r.config.TieFree {
		r.fail("%s", tied(result))
	}
	r.publish(result)
}

func tied(r *report.Report) string {
	return fmt.Sprintf("drtest: %d events share a nanosecond with another, first %s", r.Ties, r.FirstTie)
}

func (w *World) infoLocked() report.Info {
	info := report.Info{
		Name: w.host.name(), RealTime: w.host.real(), Seed: w.config.Seed, StartAt: w.start, Fidelity: "bytes", Rules: map[string]string{}, Scenarios: []json.RawMessage{},
	}
	if w.config.Fidelity == FidelityMessages {
		info.Fidelity = "messages"
	}
	for _, r := range w.order {
		info.Regions = append(info.Regions, r.name)
	}
	for _, t := range w.traffic {
		info.Rules[t.Name] = t.Edges.Rule()
	}
	for _, s := range w.scenarios {
		if data, err := json.Marshal(s); err == nil { // an admitted scenario is valid
			info.Scenarios = append(info.Scenarios, data)
		}
	}
	return info
}

// publish logs or writes the report.
func (r *run) publish(result *report.Report) {
	r.t.Helper()
	if r.config.Artifacts == "" {
		if testing.Verbose() || len(r.failures) > 0 || r.t.Failed() {
			r.t.Log("\n" + result.Text())
		}
		return
	}
	if err := writeReport(r.config.Artifacts, r.t.Name(), result); err != nil {
		r.t.Error(err)
	}
}

// writeReport writes a report in all its forms.
func writeReport(dir, name string, r *report.Report) error {
	data, err := r.JSON()
	if err == nil {
		err = writeArtifact(dir, name, ".json", append(data, '\n'))
	}
	if err == nil {
		err = writeArtifact(dir, name, ".txt", []byte(r.Text()))
	}
	if err == nil {
		err = writeArtifact(dir, name, ".html", []byte(r.HTML()))
	}
	return err
}
