package idempotency

import (
	"errors"
	"fmt"
	"time"
)

// Reasons of an [Error]; test for them with errors.Is.
var (
	ErrKey            = errors.New("the key is not valid")
	ErrMismatch       = errors.New("the key was used with other arguments")
	ErrInFlight       = errors.New("another call with this key is running")
	ErrUnknownOutcome = errors.New("an earlier attempt may have had its effect")
	ErrNotReplayable  = errors.New("the call is done and its result was not stored")
	ErrDecode         = errors.New("the stored result cannot be decoded")
	ErrCorrupt        = errors.New("the stored record is not one of ours")
	ErrStoreFull      = errors.New("the store is full of calls in flight")
	ErrUnavailable    = errors.New("the store does not answer")
	ErrNotWriter      = errors.New("this process may not write now")
	ErrDetached       = errors.New("the caller left and the call runs on")
)

// ErrLeaseLost is the cancellation cause of an attempt's context when its lease could not be kept, and
// what Checkpoint returns then: another process may run the call by now.
var ErrLeaseLost = errors.New("idempotency: lease lost")

// An Error is returned when a guard does not give the function's own result. errors.Is(err, Reason) holds.
type Error struct {
	Name   string        // of the guard
	Reason error         // one of the sentinels of this package
	Op, ID string        // of the key
	Fence  Fence         // of the attempt in the way, if known
	Wait   time.Duration // when to ask again; 0 where asking again is no use
	Err    error         // the cause; may be nil
}

// Error names the guard, the key, the reason and when to come again.
func (e *Error) Error() string {
	text := fmt.Sprintf("idempotency %q: key %q", e.Name, shorten(e.ID))
	if e.Op != "" {
		text += fmt.Sprintf(" of %q", shorten(e.Op))
	}
	text += ": " + e.Reason.Error()
	if e.Fence.N != 0 {
		text += ", fence " + e.Fence.String()
	}
	if e.Wait > 0 {
		text += fmt.Sprintf(", ask again in %v", e.Wait)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// shorten keeps an oversized key out of logs.
func shorten(s string) string { return s[:min(len(s), 64)] }

// Is reports whether target is the reason.
func (e *Error) Is(target error) bool { return target == e.Reason }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotRun reports that this call did nothing: it may be made again with the same key.
func (e *Error) NotRun() bool {
	switch e.Reason {
	case ErrUnknownOutcome, ErrDetached, ErrNotReplayable, ErrDecode: //nolint:errorlint // one of a closed set, bare
		return false
	}
	return true
}

// OutcomeUnknown reports that the call may have had its effect and nobody knows.
func (e *Error) OutcomeUnknown() bool {
	return e.Reason == ErrUnknownOutcome || e.Reason == ErrDetached //nolint:errorlint // one of a closed set, bare
}

// Permanent reports that the same call will be refused again.
func (e *Error) Permanent() bool {
	switch e.Reason {
	case ErrKey, ErrMismatch, ErrNotReplayable, ErrDecode, ErrCorrupt: //nolint:errorlint // one of a closed set, bare
		return true
	}
	return false
}

// RetryAfter returns Wait.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

func keyError(name string, k Key, cause error) *Error {
	return &Error{Name: name, Reason: ErrKey, Op: k.Op, ID: k.ID, Err: cause}
}

// A StoredError is the error of an earlier attempt, replayed. Of the original it keeps the text, and its identity
// if Config.Errors lists it.
type StoredError struct {
	Message string
	Err     error // the member of Config.Errors that the original matched; nil for none
}

// Error returns Message.
func (e *StoredError) Error() string { return e.Message }

// Unwrap returns Err.
func (e *StoredError) Unwrap() error { return e.Err }

// NotRun is false: the earlier attempt ran.
func (e *StoredError) NotRun() bool { return false }

// OutcomeUnknown is false: the earlier attempt was answered.
func (e *StoredError) OutcomeUnknown() bool { return false }

// Permanent is true: every repetition gets this error.
func (e *StoredError) Permanent() bool { return true }
