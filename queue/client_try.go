package queue

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Try implements [Deferrer]. Use [Call.Try].
func (c *Client) Try(ctx context.Context, e Envelope, now func(context.Context) error) (Receipt, error) {
	err := c.runNow(ctx, &e, now)
	if err == nil {
		c.telemetry.via[ViaRan].Add(1)
		return Receipt{CallID: e.ID, Via: ViaRan}, nil
	}
	known := outcome.Of(err)
	unknown := known == outcome.Unknown
	switch {
	case outcome.Permanent(err), errors.Is(ctx.Err(), context.Canceled):
		return Receipt{CallID: e.ID, Ambiguous: unknown}, err
	case known != outcome.NotRun && c.config.Once == nil && !e.Repeatable:
		return Receipt{CallID: e.ID, Ambiguous: true}, err
	}
	e.Ambiguous = unknown
	if ctx.Err() != nil { // the deadline ended now; the call must still find a place
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 2*c.config.SendTimeout)
		defer cancel()
	}
	r, deferErr := c.Defer(ctx, e)
	r.Ambiguous = unknown
	if deferErr != nil {
		return r, &NotDeferredError{Call: e.Name, CallID: e.ID, Err: errors.Join(deferErr, err)}
	}
	return r, nil
}

// runNow runs now under the call's key. A nil error of Once without a run is a replay: the call is done.
func (c *Client) runNow(ctx context.Context, e *Envelope, now func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return &SendError{Err: context.Cause(ctx)}
	}
	if c.config.Once == nil {
		return now(ctx)
	}
	var own atomic.Pointer[error] // the run's own error says more than Once's, which may wrap it
	err := c.config.Once(ctx, e.Key(), func(ctx context.Context) error {
		err := now(ctx)
		own.Store(&err)
		if e.Repeatable && outcome.Of(err) == outcome.Unknown {
			return &notRunError{err} // releases the key: the worker may simply run it
		}
		return err
	})
	if p := own.Load(); p != nil {
		return *p // a success stays one, though its marker could not be written
	}
	return err
}
