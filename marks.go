package holdfast

import (
	"fmt"
	"time"
)

// Permanent marks err as pointless to repeat: retry, queue and idempotency give up at once. It says nothing
// about whether the call ran; combine it with [NotRun] or [Unknown] for that. err stays reachable by errors.Is
// and errors.AsType. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// NotRun marks err as the error of a call that had no effect, so that anyone may repeat it without an
// idempotency key. Use it only where that is certain: the request was refused before work began, or never
// sent. err stays reachable by errors.Is and errors.AsType. NotRun(nil) is nil.
func NotRun(err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{err, OutcomeNotRun}
}

// Unknown marks err as the error of a call that may have had its effect: the reply was lost. Nobody repeats
// it without a key, and idempotency keeps its key held. err stays reachable by errors.Is and errors.AsType.
// Unknown(nil) is nil.
func Unknown(err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{err, OutcomeUnknown}
}

// After marks err with the wait its sender asked for before the next attempt. Negative waits are zero. retry
// clamps the wait to its own delay plus MaxHint and to the deadline. It says nothing about whether the call
// ran. err stays reachable by errors.Is and errors.AsType. After(nil, wait) is nil.
func After(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &afterError{err, max(0, wait)}
}

// permanentError and afterError have no outcome methods on purpose: an error that has them speaks for
// everything it wraps, and these two do not know.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent makes retry, queue and idempotency stop.
func (e *permanentError) Permanent() bool { return true }

type afterError struct {
	err  error
	wait time.Duration
}

func (e *afterError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.err, e.wait) }
func (e *afterError) Unwrap() error { return e.err }

// RetryAfter is the wait asked for.
func (e *afterError) RetryAfter() time.Duration { return e.wait }

type outcomeError struct {
	err     error
	outcome Outcome
}

func (e *outcomeError) Error() string { return e.err.Error() }
func (e *outcomeError) Unwrap() error { return e.err }

// NotRun and OutcomeUnknown answer for everything err wraps.
func (e *outcomeError) NotRun() bool         { return e.outcome == OutcomeNotRun }
func (e *outcomeError) OutcomeUnknown() bool { return e.outcome == OutcomeUnknown }
