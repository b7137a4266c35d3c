package failover

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

var errRunTwice = errors.New("failover: Run was called before")

// Run probes, votes, renews the lease, follows the group's decision and drives moves into this Region. It blocks until
// ctx ends and everything it started has returned, then returns nil. It owns every goroutine of the controller and of
// its clients' probes; call it once: a second call returns an error.
func (c *Controller) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errRunTwice
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.watchHealth(ctx, &wg) })
	wg.Go(func() { c.follow(ctx, &wg) })
	wg.Go(func() { c.drainOnSwitch(ctx) })
	if c.cfg.OnDecision != nil {
		wg.Go(func() {
			for d := range c.Watch(ctx) {
				c.cfg.OnDecision(d)
			}
		})
	}
	kept := make(chan struct{})
	go func() { defer close(kept); c.keepRecord(ctx) }()
	wg.Wait()
	<-kept
	c.persist() // what the last goroutines adopted
	return nil
}

// keepRecord writes state file and audit sink after changes, apart from the loop that renews the lease: a disk or
// a sink that hangs must not stop writes.
func (c *Controller) keepRecord(ctx context.Context) {
	for {
		var again <-chan time.Time // never, once all is kept
		if !c.persist() {
			again = time.After(c.cfg.PollEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.keep:
		case <-again:
		}
	}
}

// tick is how often windows turn and health is evaluated, beside every probe result.
const tick = time.Second

// watchHealth evaluates health once a second and after every probe. It never waits for the coordinator.
func (c *Controller) watchHealth(ctx context.Context, wg *sync.WaitGroup) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		c.startProbers(ctx, wg)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.evaluate(true)
		case <-c.wake:
			c.evaluate(false)
		}
	}
}

// evaluate steps every Region's health and publishes the result. turn closes a second of the windows.
func (c *Controller) evaluate(turn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	deciding := c.decidingLocked()
	now := time.Now()
	said := map[Region]signals{}
	bad := 0
	for _, r := range c.cfg.Regions {
		if turn {
			for _, src := range c.sources {
				src.regions[r].window.tick(&src.regions[r].counts)
			}
		}
		said[r] = gather(deciding, r)
		if said[r].anyProbe || said[r].anyRate {
			bad++
		}
	}
	c.avoidLocked()
	c.suspect = len(c.cfg.Regions) > 1 && bad == len(c.cfg.Regions)
	for _, r := range c.cfg.Regions {
		if !c.suspect || c.rule.neverAbstain {
			c.stepLocked(r, said[r], now)
		}
	}
	c.trackStableLocked(now)
	c.publishLocked()
}

// avoidLocked tells advisory clients which Regions their own evidence speaks against.
func (c *Controller) avoidLocked() {
	for _, src := range c.sources {
		for r, state := range src.regions {
			if src.advisory {
				s := gather([]*source{src}, r)
				state.avoid.Store(s.probesDown || s.rateDown || s.anyProbe && s.anyRate)
			}
		}
	}
}

// decidingLocked are the sources whose evidence moves Regions for everyone.
func (c *Controller) decidingLocked() []*source {
	var list []*source
	for _, s := range c.sources {
		if !s.advisory {
			list = append(list, s)
		}
	}
	return list
}

func (c *Controller) stepLocked(r Region, s signals, now time.Time) {
	h := c.health[r]
	before := h.state
	h.step(now, s, c.otherHealthyLocked(r))
	if h.state != before {
		c.rule.see("health " + before.String() + " → " + h.state.String())
		c.log.Info("region health", slog.String("region", r), slog.String("from", before.String()),
			slog.String("to", h.state.String()), slog.Bool("gray", h.gray))
	}
}

func (c *Controller) otherHealthyLocked(r Region) bool {
	for other, h := range c.health {
		if other != r && h.state == HealthHealthy {
			return true
		}
	}
	return false
}

// trackStableLocked notes since when the preferred writer has been healthy, for an automatic failback.
func (c *Controller) trackStableLocked(now time.Time) {
	switch h := c.health[c.cfg.Regions[0]]; {
	case h.state != HealthHealthy:
		c.stable = time.Time{}
	case c.stable.IsZero():
		c.stable = now
	}
}

// follow polls the coordinator every PollEvery ± 20 %, sooner when poked, never without a pause.
func (c *Controller) follow(ctx context.Context, wg *sync.WaitGroup) {
	defer c.endTask()
	for ctx.Err() == nil {
		started := time.Now()
		c.poll(ctx, wg)
		// Counted from start to start: a poll that hung must not delay the next one, or one lost renewal would end a lease.
		timer := time.NewTimer(max(casFloor, c.jittered(c.cfg.PollEvery)-time.Since(started)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.poke:
			_ = wait(ctx, casFloor)
		}
		timer.Stop()
	}
}

// jittered spreads d by ± 20 %, so that a fleet does not poll in step.
func (c *Controller) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*c.rule.random()))
}

// nudge sends without waiting: the receiver acts on the latest state anyway.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
