package queue

import (
	"context"
	"sync"
	"time"
)

// A runContext is a handler's context. Most handlers of short calls ask it for nothing, so what can be waited for is made
// when it is: a context that can be cancelled with a cause, inside this one, and a timer only for a deadline that is near.
// Contexts derived from it need no goroutine: they find the inner one by its value.
type runContext struct {
	base context.Context // values

	mu       sync.Mutex // guards the following
	deadline time.Time
	running  bool
	inner    context.Context
	cancel   context.CancelCauseFunc // of inner
	ended    bool
	cause    error // why it ended
	timer    *time.Timer
}

// begin starts the handler's time.
func (c *runContext) begin(base context.Context, deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.deadline, c.running = base, deadline, true
}

// end is called when the handler has returned.
func (c *runContext) end() {
	c.stop(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	if c.timer != nil {
		c.timer.Stop()
	}
}

// runs reports whether the handler has begun and not returned.
func (c *runContext) runs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
}

// stop ends the context of a handler that runs. The first cause stays.
func (c *runContext) stop(cause error) {
	c.mu.Lock()
	if !c.running || c.ended {
		c.mu.Unlock()
		return
	}
	c.ended, c.cause = true, cause
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil { // not under the mutex: derived contexts come back here
		cancel(cause)
	}
}

// arm starts the timer of a deadline that is no further than horizon.
func (c *runContext) arm(horizon time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running || c.ended || c.timer != nil {
		return
	}
	if left := time.Until(c.deadline); left <= horizon {
		c.timer = time.AfterFunc(left, func() { c.stop(ErrTimeout) })
	}
}

// Deadline is when HandlerConfig.Timeout will have passed.
func (c *runContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done makes the inner context.
func (c *runContext) Done() <-chan struct{} { return c.made().Done() }

// Err agrees with Done: where there is an inner context, it says whether this one has ended.
func (c *runContext) Err() error {
	c.mu.Lock()
	inner, ended := c.inner, c.ended
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case ended:
		return context.Canceled
	}
	return nil
}

// Value makes the inner context unless the base knows the key: it may be the key by which package context finds what it
// can cancel, and why.
func (c *runContext) Value(key any) any {
	if v := c.base.Value(key); v != nil {
		return v
	}
	return c.made().Value(key)
}

// made returns the inner context and makes it if need be.
func (c *runContext) made() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithCancelCause(c.base)
		if c.ended {
			c.cancel(c.cause)
		}
	}
	return c.inner
}

// timerHorizon is how near a deadline must be for a timer: the heartbeat loop looks at least this often.
func (w *Worker) timerHorizon() time.Duration { return w.config.Lease / 4 }

// begin makes h's handler stoppable, or returns false if its lease is lost already.
func (w *Worker) begin(h *held, now time.Time) bool {
	timeout := h.handler.config.Timeout
	h.ctx.begin(w.base, now.Add(timeout))
	if horizon := w.timerHorizon(); timeout <= horizon {
		h.ctx.arm(horizon)
	}
	return !h.lost.Load() // after begin: what loses it from here on stops the context
}
