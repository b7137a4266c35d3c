package degrade

import (
	"context"
	"errors"
	"fmt"
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
	c.mu.Lock()
	known := c.sharedRevision
	if set.Revision < known { // the store lost what it had: what is in force here is put back with the change
		set.Overrides = c.shared
	}
	c.mu.Unlock()
	list, err := change(slices.DeleteFunc(slices.Clone(set.Overrides), func(o Override) bool { return o.ended(time.Now()) }))
	if err != nil {
		return err
	}
	next := OverrideSet{Revision: max(set.Revision, known) + 1, Overrides: list}
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
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.sharedErr = err.Error()
	case set.Revision < c.sharedRevision:
		c.sharedErr = fmt.Sprintf("the store is at revision %d and was at %d: it lost data; what is in force here stays", set.Revision, c.sharedRevision)
	default:
		c.sharedErr = ""
		c.adoptLocked(set)
	}
}

// adoptLocked makes set the shared overrides, unless it is older than those.
func (c *Controller) adoptLocked(set OverrideSet) {
	if set.Revision < c.sharedRevision {
		return
	}
	c.sharedRevision = set.Revision
	now := time.Now()
	c.replaceLocked(&c.shared, slices.DeleteFunc(slices.Clone(set.Overrides), func(o Override) bool { return !o.sane() || o.ended(now) }))
}

func (o *Override) ended(now time.Time) bool { return o.Until != nil && !now.Before(*o.Until) }

// sane reports whether a stored override can be applied. What another version or a person wrote into the store
// is not trusted to have passed checkOverride.
func (o *Override) sane() bool {
	return o.ID != "" && o.Level <= Offline && o.State <= StateDown && (o.Feature == "") != (o.Dependency == "") && (o.Until != nil || o.UntilCleared)
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
		if find(next, (*list)[i].ID) == nil {
			delete(c.warned, (*list)[i].ID)
			c.eventLocked((*list)[i].event(EventOverrideCleared, now))
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
