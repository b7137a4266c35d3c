package failover

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A Transition is one move of the writer, from its request to its end.
type Transition struct {
	ID      string    `json:"id"`
	From    Region    `json:"from"`
	To      Region    `json:"to"`
	Epoch   uint64    `json:"epoch"` // the epoch at which the move began; it opens at Epoch+2
	Planned bool      `json:"planned,omitempty"`
	Auto    bool      `json:"auto,omitempty"`  // begun by the group, not by a person
	Group   bool      `json:"group,omitempty"` // asked for by the group, which withdraws it when it thinks better of it
	Reason  string    `json:"reason"`
	By      string    `json:"by"`               // who asked; the instance when Auto
	Second  string    `json:"second,omitempty"` // who approved
	Asked   time.Time `json:"asked"`
	Expires time.Time `json:"expires"`      // of the approval
	Cut     time.Time `json:"cut,omitzero"` // when writes were stopped: the Fenced record's instant

	AcceptLoss *AcceptLoss `json:"accept_loss,omitempty"`
	Exposure   Exposure    `json:"exposure"` // at the switch; final once fenced

	Executor string `json:"executor,omitempty"`  // the instance that drives the move
	RunToken uint64 `json:"run_token,omitempty"` // grows when another instance takes over
	OldSide  string `json:"old_side,omitempty"`  // how the old writer was fenced: done, or waived and by whom
	Evidence string `json:"evidence,omitempty"`  // that the promotion is complete

	Took []PhaseTime `json:"took,omitempty"` // the phases so far, in order
	Mark time.Time   `json:"mark,omitzero"`  // when the newest of them ended

	ctl *Controller
}

// A PhaseTime is how long one phase of a move took: detect and decide (moves by the group), approve, drain (planned),
// fence, promote, open, validate, ramp (planned).
type PhaseTime struct {
	Phase string        `json:"phase"`
	Took  time.Duration `json:"took"`
}

// lap ends the phase that began at t.Mark.
func (t *Transition) lap(phase string, now time.Time) {
	if !t.Mark.IsZero() {
		t.Took = append(t.Took, PhaseTime{phase, max(0, now.Sub(t.Mark))})
	}
	t.Mark = now.UTC()
}

func (t *Transition) clone() *Transition {
	if t == nil {
		return nil
	}
	copied := *t
	copied.Took = slices.Clone(t.Took)
	if t.AcceptLoss != nil {
		accepted := *t.AcceptLoss
		copied.AcceptLoss = &accepted
	}
	return &copied
}

// Promoted records that the promotion of t is complete, so that the new Region opens. It is for operators who promote by
// hand, with a nil ControllerConfig.Promote; evidence says what was seen. Errors: [ErrRefused] if t is no longer
// promoting, and the coordinator's.
func (t Transition) Promoted(ctx context.Context, evidence string) error {
	if t.ctl == nil {
		return errors.New("failover: Promoted: this Transition was not given out by a Controller")
	}
	return t.ctl.promoted(ctx, t.ID, evidence)
}

// An Exposure bounds the acknowledged writes that a move may lose: those committed by the old writer after
// ReplicatedThrough and until AcknowledgedUntil.
type Exposure struct {
	Known             bool          `json:"known"`
	AcknowledgedUntil time.Time     `json:"acknowledged_until"` // the latest instant at which the old writer may acknowledge
	ReplicatedThrough time.Time     `json:"replicated_through"` // the newest commit instant present on the target
	Bound             time.Duration `json:"bound"`              // the difference plus the clock skew allowance
}

// AcceptLoss is an operator's written acceptance of an exposure above the RPO.
type AcceptLoss struct {
	Exposure time.Duration `json:"exposure"` // accepted up to this when writes are cut; [UnknownExposure] accepts one that nobody could measure
	Reason   string        `json:"reason"`
	By       string        `json:"by"`

	// FormerWriter also lets the writer move to a former writer's data that nobody is known to have rebuilt, where the other side is gone for
	// good. It gives up all that was acknowledged since, and brings back what was lost then: whoever says so has made sure of both.
	FormerWriter bool `json:"former_writer,omitempty"`
}

// UnknownExposure accepts any loss, also one that could not be measured. It does not accept a former writer's data.
const UnknownExposure = time.Duration(1<<63 - 1)
