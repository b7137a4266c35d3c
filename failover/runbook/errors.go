package runbook

import (
	"errors"
	"fmt"
)

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
	// ErrHung matches a run that stopped because a function of a step did not return within 5 s of the end of its context. A
	// Do that hangs counts as one of unknown outcome.
	ErrHung = errors.New("runbook: hangs")
	// ErrBrokenChain matches a journal whose entries were changed, dropped or inserted; see [VerifyChain].
	ErrBrokenChain = errors.New("runbook: journal broken")
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

// Error names the runbook, the step and at what it stopped.
func (e *StepError) Error() string {
	return fmt.Sprintf("runbook %q: step %q stopped at %s: %v", e.Runbook, e.Step, e.At, e.Err)
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
