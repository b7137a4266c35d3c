package degrade

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// flags is the set in force.
type flags struct {
	set     FlagSet
	known   bool      // a set was loaded at some time
	fetched time.Time // when the backend last confirmed it
	source  string    // sourceBackend or sourceFile
	err     string    // why the last load changed nothing; "" = it was good
	saved   time.Time // fetched as last written to the state file
}

const (
	sourceBackend = "provider"
	sourceFile    = "last known good"
	hintSpacing   = 100 * time.Millisecond // between two loads, however many hints there are
	saveSpacing   = time.Minute            // between two writes of the state file for the age of the flags alone
)

// startRefreshLocked starts what keeps flags and overrides up to date.
func (c *Controller) startRefreshLocked(ctx context.Context) {
	if c.cfg.Provider != nil {
		c.goLocked("refresh of flags", func() { c.refresh(ctx, c.hint, c.pullFlags) })
		c.watchLocked(ctx, "watch of flags", c.cfg.Provider, c.hint)
	}
	if c.cfg.Overrides != nil {
		c.goLocked("refresh of overrides", func() { c.refresh(ctx, c.pull, c.pullOverrides) })
		c.watchLocked(ctx, "watch of overrides", c.cfg.Overrides, c.pull)
	}
}

// refresh pulls now, every RefreshEvery and on hints.
func (c *Controller) refresh(ctx context.Context, hint <-chan struct{}, pull func(context.Context)) {
	for ctx.Err() == nil {
		pull(ctx)
		pause(ctx, hintSpacing)
		timer := time.NewTimer(jittered(c.cfg.RefreshEvery))
		select {
		case <-hint:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// watchLocked keeps source's Watch running, if it has one.
func (c *Controller) watchLocked(ctx context.Context, what string, source any, hint chan struct{}) {
	w, ok := source.(Watcher)
	if !ok {
		return
	}
	c.goLocked(what, func() {
		for ctx.Err() == nil {
			err := guarded(what, func() error { return w.Watch(ctx, func() { nudge(hint) }) })
			if ctx.Err() != nil {
				return
			}
			c.log.Debug("degrade: watch ended, polling goes on", "name", c.cfg.Name, "watch", what, "error", err)
			pause(ctx, jittered(c.cfg.RefreshEvery))
			nudge(hint) // what changed meanwhile was not announced
		}
	})
}

// pullFlags loads a set and puts it in force if it is good.
func (c *Controller) pullFlags(ctx context.Context) {
	set, ok := c.newFlags(ctx)
	for ok && c.cfg.Stagger > 0 {
		pause(ctx, rand.N(c.cfg.Stagger))
		staged := set
		if set, ok = c.newFlags(ctx); ok && set.equal(&staged) { // else it was withdrawn or replaced: that is what Stagger is for
			break
		}
	}
	if ok {
		c.acceptFlags(set)
		c.save()
	}
}

// newFlags loads a set and reports whether it is good and says something new.
func (c *Controller) newFlags(ctx context.Context) (set FlagSet, ok bool) {
	set, err := c.loadFlags(ctx)
	if ctx.Err() != nil {
		return set, false
	}
	if err == nil {
		err = c.checkBlast(&set)
	}
	if err != nil {
		c.rejectFlags(err)
		return set, false
	}
	return set, !c.confirmFlags(&set)
}

func (c *Controller) loadFlags(ctx context.Context) (set FlagSet, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RefreshTimeout)
	defer cancel()
	c.mu.Lock()
	names := make([]string, 0, len(c.features))
	for _, f := range c.features {
		names = append(names, f.name)
	}
	c.mu.Unlock()
	slices.Sort(names)
	err = guarded("provider", func() (err error) {
		set, err = c.cfg.Provider.Load(ctx, names)
		return err
	})
	if err != nil {
		return FlagSet{}, err
	}
	set.Levels = maps.Clone(set.Levels)
	return set, set.check()
}

// checkBlast refuses a set that newly takes too many features Offline.
func (c *Controller) checkBlast(set *FlagSet) error {
	if set.Confirm {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.features) == 0 && set.level(All) == Offline { // whatever is registered later
		return fmt.Errorf("degrade: flags: version %q moves every feature to offline; such a set must say \"confirm\": true", set.Version)
	}
	moved := 0
	for _, f := range c.features {
		if set.level(f.name) == Offline && c.flags.set.level(f.name) != Offline {
			moved++
		}
	}
	if moved == 0 || float64(moved) < c.cfg.BlastShare*float64(len(c.features)) {
		return nil
	}
	return fmt.Errorf("degrade: flags: version %q moves %d of %d features to offline; such a set must say \"confirm\": true", set.Version, moved, len(c.features))
}

func (c *Controller) rejectFlags(err error) {
	c.refusedSets.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags.err != err.Error() { // said once, counted always
		c.eventLocked(Event{Kind: EventFlagsRejected, At: time.Now(), Cause: CauseFlag, Detail: err.Error()})
	}
	c.flags.err = err.Error()
}

// confirmFlags reports whether set is the one in force already; then only its age changes.
func (c *Controller) confirmFlags(set *FlagSet) bool {
	c.mu.Lock()
	now := time.Now()
	same := c.flags.known && c.flags.set.equal(set)
	if same {
		c.flags.fetched, c.flags.source, c.flags.err = now, sourceBackend, ""
	}
	old := same && now.Sub(c.flags.saved) >= saveSpacing
	c.mu.Unlock()
	if old {
		c.save()
	}
	return same
}

func (c *Controller) acceptFlags(set FlagSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.eventLocked(Event{Kind: EventFlags, At: now, Cause: CauseFlag, From: c.flags.set.Version, To: set.Version})
	c.flags = flags{set: set, known: true, fetched: now, source: sourceBackend}
	c.evaluateLocked(now)
	c.wakeLocked()
}

// flagsLocked worsens r by what the flags say of f; nil = of all.
func (c *Controller) flagsLocked(f *Feature, r *reason) {
	if !c.flags.known && c.cfg.Provider != nil {
		r.worsen(reason{level: c.cfg.Boot, cause: CauseBoot, detail: "no flags were ever loaded"})
		return
	}
	name := All
	if f != nil {
		name = f.name
	}
	r.worsen(reason{level: c.flags.set.level(name), cause: CauseFlag, detail: "flags " + c.flags.set.Version})
}
