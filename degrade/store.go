package degrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"
)

// A Store keeps the overrides of a Region and a fleet. degradetest.TestStore tests implementations;
// redisflags has one. Methods run on goroutines of Run and of those who set overrides, concurrently.
type Store interface {
	// LoadOverrides returns what was swapped in last; the zero set if nothing ever was.
	LoadOverrides(ctx context.Context) (OverrideSet, error)

	// SwapOverrides replaces the set of revision old by next, whose revision is above old, or returns an error that
	// wraps [ErrConflict] and changes nothing if the set has another revision by now. Any other error may come
	// after the swap.
	SwapOverrides(ctx context.Context, old uint64, next OverrideSet) error
}

// An OverrideSet is what a [Store] keeps.
type OverrideSet struct {
	Revision  uint64     `json:"revision"` // rises with every swap
	Overrides []Override `json:"overrides"`
}

const swapAttempts = 8

// edit changes the overrides of scope.
func (c *Controller) edit(ctx context.Context, scope Scope, change func([]Override) ([]Override, error)) error {
	if scope == ScopeInstance {
		return c.editLocal(change)
	}
	for range swapAttempts {
		err := c.swapOnce(ctx, change)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		pause(ctx, 50*time.Millisecond+rand.N(50*time.Millisecond))
		if ctx.Err() != nil {
			return fmt.Errorf("degrade: overrides: %w", context.Cause(ctx))
		}
	}
	return fmt.Errorf("degrade: overrides: %w, %d times", ErrConflict, swapAttempts)
}

func (c *Controller) editLocal(change func([]Override) ([]Override, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := change(slices.Clone(c.local))
	if err != nil {
		return err
	}
	c.replaceLocked(&c.local, next)
	return nil
}

func (c *Controller) swapOnce(ctx context.Context, change func([]Override) ([]Override, error)) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RefreshTimeout)
	defer cancel()
	set, err := c.cfg.Overrides.LoadOverrides(ctx)
	if err != nil {
		return fmt.Errorf("degrade: overrides not loaded, nothing is changed: %w", err)
	}
	return c.swap(ctx, set, change)
}

// swap changes set, which was just loaded.
func (c *Controller) swap(ctx context.Context, set OverrideSet, change func([]Override) ([]Override, error)) error {
	present, revision := c.reconcile(set)
	list, err := change(present)
	if err != nil {
		return err
	}
	next := OverrideSet{Revision: revision + 1, Overrides: list}
	if err := c.cfg.Overrides.SwapOverrides(ctx, set.Revision, next); err != nil {
		if errors.Is(err, ErrConflict) {
			return err
		}
		return fmt.Errorf("degrade: overrides: the change may or may not be stored, see Overrides in %v: %w", c.cfg.RefreshEvery, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptLocked(next)
	return nil
}

// reconcile returns what is in force by set and by what is known here, and the revision that is known. They differ if the store has
// lost what it had: then what is in force here stays, with what was set in the store since. What is in the store from
// before was cleared in a revision that was lost.
func (c *Controller) reconcile(set OverrideSet) (list []Override, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, revision = slices.Clone(set.Overrides), set.Revision
	if set.Revision < c.sharedRevision {
		list = slices.DeleteFunc(list, func(o Override) bool { return find(c.shared, o.ID) != nil || !o.Set.After(c.sharedSince) })
		list, revision = slices.Concat(c.shared, list), c.sharedRevision
	}
	now := time.Now()
	return slices.DeleteFunc(list, func(o Override) bool { return o.ended(now) }), revision
}

// putBack writes what is in force here to a store that has lost it. If another instance was first, its set is loaded next time.
func (c *Controller) putBack(ctx context.Context, set OverrideSet) {
	err := guarded("store", func() error { return c.swap(ctx, set, func(all []Override) ([]Override, error) { return all, nil }) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.sharedErr = fmt.Sprintf("the store is at revision %d and was at %d: it lost data; what is in force here stays, and could not be put back: %v", set.Revision, c.sharedRevision, err)
		return
	}
	c.sharedErr = ""
	c.log.Warn("degrade: overrides put back into a store that lost them", slog.String("name", c.cfg.Name), slog.Uint64("revision", c.sharedRevision))
}

// pullOverrides loads the shared overrides. What is in force stays in force if they cannot be loaded, or if the store has
// forgotten them.
func (c *Controller) pullOverrides(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RefreshTimeout)
	defer cancel()
	var set OverrideSet
	err := guarded("store", func() (err error) {
		set, err = c.cfg.Overrides.LoadOverrides(ctx)
		return err
	})
	c.mu.Lock()
	lost := err == nil && set.Revision < c.sharedRevision
	switch {
	case err != nil:
		c.sharedErr = err.Error()
	case !lost:
		c.sharedErr = ""
		c.adoptLocked(set)
	}
	c.mu.Unlock()
	if lost {
		c.putBack(ctx, set)
	}
}

// adoptLocked makes set the shared overrides, unless it is older than those.
func (c *Controller) adoptLocked(set OverrideSet) {
	if set.Revision < c.sharedRevision {
		return
	}
	now := time.Now()
	if set.Revision > c.sharedRevision {
		c.sharedRevision, c.sharedSince = set.Revision, now
	}
	c.replaceLocked(&c.shared, slices.DeleteFunc(slices.Clone(set.Overrides), func(o Override) bool { return !o.sane() || o.ended(now) }))
}

func (o *Override) ended(now time.Time) bool { return o.Until != nil && !now.Before(*o.Until) }

// sane reports whether a stored override can be applied. What another version or a person wrote into the store
// is not trusted to have passed checkOverride.
func (o *Override) sane() bool {
	return o.ID != "" && o.Level <= Offline && o.State <= StateDown && (o.Feature == "") != (o.Dependency == "") && (o.Until != nil || o.UntilCleared) &&
		checkWho(o.Reason, o.By) == nil && (o.Unsafe || !o.AtMost && o.State != StateOK)
}

// replaceLocked makes next the list, with an event for every difference, and brings the levels up to date.
func (c *Controller) replaceLocked(list *[]Override, next []Override) {
	now := time.Now()
	for i := range next {
		old := find(*list, next[i].ID)
		if old == nil || !sameEnd(old.Until, next[i].Until) {
			delete(c.warned, next[i].ID)
			c.eventLocked(next[i].event(EventOverride, now))
		}
	}
	for i := range *list {
		if old := &(*list)[i]; find(next, old.ID) == nil {
			delete(c.warned, old.ID)
			kind := EventOverrideCleared
			if old.ended(now) {
				kind = EventOverrideExpired
			}
			c.eventLocked(old.event(kind, now))
		}
	}
	*list = next
	c.evaluateLocked(now)
	c.wakeLocked()
}

func find(list []Override, id string) *Override {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

func sameEnd(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}
