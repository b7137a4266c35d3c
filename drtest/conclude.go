package drtest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/holdfast-go/holdfast/drtest/report"
)

// Report returns what the World came to. It is nil until [Run] has evaluated the checks: keep the World and
// ask after Run has returned, or in a cleanup of the outer test.
func (w *World) Report() *report.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}

// evaluate asks the checks, outside the bubble and after its end.
func (w *World) evaluate() *report.Report {
	r := report.New(w.info(), w.history, w.checks)
	w.mu.Lock()
	w.report = r
	w.mu.Unlock()
	return r
}

// judge evaluates the World and fails the test if a check did not pass.
func (w *World) judge() *report.Report {
	r := w.evaluate()
	for _, v := range r.Verdicts {
		if !v.Passed() {
			w.run.fail("drtest: %s", v)
		}
	}
	if r.Ties > 0 && w.config.TieFree {
		w.run.fail("%s", tied(r))
	}
	return r
}

func tied(r *report.Report) string {
	return fmt.Sprintf("drtest: %d events share a nanosecond with another, first %s", r.Ties, r.FirstTie)
}

func (w *World) info() report.Info {
	info := report.Info{
		Name: w.run.t.Name(), Seed: w.config.Seed, StartAt: w.config.StartAt, Fidelity: "bytes", Rules: map[string]string{}, Scenarios: []json.RawMessage{},
	}
	if w.config.Fidelity == FidelityMessages {
		info.Fidelity = "messages"
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
func (w *World) publish(r *report.Report) {
	t := w.run.t
	t.Helper()
	if w.config.Artifacts == "" {
		if testing.Verbose() || len(w.run.failures) > 0 || t.Failed() {
			t.Log("\n" + r.Text())
		}
		return
	}
	data, err := r.JSON()
	if err == nil {
		err = writeArtifact(w.config.Artifacts, t.Name(), ".json", append(data, '\n'))
	}
	if err == nil {
		err = writeArtifact(w.config.Artifacts, t.Name(), ".txt", []byte(r.Text()))
	}
	if err != nil {
		t.Error(err)
	}
}
