package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is what a step's Check or Verify observes.
type State uint8

const (
	StateNeeded  State = iota // the step's effect is not there and not on its way: Do may run
	StateDone                 // the effect is there: nothing to do
	StateBlocked              // cannot tell, on its way, or something else must happen first
)

var states = [...]string{"needed", "done", "blocked"}

// String returns the name in lower case.
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(states[:], string(text))
	if i < 0 {
		return fmt.Errorf("runbook: unknown state %q", text)
	}
	*s = State(i)
	return nil
}

// Only says in which mode a step takes part.
type Only uint8

const (
	Always        Only = iota // in planned and unplanned runs
	OnlyPlanned               // such as waiting for the last write to arrive
	OnlyUnplanned             // such as fencing a Region that is gone
)

// A Step is one step of a runbook. A step without Do only checks, or waits for approval.
type Step struct {
	// Name identifies the step in the runbook, its journal and its report. Required, unique.
	Name string

	// Needs names the steps that must be done before this one starts. Steps that need nothing of each other run side by side.
	Needs []string

	// Only limits the step to planned or to unplanned runs. In the other mode it counts as done.
	Only Only

	// Check observes, without changing anything, whether Do is needed. It runs when the step is planned, when its turn comes
	// and when a run is resumed. Nil means Verify.
	Check func(context.Context) (State, error)

	// Do makes the change. It may be cut off by Timeout or a crash at any point, and its reply may be lost: then Verify decides. Where
	// the changed system takes a request token, pass [Token]. Do never starts while an earlier Do of this run and step may still
	// take effect.
	Do func(context.Context) error

	// Verify observes whether Do has taken effect. It is polled until it says StateDone, or, after a Do whose outcome is unknown,
	// StateNeeded. Nil means Check. A step with a Do needs one of the two.
	Verify func(context.Context) (State, error)

	// Undo takes the change back. Nil means there is nothing to take back. It may run again after a crash.
	Undo func(context.Context) error

	// Timeout bounds Check, Do, Verify's polling and Undo, each. Zero means 10 min.
	Timeout time.Duration

	// Approve is how many people, other than the requester and each other, must approve before Do.
	Approve int

	// Waive lets a person skip the step, with a reason.
	Waive bool

	// PointOfNoReturn: once this step is done nothing of the run is undone.
	PointOfNoReturn bool

	// ControlPlane marks a step that calls a cloud control plane, which may be down with the Region. Plan warns when such
	// a step runs without a person.
	ControlPlane bool
}

// defaultTimeout is a Step's Timeout when it is zero.
const defaultTimeout = 10 * time.Minute

// A Runbook is a set of steps and their order. It is immutable and safe for concurrent use.
type Runbook struct {
	name  string
	steps []Step // in an order that respects Needs
}

// New returns a runbook. Errors name the step: an empty or repeated name, an unknown or circular Needs, a Do without Check or Verify,
// a negative number, an Undo behind the point of no return.
func New(name string, steps ...Step) (*Runbook, error) {
	fail := func(format string, args ...any) (*Runbook, error) {
		return nil, fmt.Errorf("runbook %q: %s", name, fmt.Sprintf(format, args...))
	}
	if strings.TrimSpace(name) == "" {
		return fail("the name is empty")
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

// in reports whether s takes part in a planned or unplanned run.
func (s Step) in(planned bool) bool {
	return s.Only == Always || planned == (s.Only == OnlyPlanned)
}

// observe is Check or Verify, whichever is there; preferred says which first. A panic is an error.
func observe(ctx context.Context, preferred, other func(context.Context) (State, error)) (state State, err error) {
	defer func() {
		if p := recover(); p != nil {
			state, err = StateBlocked, fmt.Errorf("panicked: %v", p)
		}
	}()
	if preferred == nil {
		preferred = other
	}
	if preferred == nil {
		return StateNeeded, nil
	}
	return preferred(ctx)
}

// call runs a Do or an Undo. A panic is an error of unknown outcome, like any that came after the start.
func call(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	return do(ctx)
}

func (s Step) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout
}

// Errors of runs.
var (
	// ErrRefused matches every refusal to run, resume, undo, skip or approve. Nothing was changed.
	ErrRefused = errors.New("runbook: refused")
	// ErrBlocked matches a run that stopped because a step's Check said StateBlocked.
	ErrBlocked = errors.New("runbook: blocked")
	// ErrUndecided matches a run that stopped because a Do's outcome is unknown and Verify did not decide in time. Resuming
	// asks Verify again; Do does not start before it has decided.
	ErrUndecided = errors.New("runbook: undecided")
	// ErrFenced matches a run that stopped because another runner has taken it over.
	ErrFenced = errors.New("runbook: another runner has taken over")
	// ErrCancelled matches a run that a person cancelled.
	ErrCancelled = errors.New("runbook: cancelled")
)

// A StepError says which step stopped the run, and at what.
type StepError struct {
	Runbook string
	Step    string
	At      string // "check", "approve", "do", "verify", "undo" or "journal"
	Err     error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("runbook %q: step %q stopped at %s: %v", e.Runbook, e.Step, e.At, e.Err)
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
