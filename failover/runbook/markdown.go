package runbook

import (
	"fmt"
	"strings"
)

// Markdown returns the steps as a numbered list, for the page that people read: a test can keep that page and the code the same.
func (r *Runbook) Markdown() string {
	var b strings.Builder
	for i, s := range r.steps {
		fmt.Fprintf(&b, "%d. **%s**%s\n", i+1, text(s.Name), s.remarks())
	}
	return b.String()
}

// remarks are what a person must know of a step before it runs.
func (s Step) remarks() string {
	var all []string
	note := func(yes bool, format string, args ...any) {
		if yes {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	note(s.Only == OnlyPlanned, "planned runs only")
	note(s.Only == OnlyUnplanned, "unplanned runs only")
	note(s.Approve > 0, "%d to approve", s.Approve)
	note(s.Do == nil && (s.Check != nil || s.Verify != nil), "only waits")
	note(s.Waive, "can be skipped with a reason")
	note(s.MayFail, "may fail")
	note(s.Undo != nil, "can be undone")
	note(s.ControlPlane, "calls a control plane")
	note(s.PointOfNoReturn, "point of no return")
	note(len(s.Needs) > 0, "after %s", text(strings.Join(s.Needs, ", ")))
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(all, "; ")
}
