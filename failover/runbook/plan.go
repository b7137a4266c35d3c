package runbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
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

// String returns "planned" or "unplanned".
func (m Mode) String() string {
	if m == Planned {
		return "planned"
	}
	return "unplanned"
}

// Plan runs every Check and Preflight of the mode and nothing else. It can be run on a schedule: in peace [Plan.Ready] holds.
func (r *Runbook) Plan(ctx context.Context, mode Mode) Plan {
	p := Plan{Runbook: r.name, Planned: bool(mode), Hash: r.hash(mode), Problems: r.problems(mode)}
	for _, s := range r.steps {
		step := PlanStep{Name: s.Name, Approve: s.Approve, Skipped: !s.in(mode)}
		if !step.Skipped {
			bounded, cancel := context.WithTimeout(ctx, s.timeout())
			state, err := observe(bounded, s.Check, s.Verify)
			if step.State = state; err != nil {
				step.Error = err.Error()
			}
			if s.Preflight != nil {
				if err := call(bounded, s.Preflight); err != nil {
					p.Problems = append(p.Problems, fmt.Sprintf("step %q could not work: %v", s.Name, err))
				}
			}
			cancel()
		}
		p.Steps = append(p.Steps, step)
	}
	return p
}

// Ready reports whether no step is blocked and nothing was found that would hurt in an outage.
func (p Plan) Ready() bool {
	return len(p.Problems) == 0 && !slices.ContainsFunc(p.Steps, func(s PlanStep) bool { return s.State == StateBlocked })
}

// problems is the preflight of the runbook itself.
func (r *Runbook) problems(mode Mode) (problems []string) {
	attended := map[string]bool{} // a person approves the step or one that it needs
	for _, s := range r.steps {
		attended[s.Name] = s.Approve > 0 && s.in(mode)
		for _, need := range s.Needs {
			attended[s.Name] = attended[s.Name] || attended[need]
		}
		if s.in(mode) && s.ControlPlane && !attended[s.Name] {
			problems = append(problems, fmt.Sprintf("step %q calls a control plane on a path without a person: it may be down with the Region", s.Name))
		}
	}
	return problems
}

// hash identifies the steps and the mode: what people approve. Functions cannot be hashed; which of them there are is.
func (r *Runbook) hash(mode Mode) string {
	type part struct {
		Name    string
		Needs   []string
		Only    Only
		Approve int
		Timeout time.Duration
		Flags   [5]bool
		Has     [4]bool
	}
	parts := []any{r.name, bool(mode), r.undoFailed}
	for _, s := range r.steps {
		parts = append(parts, part{
			s.Name, s.Needs, s.Only, s.Approve, s.Timeout,
			[5]bool{s.Waive, s.PointOfNoReturn, s.ControlPlane, s.Once, s.MayFail},
			[4]bool{s.Check != nil, s.Do != nil, s.Verify != nil, s.Undo != nil},
		})
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
	fmt.Fprintf(&b, "%s (%v, plan %s)\n", p.Runbook, Mode(p.Planned), p.Hash)
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
