package holdfast

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Timeout returns a policy that gives the call at most d. It waits for the call to return, so the call must
// watch its context. A success that comes late is a success. When the limit ended the call, the error is a
// [*TimeoutError] around the call's own. Where the caller's deadline is nearer than d, Timeout adds nothing.
// Timeout panics if d is not positive.
func Timeout(d time.Duration) Policy {
	if d <= 0 {
		panic(fmt.Sprintf("holdfast: Timeout: %v is not positive", d))
	}
	return timeout(d)
}

type timeout time.Duration

func (t timeout) Do(ctx context.Context, call func(context.Context) error) error {
	limit := time.Now().Add(time.Duration(t))
	if deadline, ok := ctx.Deadline(); ok && !limit.Before(deadline) {
		return call(ctx)
	}
	limited, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	err := call(limited)
	if err == nil || ctx.Err() != nil || limited.Err() == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &TimeoutError{After: time.Duration(t), Err: err}
}

// A TimeoutError is the error of a call that [Timeout] ended. errors.Is(err, context.DeadlineExceeded) holds.
// Its outcome is that of Err: a dial that timed out did not run, a request without an answer is unknown.
type TimeoutError struct {
	After time.Duration // the limit
	Err   error         // what the call returned
}

// Error names the limit and the call's error.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("holdfast: ended after the limit of %v: %v", e.After, e.Err)
}

// Unwrap returns the call's error.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Timeout marks the error as a time-out, as net.Error does.
func (e *TimeoutError) Timeout() bool { return true }
