package drtest

import (
	"slices"
	"testing/synctest"
	"time"
)

// heartbeatEvery is how often virtual time shows that it moves.
const heartbeatEvery = time.Second

// heartbeat tells the watchdog that virtual time moves, and ends a World that reaches its limit.
func (r *run) heartbeat(w *World) {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for w.now() < w.config.Limit {
		select {
		case <-ticker.C:
			r.virtual.Store(int64(w.now()))
			r.beats.Add(1)
			if r.over.Load() {
				w.end(errEnded)
				return
			}
		case <-w.ctx.Done():
			return
		}
	}
	own := ownGoroutine()
	gs := slices.DeleteFunc(inBubble(allGoroutines(), own.bubble), func(g goroutine) bool { return g.id == own.id })
	r.fail("drtest: the World reached its limit of %v of virtual time; it waits for:\n%s", w.config.Limit, describe(gs))
	close(r.expired)
	w.end(errEnded)
}

// sweepGrace is how long, in virtual time, goroutines may take to end after the sweep.
const sweepGrace = 10 * time.Minute

// sweep ends all that belongs to the World and reports goroutines that stay.
func (r *run) sweep(w *World) {
	w.finish()
	w.takeDown()
	w.wait(sweepGrace)
	time.Sleep(sweepGrace)
	synctest.Wait()
	r.reportLeaks()
}

// reportLeaks lists the goroutines that are left, the caller aside.
func (r *run) reportLeaks() {
	own := ownGoroutine()
	gs := slices.DeleteFunc(inBubble(allGoroutines(), own.bubble), func(g goroutine) bool {
		return g.id == own.id || g.ownBubbleMachinery()
	})
	if len(gs) == 0 {
		return
	}
	r.fail("drtest: %d goroutines left %v after the World was swept:\n%s", len(gs), sweepGrace, describe(gs))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaked = true
}
