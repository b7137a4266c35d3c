package breaker

import (
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

var (
	// ErrOpen matches every rejection by a breaker; the call did not run.
	ErrOpen = errors.New("breaker: open")

	// ErrFull matches every refusal by a bulkhead; the call did not run.
	ErrFull = errors.New("breaker: bulkhead full")
)

var (
	errAbandoned    = errors.New("breaker: the call panicked or ended its goroutine")
	errProbeTimeout = errors.New("breaker: the probe did not return in time")
)

// retrySoon is the hint of refusals whose end nobody can know: a probe or a permit may come back any moment.
const retrySoon = time.Second

// An OpenError is returned when a breaker rejects a call without running it. errors.Is(err, ErrOpen)
// holds for it, and gobreaker's ErrOpenState or ErrTooManyRequests. It is shared by the calls one
// opening rejects: do not change it.
type OpenError struct {
	Name   string    // breaker that rejected the call
	Key    string    // its key in its group; empty outside one
	State  State     // why: StateOpen; StateHalfOpen: the probes are under way; StateRamp: not in the admitted share
	Until  time.Time // when the next call may pass; zero if that depends on probes
	Reason string    // why the breaker opened
	By     string    // who opened it; empty when the breaker did
}

// Error names the breaker, its state, when the next call may pass and why it opened.
func (e *OpenError) Error() string {
	return fmt.Sprintf("breaker %s: %s, next try in %v: %s", e.label(), e.State, e.RetryAfter(), e.cause())
}

func (e *OpenError) label() string {
	if e.Key == "" {
		return fmt.Sprintf("%q", e.Name)
	}
	return fmt.Sprintf("%q, key %q", e.Name, e.Key)
}

func (e *OpenError) cause() string {
	if e.By == "" {
		return e.Reason
	}
	return fmt.Sprintf("forced by %q: %s", e.By, e.Reason)
}

// RetryAfter is the time until the next call may pass, as of now; never negative. To wait for that long is
// enough, to the nanosecond, for as many calls as may probe.
func (e *OpenError) RetryAfter() time.Duration {
	if e.Until.IsZero() {
		return retrySoon
	}
	return max(0, time.Until(e.Until))
}

// Is makes errors.Is hold for ErrOpen and for gobreaker's sentinels.
func (e *OpenError) Is(target error) bool {
	return target == ErrOpen || target == gobreaker.ErrOpenState && e.State == StateOpen ||
		target == gobreaker.ErrTooManyRequests && e.State != StateOpen
}

// NotRun is true: the call may be repeated without an idempotency key.
func (e *OpenError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *OpenError) OutcomeUnknown() bool { return false }

// LocalRefusal is true: the refusal says nothing new about the dependency.
func (e *OpenError) LocalRefusal() bool { return true }

// A FullError is returned when a bulkhead refuses a call without running it. errors.Is(err, ErrFull)
// holds for it. It may be shared: do not change it.
type FullError struct {
	Name        string        // bulkhead that refused the call
	MaxInFlight int           // its limit
	Queued      int           // calls that were waiting, this one included if it was
	Waited      time.Duration // how long this call waited
	Err         error         // why it stopped waiting when its context ended; nil if there was no place or MaxWait passed
}

// Error names the bulkhead, how full it is and when to come again.
func (e *FullError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("bulkhead %q: gave up after %v, %d in flight, %d waiting: %v", e.Name, e.Waited, e.MaxInFlight, e.Queued, e.Err)
	case e.Waited > 0:
		return fmt.Sprintf("bulkhead %q: full for %v, %d in flight, %d waiting, retry in %v", e.Name, e.Waited, e.MaxInFlight, e.Queued, retrySoon)
	}
	return fmt.Sprintf("bulkhead %q: full, %d in flight, %d waiting, retry in %v", e.Name, e.MaxInFlight, e.Queued, retrySoon)
}

// Unwrap returns the cause of the context that ended the wait.
func (e *FullError) Unwrap() error { return e.Err }

// Is makes errors.Is hold for ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// NotRun is true: the call may be repeated without an idempotency key.
func (e *FullError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *FullError) OutcomeUnknown() bool { return false }

// LocalRefusal is true: the refusal says nothing new about the dependency.
func (e *FullError) LocalRefusal() bool { return true }

// RetryAfter is a second: a permit may come back any moment, and asking at once would only be refused again.
func (e *FullError) RetryAfter() time.Duration { return retrySoon }
