package failover

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// casFloor is the least wait before the coordinator is asked again.
const casFloor = 50 * time.Millisecond

// change loads the record, lets edit change a copy and stores it, again after a conflict, until it is stored, edit
// refuses or ctx ends. It returns the record as this call stored it. edit returns the audit entry of the change; one without
// a Why is not logged (a change of executor is no change of phase). It may run several times.
func (c *Controller) change(ctx context.Context, edit func(*Record) (audit.Record, error)) (Record, error) {
	return c.changeUnsure(ctx, map[string]Record{}, edit)
}

// changeUnsure is change by one whose earlier stores may yet arrive. unsure holds those that did not say that they succeeded, by stamp.
func (c *Controller) changeUnsure(ctx context.Context, unsure map[string]Record, edit func(*Record) (audit.Record, error)) (Record, error) {
	for {
		coord, seen := c.coordinator()
		rec, err := c.load(ctx, coord)
		if err != nil {
			return Record{}, err
		}
		c.adopt(rec, seen)
		if stored, ok := rec.oneOf(unsure); ok {
			return stored, nil
		}
		if err := c.refuseConflict(rec); err != nil {
			return Record{}, err
		}
		next, err := c.edited(rec, edit)
		if err != nil {
			return Record{}, err
		}
		err = c.swap(ctx, coord, rec.Sequence, next)
		if err == nil {
			c.adopt(next, seen)
			return next, nil
		}
		// Also a conflict may be with this very store: clients repeat requests whose reply was lost.
		unsure[next.Stamps[len(next.Stamps)-1]] = next
		if err := wait(ctx, casFloor+mathrand.N(casFloor)); err != nil {
			return Record{}, errors.Join(err, context.Cause(ctx))
		}
	}
}

// load bounds one request: a lost one must not hold up whoever has all the time in the world.
func (c *Controller) load(ctx context.Context, coord Coordinator) (Record, error) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	return coord.Load(bounded)
}

func (c *Controller) swap(ctx context.Context, coord Coordinator, sequence uint64, next Record) error {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	return coord.CompareAndSwap(bounded, sequence, next)
}

// edited returns rec as edit leaves it, with the next sequence, a new stamp and the entry chained.
func (c *Controller) edited(rec Record, edit func(*Record) (audit.Record, error)) (Record, error) {
	next := rec.clone()
	entry, err := edit(&next)
	if err != nil {
		return Record{}, err
	}
	next.Sequence++
	next.stamp()
	if entry.Why != "" {
		entry.At, entry.Instance, entry.Region = time.Now(), c.cfg.Instance, c.cfg.Self
		next.note(entry)
	}
	return next, nil
}

// refuseConflict stops changes of a record that contradicts what this instance knows.
func (c *Controller) refuseConflict(rec Record) error {
	c.mu.Lock()
	conflict := c.conflict
	c.mu.Unlock()
	if conflict == "" {
		return nil
	}
	return c.refuse(rec.Writer, GuardConflict, "%s", conflict)
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
