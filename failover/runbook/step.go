package runbook

import (
	"context"
	"fmt"
	"slices"
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
	// StateNeeded: so it must say StateBlocked while the effect may be on its way. Nil means Check. A step with a Do needs one of the two.
	Verify func(context.Context) (State, error)

	// Undo takes the change back. Nil means there is nothing to take back. It runs for every step whose Do this run has started, also
	// when Do failed, because it may have got half way, and may run again after a crash: it must do no harm where there is nothing.
	Undo func(context.Context) error

	// Timeout bounds Check, Do, Verify's polling and Undo, each, by their context. Zero means 10 min. A function that has not returned
	// 5 s after that is left to itself: see [ErrHung].
	Timeout time.Duration

	// Approve is how many people, other than the requester and each other, must approve before Do.
	Approve int

	// Waive lets a person skip the step, with a reason.
	Waive bool

	// Once: when this run has noted the step as done it is not checked again. For steps whose effect a later step of the run takes
	// back on purpose (there and back, restore and remove), or that leave nothing to be seen (a message sent).
	Once bool

	// MayFail: the run goes on as if the step were done when it fails, and the report says that it failed. For messages and the
	// like; not for a PointOfNoReturn.
	MayFail bool

	// Preflight asks, when the runbook is planned, whether Do could work: a permission, a program, an address. It must not change
	// anything. Its error is one of Plan.Problems. Nil means nothing to ask.
	Preflight func(context.Context) error

	// Phase names the part of the outage that the step's time belongs to, such as "promote" or "validate", for the report.
	Phase string

	// PointOfNoReturn: once this step is done nothing of the run is undone.
	PointOfNoReturn bool

	// ControlPlane marks a step that calls a cloud control plane, which may be down with the Region. Plan warns when such
	// a step runs without a person.
	ControlPlane bool
}

// defaultTimeout is a Step's Timeout when it is zero.
const defaultTimeout = 10 * time.Minute

// in reports whether s takes part in a run of the mode.
func (s Step) in(mode Mode) bool {
	return s.Only == Always || bool(mode) == (s.Only == OnlyPlanned)
}

func (s Step) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout
}
