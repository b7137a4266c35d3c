package degrade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// stopTimeout is how long Run waits for callbacks that ignore the end of their context.
const stopTimeout = 5 * time.Second

// maxSleep bounds how late an override's end is noticed after the wall clock was set or the machine slept: timers follow neither.
const maxSleep = time.Minute

// running is what belongs to one call of Run.
type running struct {
	tell   chan struct{}
	wg     sync.WaitGroup
	active map[string]int // what is running, by name; guarded by Controller.mu
}

// Run keeps the levels up to date until ctx is done: it polls dependencies, asks gates, loads flags and overrides, ends
// overrides, takes the way back to better levels and tells subscribers. Without it reports still make levels worse, but nothing
// gets better. It owns every goroutine of the Controller and waits for them; call it once. It returns nil, or an error
// that names callbacks that did not return within 5 s of ctx's end.
func (c *Controller) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.ran {
		c.mu.Unlock()
		return errStopped
	}
	c.ran = true
	r := &running{tell: make(chan struct{}, 1), active: map[string]int{}}
	c.run = r
	c.startRefreshLocked(ctx)
	c.mu.Unlock()

	telling, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTelling()
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.tell(telling, r.tell)
	}()
	c.control(ctx)
	return c.end(r, stopTelling, told)
}

// control evaluates whenever something happened or became due.
func (c *Controller) control(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		now := time.Now()
		c.startPollsLocked(ctx, now)
		next := c.evaluateLocked(now)
		c.askGatesLocked(ctx, now)
		c.mu.Unlock()

		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(min(max(time.Millisecond, next.Sub(now)), maxSleep))
		}
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer:
		}
	}
}

// end stops everything that Run owns and says what did not stop.
func (c *Controller) end(r *running, stopTelling context.CancelFunc, told <-chan struct{}) error {
	c.mu.Lock()
	c.stopping = true
	for _, cancel := range c.loads {
		cancel()
	}
	c.mu.Unlock()
	var late []error
	if !within(stopTimeout, func() { r.wg.Wait(); c.detached.Wait() }) {
		c.mu.Lock()
		late = append(late, fmt.Errorf("degrade: Run: still running %v after the end: %s", stopTimeout, strings.Join(slices.Sorted(maps.Keys(r.active)), ", ")))
		c.mu.Unlock()
	}
	stopTelling()
	if !within(stopTimeout, func() { <-told }) {
		late = append(late, fmt.Errorf("degrade: Run: a subscriber has not returned for %v", stopTimeout))
	}
	c.mu.Lock()
	c.run = nil
	c.mu.Unlock()
	c.save()
	return errors.Join(late...)
}

// within reports whether wait returned within limit.
func within(limit time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// goLocked runs work on a goroutine of Run.
func (c *Controller) goLocked(what string, work func()) {
	r := c.run
	r.active[what]++
	r.wg.Go(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if r.active[what]--; r.active[what] == 0 {
				delete(r.active, what)
			}
		}()
		work()
	})
}

// detach runs work on a goroutine that Run waits for, with a context that outlives the caller's but neither timeout nor
// Run. It reports false, and does nothing, if Run has ended.
func (c *Controller) detach(ctx context.Context, what string, timeout time.Duration, work func(context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	c.loaded++
	id := c.loaded
	c.loads[id] = cancel
	if c.run != nil {
		c.run.active[what]++
	}
	r := c.run
	c.detached.Go(func() {
		defer func() {
			cancel()
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.loads, id)
			if r != nil {
				if r.active[what]--; r.active[what] == 0 {
					delete(r.active, what)
				}
			}
		}()
		work(ctx)
	})
	return true
}

// startPollsLocked starts the poll of every dependency that has a source and is not polled yet.
func (c *Controller) startPollsLocked(ctx context.Context, now time.Time) {
	for _, d := range c.dependencies {
		if d.polled() && d.polledSince.IsZero() {
			d.polledSince = now
			c.goLocked("poll of dependency "+d.name, func() { d.pollUntil(ctx) })
		}
	}
}

func (d *Dependency) pollUntil(ctx context.Context) {
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, d.c.cfg.PollTimeout)
		state, detail := d.ask(bounded)
		cancel()
		if ctx.Err() != nil {
			return // what a poll says about its own end is not about the dependency
		}
		if detail == "" && d.told.Load() == uint32(state) {
			d.reported.Store(d.c.offset(time.Now()))
		} else {
			d.report(state, detail)
		}
		pause(ctx, jittered(d.c.cfg.PollEvery))
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
