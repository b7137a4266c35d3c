package runbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// A Plan is what a run would do now: every step as its Check sees it. Nothing was changed.
type Plan struct {
	Runbook  string     `json:"runbook"`
	Planned  bool       `json:"planned"`
	Hash     string     `json:"hash"` // of the steps and the mode; approvals are bound to it
	Steps    []PlanStep `json:"steps"`
	Problems []string   `json:"problems,omitempty"` // what would hurt in an outage
}

// A PlanStep is one step of a plan.
type PlanStep struct {
	Name    string `json:"name"`
	State   State  `json:"state"`
	Error   string `json:"error,omitempty"` // of Check
	Approve int    `json:"approve,omitempty"`
	Skipped bool   `json:"skipped,omitempty"` // not of this mode
}

// Mode is whether a run is planned: both Regions are there, and nothing may be lost.
type Mode bool

// The modes.
const (
	Planned   Mode = true
	Unplanned Mode = false
)

// Plan runs every Check of the mode and nothing else.
func (r *Runbook) Plan(ctx context.Context, mode Mode) Plan {
	p := Plan{Runbook: r.name, Planned: bool(mode), Hash: r.hash(mode)}
	for _, s := range r.steps {
		step := PlanStep{Name: s.Name, Approve: s.Approve, Skipped: !s.in(bool(mode))}
		if !step.Skipped {
			bounded, cancel := context.WithTimeout(ctx, s.timeout())
			state, err := observe(bounded, s.Check, s.Verify)
			cancel()
			if step.State = state; err != nil {
				step.State, step.Error = StateBlocked, err.Error()
			}
		}
		p.Steps = append(p.Steps, step)
	}
	p.Problems = r.problems(mode)
	return p
}

// problems is the preflight: what is wrong with the runbook itself.
func (r *Runbook) problems(mode Mode) (problems []string) {
	attended := map[string]bool{} // a person approves the step or one that it needs
	for _, s := range r.steps {
		attended[s.Name] = s.Approve > 0
		for _, need := range s.Needs {
			attended[s.Name] = attended[s.Name] || attended[need]
		}
		if s.in(bool(mode)) && s.ControlPlane && !attended[s.Name] {
			problems = append(problems, fmt.Sprintf("step %q calls a control plane on a path without a person: it may be down with the Region", s.Name))
		}
		if s.in(bool(mode)) && s.Undo == nil && s.Do != nil && !s.PointOfNoReturn && s.Check == nil {
			problems = append(problems, fmt.Sprintf("step %q has no Check: a plan cannot tell whether it is needed", s.Name))
		}
	}
	return problems
}

// hash identifies the steps and the mode.
func (r *Runbook) hash(mode Mode) string {
	type part struct {
		Name    string
		Needs   []string
		Only    Only
		Approve int
		Flags   [3]bool
	}
	parts := []any{r.name, bool(mode)}
	for _, s := range r.steps {
		parts = append(parts, part{s.Name, s.Needs, s.Only, s.Approve, [3]bool{s.Waive, s.PointOfNoReturn, s.ControlPlane}})
	}
	text, err := json.Marshal(parts)
	if err != nil {
		panic(fmt.Sprintf("runbook: plan: %v", err)) // strings and numbers always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// String prints the plan as a diff: "+" will be done, "=" is there already, "!" is blocked, "-" is not of this mode.
func (p Plan) String() string {
	var b strings.Builder
	mode := "unplanned"
	if p.Planned {
		mode = "planned"
	}
	fmt.Fprintf(&b, "%s (%s, plan %s)\n", p.Runbook, mode, p.Hash)
	for _, s := range p.Steps {
		sign := map[State]string{StateNeeded: "+", StateDone: "=", StateBlocked: "!"}[s.State]
		if s.Skipped {
			sign = "-"
		}
		fmt.Fprintf(&b, "  %s %s", sign, s.Name)
		if s.Approve > 0 {
			fmt.Fprintf(&b, " (%d to approve)", s.Approve)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, ": %s", s.Error)
		}
		b.WriteString("\n")
	}
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "  warning: %s\n", problem)
	}
	return b.String()
}
