package idempotency

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// listWithin is how long a store may take to name the next note, or to say that there is none: a listing is several round trips, eight in redisstore.
const listWithin = 10 * time.Second

// A source is a peer that is copied from. A planned move waits for that with writes stopped, so a store that hangs must end its step: each waits as long
// as one at the other end may take, and says which store did not answer.
type source struct {
	Replica
	region string
}

// source returns p's store to copy from. One that is instant needs no time-outs.
func (p *peer) source() Replica {
	if p.near {
		return p.store
	}
	return source{p.store, p.region}
}

// Load implements [Replica].
func (s source) Load(ctx context.Context, key Key) (r Record, err error) {
	ctx, cancel := s.within(ctx, copyWithin, "load")
	defer cancel()
	r, err = s.Replica.Load(ctx, key)
	return r, s.blame(ctx, err)
}

// Synced implements [Replica].
func (s source) Synced(ctx context.Context, m Mark) error {
	ctx, cancel := s.within(ctx, copyWithin, "clear a note")
	defer cancel()
	return s.blame(ctx, s.Replica.Synced(ctx, m))
}

// Unsynced implements [Replica]. The time in which the caller works on a note is not the store's.
func (s source) Unsynced(ctx context.Context) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(listWithin, func() { cancel(s.silent(listWithin, "list what its peer has missed")) })
		defer timer.Stop()
		for m, err := range s.Replica.Unsynced(ctx) {
			timer.Stop()
			if !yield(m, s.blame(ctx, err)) {
				return
			}
			timer.Reset(listWithin)
		}
	}
}

func (s source) within(ctx context.Context, d time.Duration, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, s.silent(d, what))
}

func (s source) silent(d time.Duration, what string) error {
	return fmt.Errorf("no answer within %v to %s: %w", d, what, context.DeadlineExceeded)
}

// blame says where err comes from, and that it was a time-out where it was.
func (s source) blame(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("store of Region %q: %w", s.region, err)
}
