package queue

import (
	"context"
	"errors"
	"sync"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Try implements [Deferrer]. Use [Call.Try].
func (c *Client) Try(ctx context.Context, e Envelope, now func(context.Context) error) (Receipt, error) {
	return c.try(ctx, &e, now)
}

// try is Try of an envelope that is the caller's again when it returns, also if now runs on.
func (c *Client) try(ctx context.Context, e *Envelope, now func(context.Context) error) (Receipt, error) {
	err := c.runNow(ctx, e, now)
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
	r, deferErr := c.deferred(ctx, e)
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
	r := &nowRun{now: now, repeatable: e.Repeatable}
	err := c.config.Once(ctx, e.Key(), r.run)
	if own, ended := r.end(); ended {
		return own // says more than Once's, which may wrap it; a success stays one, though its marker could not be written
	}
	return err
}

// A nowRun is what Once runs. It may run on when Once has returned, and keeps nothing of the call's envelope.
type nowRun struct {
	now        func(context.Context) error
	repeatable bool

	mu    sync.Mutex // guards the following
	err   error      // of now
	ended bool
}

func (r *nowRun) run(ctx context.Context) error {
	err := r.now(ctx)
	r.mu.Lock()
	r.err, r.ended = err, true
	r.mu.Unlock()
	if r.repeatable && outcome.Of(err) == outcome.Unknown {
		return &notRunError{err} // releases the key: the worker may simply run it
	}
	return err
}

// end returns what now has returned, if it has.
func (r *nowRun) end() (err error, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err, r.ended
}
