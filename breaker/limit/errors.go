package limit

import (
	"errors"
	"fmt"
	"time"
)

// The three sentinels match refusals by kind; the call did not run.
var (
	ErrAdaptive  = errors.New("limit: at the adaptive limit")
	ErrThrottled = errors.New("limit: throttled")
	ErrRate      = errors.New("limit: rate exceeded")
)

var (
	errAbandoned = errors.New("limit: the call panicked or ended its goroutine")
	errNoLimiter = errors.New("l: nil")
)

// An Error is returned when a limit refuses a call without running it. errors.Is holds for its Kind.
type Error struct {
	Name string        // limit that refused the call
	Kind error         // ErrAdaptive, ErrThrottled or ErrRate
	Wait time.Duration // after which to try again
	Err  error         // why it stopped waiting when its context ended; else nil
}

// Error names the limit, its kind and when to come again.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("limit %q: %v: gave up: %v", e.Name, e.Kind, e.Err)
	}
	return fmt.Sprintf("limit %q: %v, retry in %v", e.Name, e.Kind, e.Wait)
}

// Unwrap returns the cause of the context that ended the wait.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is hold for Kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// NotRun is true: the call may be repeated without an idempotency key.
func (e *Error) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *Error) OutcomeUnknown() bool { return false }

// LocalRefusal is true: the refusal says nothing new about the other side.
func (e *Error) LocalRefusal() bool { return true }

// RetryAfter is Wait.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// retrySoon is the hint of refusals whose end nobody can know.
const retrySoon = time.Second
