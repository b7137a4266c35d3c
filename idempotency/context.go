package idempotency

import (
	"context"
	"time"
)

// A runContext is the context of an attempt: one that can be cancelled, with the attempt in it, and with a deadline if the attempt has MaxRun.
type runContext struct {
	context.Context
	attempt *Attempt
	end     time.Time // zero for none
}

// init makes c end with parent and returns what cancels it.
func (c *runContext) init(parent context.Context, a *Attempt, end time.Time) (cancel context.CancelCauseFunc) {
	c.Context, cancel = context.WithCancelCause(parent)
	c.attempt, c.end = a, end
	return cancel
}

// Value makes the attempt findable.
func (c *runContext) Value(key any) any {
	if _, ok := key.(attemptKey); ok {
		return c.attempt
	}
	return c.Context.Value(key)
}

// Deadline is the end of MaxRun, or the parent's if that is earlier.
func (c *runContext) Deadline() (time.Time, bool) {
	deadline, ok := c.Context.Deadline()
	if c.end.IsZero() || ok && deadline.Before(c.end) {
		return deadline, ok
	}
	return c.end, true
}

// Err is that of a deadline when MaxRun is over. Contexts made from c are cancelled then, with a cause that is a deadline.
func (c *runContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == errMaxRun {
		return context.DeadlineExceeded
	}
	return err
}

// errMaxRun is the cause of a detached function's context when MaxRun is over.
var errMaxRun error = maxRunOver{}

type maxRunOver struct{}

func (maxRunOver) Error() string { return "idempotency: the detached call ran for MaxRun" }
func (maxRunOver) Unwrap() error { return context.DeadlineExceeded }

// A valuesOnly is a context.WithoutCancel that lies in the run.
type valuesOnly struct{ context.Context }

func (valuesOnly) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (valuesOnly) Done() <-chan struct{}                   { return nil }
func (valuesOnly) Err() error                              { return nil }

// limit returns the timer that cancels a run at its end. An end that is further away than the first heartbeat is left to that: few
// runs live to see it.
func (r *run) limit(cancel context.CancelCauseFunc) *time.Timer {
	end := r.context.end
	if end.IsZero() {
		return nil
	}
	if r.granter == nil || r.terms.MaxRun <= r.config.Heartbeat {
		return time.AfterFunc(time.Until(end), func() { cancel(errMaxRun) })
	}
	r.keep.end = end
	return nil
}
