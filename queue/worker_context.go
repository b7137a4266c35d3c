package queue

import (
	"context"
	"time"
)

// A runContext is a handler's context: one that can be cancelled with a cause, and a deadline that needs no timer until it
// is near. Contexts derived from it need no goroutine: they find the cancelCtx inside by its value.
type runContext struct {
	context.Context // made by context.WithCancelCause
	deadline        time.Time
}

// Deadline is when HandlerConfig.Timeout will have passed.
func (c *runContext) Deadline() (time.Time, bool) { return c.deadline, true }

// timerHorizon is how near a deadline must be for a timer: the heartbeat loop looks at least this often.
func (w *Worker) timerHorizon() time.Duration { return w.config.Lease / 4 }

// begin makes h's handler stoppable and returns its context, or false if its lease is lost already.
func (w *Worker) begin(h *held) (context.Context, bool) {
	ctx, cancel := context.WithCancelCause(w.base)
	timeout := h.handler.config.Timeout
	w.mu.Lock()
	defer w.mu.Unlock()
	h.cancel, h.deadline = cancel, time.Now().Add(timeout)
	if timeout <= w.timerHorizon() {
		w.armLocked(h)
	}
	return &runContext{ctx, h.deadline}, !h.lost
}

// armLocked starts the timer of a deadline that is near.
func (w *Worker) armLocked(h *held) {
	if h.timer == nil {
		cancel := h.cancel
		h.timer = time.AfterFunc(time.Until(h.deadline), func() { cancel(ErrTimeout) })
	}
}

// end releases what begin made. A deadline that had passed unnoticed still counts.
func (w *Worker) end(h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.cancel(nil)
	h.cancel = nil
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
}
