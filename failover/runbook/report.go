package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// A Report says what a run did, when, and by whose word.
type Report struct {
	Runbook string        `json:"runbook"`
	Run     string        `json:"run"`
	Plan    string        `json:"plan"`
	Planned bool          `json:"planned"`
	By      string        `json:"by"`
	Reason  string        `json:"reason,omitempty"`
	Stopped string        `json:"stopped,omitempty"` // why the newest runner stopped
	Outcome string        `json:"outcome"`           // finished, stopped, cancelled, undone or running
	Since   time.Time     `json:"since"`             // when the fault, or else the run, began
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Took    time.Duration `json:"took"` // Since to Ended: the RTO reached
	RTO     time.Duration `json:"rto,omitempty"`
	RPO     time.Duration `json:"rpo,omitempty"`
	// Exposure is the bound of what may have been lost at the switch.
	Exposure time.Duration `json:"exposure,omitempty"`
	Runners  uint64        `json:"runners"` // how many took the run over, the first and those of Undo included
	Phases   []PhaseReport `json:"phases,omitempty"`
	Steps    []StepReport  `json:"steps"`
}

// A StepReport is one step of a [Report].
type StepReport struct {
	Name      string        `json:"name"`
	State     string        `json:"state"`            // done, failed, unknown, waiting, started, skipped, undone, undoing, pending, or "left out" of the mode
	Started   time.Time     `json:"started,omitzero"` // when its turn came first: waiting for approval counts
	Ended     time.Time     `json:"ended,omitzero"`
	Took      time.Duration `json:"took"`
	By        string        `json:"by,omitempty"` // who carried it out, or skipped it
	Approvers []string      `json:"approvers,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

// A PhaseReport is one phase of the outage, made of the steps that name it, or known from before the run.
type PhaseReport struct {
	Phase   string        `json:"phase"`
	Started time.Time     `json:"started,omitzero"`
	Took    time.Duration `json:"took"` // from the start of its first step to the end of its last
}

// Report reads a run's journal. It changes nothing. Errors: [ErrRefused] for an unknown run or one of another runbook, the journal's.
func (r *Runbook) Report(ctx context.Context, runID string, j Journal) (Report, error) {
	if j == nil {
		return Report{}, refused("runbook %q: the journal is nil", r.name)
	}
	entries, err := j.Load(ctx, runID)
	if err != nil {
		return Report{}, err
	}
	h := read(entries)
	if len(entries) == 0 {
		return Report{}, refused("there is no run %q", runID)
	}
	if h.first.Runbook != r.name {
		return Report{}, refused("run %q belongs to runbook %q", runID, h.first.Runbook)
	}
	rep := Report{
		Runbook: r.name, Run: runID, Plan: h.plan, Planned: bool(h.mode), By: h.by, Reason: h.first.Reason, Stopped: h.stopped,
		Started: h.first.At, Since: h.first.At, Runners: h.token,
	}
	rep.Outcome, rep.Ended = result(h)
	if t := h.first.Targets; t != nil {
		rep.RTO, rep.RPO, rep.Exposure = t.RTO, t.RPO, t.Exposure
		if !t.Since.IsZero() {
			rep.Since = t.Since
		}
		for _, p := range t.Before {
			rep.Phases = append(rep.Phases, PhaseReport{Phase: p.Phase, Took: p.Took})
		}
	}
	rep.Took = rep.Ended.Sub(rep.Since)
	for _, s := range r.steps {
		step := stepReport(s, h)
		rep.Steps = append(rep.Steps, step)
		rep.phase(s.Phase, step)
	}
	return rep, nil
}

// phase adds the step's time to its phase.
func (rep *Report) phase(name string, step StepReport) {
	if name == "" || step.Started.IsZero() {
		return
	}
	i := slices.IndexFunc(rep.Phases, func(p PhaseReport) bool { return p.Phase == name && !p.Started.IsZero() })
	if i < 0 {
		rep.Phases = append(rep.Phases, PhaseReport{Phase: name, Started: step.Started, Took: step.Took})
		return
	}
	p := &rep.Phases[i]
	ended := p.Started.Add(p.Took)
	if step.Started.Before(p.Started) {
		p.Started = step.Started
	}
	if step.Ended.After(ended) {
		ended = step.Ended
	}
	p.Took = ended.Sub(p.Started)
}

// result is how the run stands by the word of its runners, and since when. What people noted after the end does not change it.
func result(h history) (outcome string, at time.Time) {
	outcome = "running"
	for _, e := range slices.Backward(h.entries) {
		if e.Token == 0 {
			continue
		}
		at = e.At
		if e.Step == "" && (e.Event == EventFinished || e.Event == EventStopped || e.Event == EventUndone) {
			outcome = string(e.Event)
		}
		break
	}
	if h.cancelled != nil && (outcome == "running" || outcome == string(EventStopped)) {
		outcome = string(EventCancelled)
	}
	return outcome, at
}

func stepReport(s Step, h history) StepReport {
	rep := StepReport{Name: s.Name, State: "pending"}
	if !s.in(h.mode) {
		rep.State = "left out"
	}
	for _, e := range h.entries {
		if e.Step != s.Name {
			continue
		}
		switch e.Event {
		case EventApproved:
			if !slices.ContainsFunc(rep.Approvers, func(by string) bool { return same(by, e.By) }) {
				rep.Approvers = append(rep.Approvers, e.By)
			}
			continue
		case EventWaiting, EventStarted:
			if rep.Started.IsZero() {
				rep.Started = e.At
			}
		}
		rep.State, rep.Ended, rep.By, rep.Reason = string(e.Event), e.At, e.By, e.Reason
	}
	if rep.Started.IsZero() {
		rep.Started = rep.Ended
	}
	rep.Took = rep.Ended.Sub(rep.Started)
	return rep
}

// Met reports whether the run finished within its RTO, and its exposure within its RPO.
func (rep Report) Met() bool {
	return rep.Outcome == string(EventFinished) && (rep.RTO == 0 || rep.Took <= rep.RTO) && (rep.RPO == 0 || rep.Exposure <= rep.RPO)
}

// Markdown renders the report. All instants are UTC.
func (rep Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n", rep.Runbook, rep.Outcome)
	fmt.Fprintf(&b, "Run `%s` (%v, plan `%s`), asked for by %s.", rep.Run, Mode(rep.Planned), rep.Plan, text(rep.By))
	if rep.Reason != "" {
		fmt.Fprintf(&b, " Reason: %s.", text(rep.Reason))
	}
	if rep.Stopped != "" {
		fmt.Fprintf(&b, " Stopped: %s.", text(rep.Stopped))
	}
	b.WriteString("\n\n| objective | target | reached |\n|---|---|---|\n")
	fmt.Fprintf(&b, "| RTO, from %s | %s | %s |\n", stamp(rep.Since), target(rep.RTO), rep.Took.Round(time.Millisecond))
	fmt.Fprintf(&b, "| RPO, exposure at the switch | %s | %s |\n", target(rep.RPO), exposure(rep.Exposure))
	rep.markdownPhases(&b)
	b.WriteString("\n| step | state | started | took | by | approved by | note |\n|---|---|---|---|---|---|---|\n")
	for _, s := range rep.Steps {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", text(s.Name), s.State, stamp(s.Started), s.Took.Round(time.Millisecond),
			text(s.By), text(strings.Join(s.Approvers, ", ")), text(s.Reason))
	}
	if rep.Runners > 1 {
		fmt.Fprintf(&b, "\nThe run was taken over %d times.\n", rep.Runners-1)
	}
	return b.String()
}

func (rep Report) markdownPhases(b *strings.Builder) {
	if len(rep.Phases) == 0 {
		return
	}
	b.WriteString("\n| phase | started | took |\n|---|---|---|\n")
	for _, p := range rep.Phases {
		fmt.Fprintf(b, "| %s | %s | %s |\n", text(p.Phase), stamp(p.Started), p.Took.Round(time.Millisecond))
	}
}

func exposure(d time.Duration) string {
	switch d {
	case 0:
		return "not measured here"
	case failover.UnknownExposure:
		return "unknown"
	}
	return d.String()
}

func target(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}

// text keeps a value in its table cell.
func text(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(s)
}

// WriteReports returns a Config.OnReport that writes <run>.md and <run>.json in dir, which it creates.
func WriteReports(dir string) func(context.Context, Report) error {
	return func(_ context.Context, rep Report) error {
		if !fileName(rep.Run) {
			return fmt.Errorf("runbook: report: run ID %q is not a file name", rep.Run)
		}
		data, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return fmt.Errorf("runbook: report: %w", err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("runbook: report: %w", err)
		}
		base := filepath.Join(dir, rep.Run)
		return errors.Join(os.WriteFile(base+".md", []byte(rep.Markdown()), 0o644), os.WriteFile(base+".json", append(data, '\n'), 0o644))
	}
}
