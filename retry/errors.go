package retry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// A Reason says why a call was not attempted again.
type Reason uint8

const (
	ReasonAttempts     Reason = iota + 1 // MaxAttempts were made; of a hedge: every attempt that was begun failed
	ReasonNotRetryable                   // the last error is permanent or not Retryable
	ReasonBudget                         // the budget refused the repetition
	ReasonDeadline                       // the next attempt would start past the context's deadline
	ReasonElapsed                        // the next attempt would start past MaxElapsed
	ReasonContext                        // the caller's context ended; Error.Cause says why
	ReasonSchedule                       // the Backoff returned Stop
	ReasonNested                         // a call around this one, with the same Name, is already being repeated
	ReasonInvalid                        // the policy or the function is unusable; Error.Cause says how

	reasons = iota + 1
)

// String returns the reason as it appears in errors.
func (r Reason) String() string { return r.text().long }

type reasonText struct{ short, long string }

func (r Reason) text() reasonText {
	if int(r) >= reasons {
		return reasonText{"unknown", fmt.Sprintf("reason %d", uint8(r))}
	}
	return [reasons]reasonText{
		{"unknown", "no reason"},
		{"attempts", "attempts used up"},
		{"not_retryable", "not retryable"},
		{"budget", "retry budget exhausted"},
		{"deadline", "next attempt past the deadline"},
		{"elapsed", "next attempt past MaxElapsed"},
		{"context", "context ended"},
		{"schedule", "schedule stopped"},
		{"nested", "already repeated by an outer call"},
		{"invalid", "invalid policy"},
	}[r]
}

// An Error reports a call that was given up. It wraps the error of the last attempt and, where the context ended
// or the policy is unusable, the cause.
//
// It answers for all attempts: [Error.NotRun] and [Error.OutcomeUnknown]. A RetryAfter of the last attempt's error
// is found through it.
type Error struct {
	Name     string        // the policy's
	Attempts int           // attempts made; 0 = fn was never called
	Elapsed  time.Duration // since the start if the policy has MaxElapsed or AttemptTimeout; else since the first wait
	Reason   Reason        // why there was no further attempt
	Last     error         // of the last attempt that ended; nil if Attempts is 0
	Cause    error         // of Reason: context.Cause, or what is invalid; else nil
	History  []Tried       // oldest first; of more than 32 attempts the first 4 and the last 28

	outcome outcome.Outcome
}

// A Tried is one failed attempt.
type Tried struct {
	Number int           // 1 is the first
	Wait   time.Duration // waited before it
	Err    error
}

// Error returns name, attempts, elapsed time, reason and the last error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "retry %q: %s", e.Name, e.Reason)
	if e.Attempts == 1 {
		b.WriteString(" after 1 attempt")
	} else if e.Attempts > 1 {
		fmt.Fprintf(&b, " after %d attempts in %v", e.Attempts, e.Elapsed.Round(time.Microsecond))
	} else {
		b.WriteString(", not attempted")
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, " (%v)", e.Cause)
	}
	if e.Last != nil {
		fmt.Fprintf(&b, ": %v", e.Last)
	}
	return b.String()
}

// Unwrap returns Last and Cause, those that are set.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range [...]error{e.Last, e.Cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// NotRun reports whether no attempt had an effect, so that the call may be repeated without a key.
func (e *Error) NotRun() bool { return e.Attempts == 0 || e.outcome == outcome.NotRun }

// OutcomeUnknown reports whether any attempt may have had its effect without saying so.
func (e *Error) OutcomeUnknown() bool { return e.Attempts > 0 && e.outcome == outcome.Unknown }

// Timeout reports whether the last attempt or the context ended by a time-out: [net.Error]s that wrap e, such as those of
// http.Client, ask it.
func (e *Error) Timeout() bool { return isTimeout(e.Last) || isTimeout(e.Cause) }

var (
	errNilFunc         = errors.New("retry: fn is nil")
	errScheduleStopped = errors.New("retry: " + ReasonSchedule.String())
)

// attemptTimeout is an attempt's deadline error that says whose deadline it was, and the cause of its context.
type attemptTimeout struct {
	after time.Duration
	err   error
}

func (e *attemptTimeout) Error() string {
	return fmt.Sprintf("attempt ended after %v: %v", e.after, e.err)
}
func (e *attemptTimeout) Unwrap() error { return e.err }
func (e *attemptTimeout) Timeout() bool { return true }
