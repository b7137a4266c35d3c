package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// A Runbook is a set of steps and their order. It is immutable and safe for concurrent use.
type Runbook struct {
	name       string
	steps      []Step // in an order that respects Needs
	undoFailed bool   // see UndoOnFailure
}

// New returns a runbook. Errors name the step: an empty or repeated name, an unknown or circular Needs, a Do without Check or Verify,
// no steps, a negative number, a MayFail point of no return, an Undo behind the point of no return.
func New(name string, steps ...Step) (*Runbook, error) {
	fail := func(format string, args ...any) (*Runbook, error) {
		return nil, fmt.Errorf("runbook %q: %s", name, fmt.Sprintf(format, args...))
	}
	if strings.TrimSpace(name) == "" {
		return fail("the name is empty")
	}
	if len(steps) == 0 {
		return fail("there are no steps")
	}
	for i, s := range steps {
		switch {
		case strings.TrimSpace(s.Name) == "":
			return fail("step %d has no name", i+1)
		case slices.ContainsFunc(steps[:i], func(o Step) bool { return o.Name == s.Name }):
			return fail("two steps are called %q", s.Name)
		case s.Do != nil && s.Check == nil && s.Verify == nil:
			return fail("step %q: a Do needs Check or Verify: nothing could tell what a lost reply meant", s.Name)
		case s.Timeout < 0:
			return fail("step %q: Timeout %v is negative", s.Name, s.Timeout)
		case s.Approve < 0:
			return fail("step %q: Approve %d is negative", s.Name, s.Approve)
		case s.MayFail && s.PointOfNoReturn:
			return fail("step %q: a point of no return cannot be MayFail", s.Name)
		case s.Only > OnlyUnplanned:
			return fail("step %q: unknown Only %d", s.Name, s.Only)
		}
	}
	ordered, err := order(steps)
	if err != nil {
		return fail("%v", err)
	}
	if s, barrier, found := undoBehindBarrier(ordered); found {
		return fail("step %q has an Undo, but needs %q, which is a point of no return", s, barrier)
	}
	return &Runbook{name: name, steps: ordered}, nil
}

// UndoOnFailure returns a copy of r for runs that must leave nothing behind: when a run does not finish, also because its context
// ended, Run takes back what it did, as [Runbook.Undo] does, and the run is over. A run that another runner has taken over is left to that one.
func (r *Runbook) UndoOnFailure() *Runbook {
	copied := *r
	copied.undoFailed = true
	return &copied
}

// order sorts steps so that each comes after what it needs, otherwise as given.
func order(steps []Step) ([]Step, error) {
	var sorted []Step
	placed := map[string]bool{}
	left := slices.Clone(steps)
	for _, s := range steps {
		for _, need := range s.Needs {
			if !slices.ContainsFunc(steps, func(o Step) bool { return o.Name == need }) {
				return nil, fmt.Errorf("step %q needs %q, which is not a step", s.Name, need)
			}
		}
	}
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(s Step) bool {
			return !slices.ContainsFunc(s.Needs, func(n string) bool { return !placed[n] })
		})
		if i < 0 {
			return nil, fmt.Errorf("steps need each other in a circle: %s", names(left))
		}
		placed[left[i].Name] = true
		sorted = append(sorted, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return sorted, nil
}

func names(steps []Step) string {
	var list []string
	for _, s := range steps {
		list = append(list, s.Name)
	}
	return strings.Join(list, ", ")
}

// undoBehindBarrier finds a step with an Undo that comes after a point of no return.
func undoBehindBarrier(ordered []Step) (step, barrier string, found bool) {
	behind := map[string]string{} // step → the point of no return it needs
	for _, s := range ordered {
		for _, need := range s.Needs {
			if b := behind[need]; b != "" {
				behind[s.Name] = b
			}
		}
		if s.Undo != nil && behind[s.Name] != "" {
			return s.Name, behind[s.Name], true
		}
		if s.PointOfNoReturn {
			behind[s.Name] = s.Name
		}
	}
	return "", "", false
}

// Name returns the runbook's name.
func (r *Runbook) Name() string { return r.name }

// Steps returns the steps in an order in which they can run one after the other.
func (r *Runbook) Steps() []Step { return slices.Clone(r.steps) }

func (r *Runbook) step(name string) (Step, bool) {
	i := slices.IndexFunc(r.steps, func(s Step) bool { return s.Name == name })
	if i < 0 {
		return Step{}, false
	}
	return r.steps[i], true
}
