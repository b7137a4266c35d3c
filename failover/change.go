package failover

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"
)

// casFloor is the least wait before a lost compare-and-swap is tried again.
const casFloor = 50 * time.Millisecond

// change loads the record, lets edit change a copy and stores it, again after a conflict, until it is stored, edit
// refuses or ctx ends. edit returns the audit entry of the change; one without a Reason is not logged (a change
// of executor is no change of phase). It may run several times.
func (c *Controller) change(ctx context.Context, edit func(*Record) (Entry, error)) (Record, error) {
	coord := c.coordinator()
	var mine string // stamp of a store whose reply was lost
	for {
		rec, err := coord.Load(ctx)
		if err != nil {
			return Record{}, err
		}
		c.adopt(rec)
		if mine != "" && rec.Stamp == mine {
			return rec, nil
		}
		if err := c.refuseConflict(rec); err != nil {
			return Record{}, err
		}
		next, err := edited(rec, edit)
		if err != nil {
			return Record{}, err
		}
		err = coord.CompareAndSwap(ctx, rec.Sequence, next)
		if err == nil {
			c.adopt(next)
			return next, nil
		}
		if !errors.Is(err, ErrConflict) {
			mine = next.Stamp
		}
		if err := wait(ctx, casFloor+mathrand.N(casFloor)); err != nil {
			return Record{}, errors.Join(err, context.Cause(ctx))
		}
	}
}

// edited returns rec as edit leaves it, with the next sequence, a new stamp and the entry chained.
func edited(rec Record, edit func(*Record) (Entry, error)) (Record, error) {
	next := rec.clone()
	entry, err := edit(&next)
	if err != nil {
		return Record{}, err
	}
	next.Sequence++
	next.Stamp = randomName()
	if entry.Reason != "" {
		entry.At = time.Now().UTC()
		next.note(entry)
	}
	return next, nil
}

// refuseConflict stops changes of a record that contradicts what this instance knows.
func (c *Controller) refuseConflict(rec Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conflict == "" {
		return nil
	}
	return &RefusedError{Name: c.cfg.Name, To: rec.Writer, Guard: GuardConflict, Reason: c.conflict}
}

// wait sleeps for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
