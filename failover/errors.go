package failover

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Sentinels for errors.Is.
var (
	// ErrFenced matches every refusal of a write because this process may not write now. The write did not run.
	ErrFenced = errors.New("failover: fenced")
	// ErrRefused matches every refusal of an operator's or the group's move; see [RefusedError].
	ErrRefused = errors.New("failover: refused")
	// ErrNoRegion matches the error of a read for which no Region was left to try.
	ErrNoRegion = errors.New("failover: no region left")
	// ErrStale matches the refusal of a read because no Region's copy is known to be fresh enough.
	ErrStale = errors.New("failover: stale")
	// ErrRegionDrained is the cause of a write's context that has not ended when its Region is drained, MaxFlight after the process has
	// learned that it was switched away. As a rule the write's own time is over before.
	ErrRegionDrained = errors.New("failover: region drained")
)

// A FencedError refuses a write before it runs. errors.Is(err, ErrFenced) holds.
type FencedError struct {
	Name   string // the client or controller
	Self   Region
	Writer Region        // who may write; "" while nobody may
	Epoch  uint64        // the newest this process knows
	Reason string        // such as "lease expired"
	Wait   time.Duration // when asking again makes sense
}

// Error names the client, its Region, the writer and when to ask again.
func (e *FencedError) Error() string {
	writer := "no region is the writer"
	if e.Writer != "" {
		writer = fmt.Sprintf("the writer is %q", e.Writer)
	}
	return fmt.Sprintf("failover %q: write refused in %q: %s; %s at epoch %s; ask again in %v",
		e.Name, e.Self, e.Reason, writer, FormatEpoch(e.Epoch), e.Wait)
}

// Is matches [ErrFenced].
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// NotRun is true: the write was not sent.
func (e *FencedError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *FencedError) OutcomeUnknown() bool { return false }

// RetryAfter is Wait.
func (e *FencedError) RetryAfter() time.Duration { return e.Wait }

// Guard names the check that refused a move.
type Guard string

// The guards.
const (
	GuardTarget    Guard = "target"    // unknown Region, a witness, or already the writer
	GuardPhase     Guard = "phase"     // another move is under way, or there is no such request
	GuardRequest   Guard = "request"   // a field is missing, or the requester approves himself
	GuardExposure  Guard = "exposure"  // more than RPO may be lost, or nobody knows how much
	GuardReadiness Guard = "readiness" // the target does not answer or has no capacity
	GuardCooldown  Guard = "cooldown"  // too soon after the last move
	GuardBudget    Guard = "budget"    // too many automatic moves
	GuardFreeze    Guard = "freeze"    // a freeze window
	GuardQuorum    Guard = "quorum"    // too few voters, or not from enough Regions
	GuardConflict  Guard = "conflict"  // the coordinator contradicts itself

	// GuardFormerWriter: nothing shows that the target has been rebuilt since its Region, or the one it copied, lost the writer.
	GuardFormerWriter Guard = "former_writer"
)

// A RefusedError says which guard refused a move, and with what numbers. Nothing was changed.
type RefusedError struct {
	Name     string
	To       Region
	Guard    Guard
	Reason   string
	Exposure Exposure      // with GuardExposure
	Wait     time.Duration // with GuardCooldown and GuardBudget: how long the guard holds
}

// Error names the move, the guard and its reason.
func (e *RefusedError) Error() string {
	s := fmt.Sprintf("failover %q: move to %q refused by the %s guard: %s", e.Name, e.To, e.Guard, e.Reason)
	if e.Wait > 0 {
		s += fmt.Sprintf("; holds for %v", e.Wait)
	}
	return s
}

// Is matches [ErrRefused].
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// NotRun is true: nothing was changed.
func (e *RefusedError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *RefusedError) OutcomeUnknown() bool { return false }

// RetryAfter is Wait.
func (e *RefusedError) RetryAfter() time.Duration { return e.Wait }

// An UnknownOutcomeError is the error of a write whose fate is open: it may have happened in Region at Epoch. One
// record of it is in the [Ledger].
type UnknownOutcomeError struct {
	Name   string
	ID     string // of the ledger's record
	Region Region
	Epoch  uint64
	Err    error // what the call returned
}

// Error names the write, where it went and what the call returned.
func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("failover %q: write %s in %q at epoch %s has an unknown outcome: %v",
		e.Name, e.ID, e.Region, FormatEpoch(e.Epoch), e.Err)
}

// Unwrap returns the call's error.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// NotRun is false.
func (e *UnknownOutcomeError) NotRun() bool { return false }

// OutcomeUnknown is true.
func (e *UnknownOutcomeError) OutcomeUnknown() bool { return true }

// Tried is one attempt of a call in one Region.
type Tried struct {
	Region Region
	Class  Class
	Err    error
}

// A RegionsError is the error of a call that failed in every Region it tried. errors.Is(err, ErrNoRegion) holds.
// Its outcome is that of all attempts together.
type RegionsError struct {
	Name  string
	Tried []Tried
}

// Error lists every attempt with its class.
func (e *RegionsError) Error() string {
	parts := make([]string, len(e.Tried))
	for i, t := range e.Tried {
		parts[i] = fmt.Sprintf("%s (%s): %v", t.Region, t.Class, t.Err)
	}
	return fmt.Sprintf("failover %q: no region left after %d: %s", e.Name, len(e.Tried), strings.Join(parts, "; "))
}

// Is matches [ErrNoRegion].
func (e *RegionsError) Is(target error) bool { return target == ErrNoRegion }

// Unwrap returns the attempts' errors.
func (e *RegionsError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, t := range e.Tried {
		errs[i] = t.Err
	}
	return errs
}

func (e *RegionsError) joined() outcome.Outcome {
	all := make([]outcome.Outcome, len(e.Tried))
	for i, t := range e.Tried {
		all[i] = t.outcome()
	}
	return outcome.Join(all...)
}

// outcome is what the class says, else what the error says.
func (t Tried) outcome() outcome.Outcome {
	switch t.Class {
	case ClassNotSent, ClassRejected:
		return outcome.NotRun
	case ClassUnknown:
		return outcome.Unknown
	}
	return outcome.Of(t.Err)
}

// NotRun is true if no attempt ran.
func (e *RegionsError) NotRun() bool { return e.joined() == outcome.NotRun }

// OutcomeUnknown is true if any attempt may have run.
func (e *RegionsError) OutcomeUnknown() bool { return e.joined() == outcome.Unknown }

// A StaleError refuses a read whose freshness bound no Region is known to meet. errors.Is(err, ErrStale) holds.
type StaleError struct {
	Name  string
	Bound string // what was asked for
}

// Error names the bound.
func (e *StaleError) Error() string {
	return fmt.Sprintf("failover %q: no usable region's copy is known to be %s", e.Name, e.Bound)
}

// Is matches [ErrStale].
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// NotRun is true: the read was not sent.
func (e *StaleError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *StaleError) OutcomeUnknown() bool { return false }
