package runbook

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Report says what a run did, when, and by whose word.
type Report struct {
	Runbook string        `json:"runbook"`
	Run     string        `json:"run"`
	Plan    string        `json:"plan"`
	Planned bool          `json:"planned"`
	By      string        `json:"by"`
	Reason  string        `json:"reason,omitempty"`
	Outcome string        `json:"outcome"` // finished, stopped, cancelled, undone or running
	Since   time.Time     `json:"since"`   // when the fault, or else the run, began
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Took    time.Duration `json:"took"` // Since to Ended: the RTO reached
	RTO     time.Duration `json:"rto,omitempty"`
	RPO     time.Duration `json:"rpo,omitempty"`
	// Exposure is the bound of what may have been lost at the switch.
	Exposure time.Duration `json:"exposure,omitempty"`
	Runners  uint64        `json:"runners"` // how many took the run over, the first included
	Steps    []StepReport  `json:"steps"`
}

// A StepReport is one step of a [Report].
type StepReport struct {
	Name      string        `json:"name"`
	State     string        `json:"state"` // done, failed, unknown, started, skipped, undone, undoing, or pending
	Started   time.Time     `json:"started,omitzero"`
	Ended     time.Time     `json:"ended,omitzero"`
	Took      time.Duration `json:"took"`
	By        string        `json:"by,omitempty"` // who carried it out, or skipped it
	Approvers []string      `json:"approvers,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

// Report reads a run's journal. It changes nothing.
func (r *Runbook) Report(ctx context.Context, runID string, cfg Config) (Report, error) {
	return r.report(ctx, runID, cfg)
}

func (r *Runbook) report(ctx context.Context, runID string, cfg Config) (Report, error) {
	entries, err := cfg.Journal.Load(ctx, runID)
	if err != nil {
		return Report{}, err
	}
	if len(entries) == 0 {
		return Report{}, refused("there is no run %q", runID)
	}
	h, first, last := read(entries), entries[0], entries[len(entries)-1]
	rep := Report{
		Runbook: r.name, Run: runID, Plan: h.plan, Planned: h.planned, By: h.by, Reason: first.Reason, Outcome: result(entries, h),
		Since: cfg.Since, Started: first.At, Ended: last.At, RTO: cfg.RTO, RPO: cfg.RPO, Exposure: cfg.Exposure, Runners: h.token,
	}
	if rep.Since.IsZero() {
		rep.Since = first.At
	}
	rep.Took = rep.Ended.Sub(rep.Since)
	for _, s := range r.steps {
		rep.Steps = append(rep.Steps, stepReport(s, h))
	}
	return rep, nil
}

func result(entries []Entry, h history) string {
	switch last := entries[len(entries)-1]; {
	case h.cancelled != nil:
		return "cancelled"
	case last.Event == EventFinished, last.Event == EventStopped, last.Event == EventUndone:
		return string(last.Event)
	}
	return "running"
}

func stepReport(s Step, h history) StepReport {
	rep := StepReport{Name: s.Name, State: "pending"}
	for _, e := range h.entries {
		if e.Step != s.Name {
			continue
		}
		switch e.Event {
		case EventApproved:
			rep.Approvers = append(rep.Approvers, e.By)
			continue
		case EventStarted:
			rep.Started = e.At
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
	mode := "unplanned"
	if rep.Planned {
		mode = "planned"
	}
	fmt.Fprintf(&b, "# %s: %s\n\n", rep.Runbook, rep.Outcome)
	fmt.Fprintf(&b, "Run `%s` (%s, plan `%s`), asked for by %s.", rep.Run, mode, rep.Plan, text(rep.By))
	if rep.Reason != "" {
		fmt.Fprintf(&b, " Reason: %s.", text(rep.Reason))
	}
	b.WriteString("\n\n| objective | target | reached |\n|---|---|---|\n")
	fmt.Fprintf(&b, "| RTO, from %s | %s | %s |\n", stamp(rep.Since), target(rep.RTO), rep.Took.Round(time.Millisecond))
	fmt.Fprintf(&b, "| RPO, exposure at the switch | %s | %s |\n", target(rep.RPO), rep.Exposure)
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
