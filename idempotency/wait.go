package idempotency

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	pollFirst = 50 * time.Millisecond // also the floor: no store is asked more often
	pollMax   = time.Second
)

// remoteWait waits for an owner in another process: woken by the store if it can, else by polling.
type remoteWait struct {
	watched bool
	ended   <-chan struct{} // nil without a watcher
	cancel  func()
	poll    time.Duration
}

func (w *remoteWait) stop() {
	if w.cancel != nil {
		w.cancel()
	}
}

// waitRemote returns nil when it is time to claim again.
func (c *call) waitRemote(store Store, w *remoteWait, r Record) error {
	left, ok := c.patience()
	if !ok {
		return c.inFlight(r, nil)
	}
	if !w.watched {
		c.counts.waits.Add(1)
		if w.watch(c.ctx, store, c.key); w.ended != nil {
			return nil // look again: it may have ended before the watch began
		}
	}
	timer := time.NewTimer(min(left, w.next(r.Lease)))
	defer timer.Stop()
	select {
	case <-w.ended:
		w.ended = nil // one wake-up; from here on polling is enough
		return nil
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return c.inFlight(r, context.Cause(c.ctx))
	}
}

func (w *remoteWait) watch(ctx context.Context, store Store, key Key) {
	w.watched, w.poll = true, pollFirst
	if s, ok := store.(Watcher); ok {
		if ended, stop, err := s.Watch(ctx, key); err == nil {
			w.ended, w.cancel, w.poll = ended, stop, pollMax
		}
	}
}

// next returns the time to the next poll: longer each time, but soon after the owner's lease can have passed.
func (w *remoteWait) next(lease time.Duration) time.Duration {
	d := jitter(w.poll)
	w.poll = min(2*w.poll, pollMax)
	return max(pollFirst, min(d, lease+pollFirst))
}

// jitter returns d less up to a quarter, so that callers do not come at once.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

func (c *call) inFlight(r Record, cause error) *Error {
	e := c.refuse(endInFlight, ErrInFlight, cause)
	e.Fence, e.Wait = r.Fence, askAgain(r.Running, max(r.Lease, time.Second))
	return e
}
