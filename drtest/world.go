package drtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A World is a set of Regions on a simulated network, in a bubble of its own. [Run] makes it. It is safe
// for concurrent use by goroutines of the bubble.
type World struct {
	t      *testing.T
	run    *run
	config Config
	net    *simnet.Net
	start  time.Time
	ctx    context.Context // ends with the World
	end    context.CancelCauseFunc
	tasks  sync.WaitGroup // the World's own goroutines

	mu      sync.Mutex // guards all below; never held while waiting
	regions map[string]*Region
	order   []*Region
	phases  time.Duration

	endpoints map[string]*endpoint // by "host:port"
}

// intraZone is the one-way delay between two Availability Zones of one Region, "single-digit millisecond"
// round trips in AWS's words.
const intraZone = 500 * time.Microsecond

// unknownRTT is the round trip between Regions of which no figure was given.
const unknownRTT = 60 * time.Millisecond

func newWorld(t *testing.T, r *run) *World {
	w := &World{
		t: t, run: r, config: r.config, start: time.Now(), regions: map[string]*Region{},
		net: simnet.New(simnet.Config{Seed: r.config.Seed, Default: simnet.Shape{Latency: unknownRTT / 2}}),
	}
	// The context of t ends before the cleanups of the test run; what they close may still need the World.
	w.ctx, w.end = context.WithCancelCause(context.WithoutCancel(t.Context()))
	w.tasks.Go(w.heartbeat)
	return w
}

// authority signs the certificates of all Worlds of the process: making a key for each would be most of the
// cost of a small World.
var authority = sync.OnceValue(func() *simnet.CA {
	ca, err := simnet.NewCA()
	if err != nil {
		panic(err) // only if the process has no randomness
	}
	return ca
})

// now is the time since the World began.
func (w *World) now() time.Duration { return time.Since(w.start) }

// heartbeatEvery is how often virtual time shows that it moves.
const heartbeatEvery = time.Second

// heartbeat tells the watchdog that virtual time moves.
func (w *World) heartbeat() {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.run.beats.Add(1)
		case <-w.ctx.Done():
			return
		}
	}
}

// phase returns a sub-grain offset that no other source of events has. Offsets keep events of different
// sources out of each other's nanosecond; package simnet says how.
func (w *World) phase() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phases++
	return w.phases % sourcePhases
}

// sourcePhases is how many of the offsets below simnet.Grain are for single sources: faults, processes,
// tickers. The rest is for loads.
const sourcePhases = 1000 * time.Nanosecond

// Region returns the Region of a name and makes it if it is new. A place where clients live is a Region
// too.
func (w *World) Region(name string) *Region {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.regions[name]; ok {
		return r
	}
	if name == "" || name == simnet.Any {
		panic(fmt.Sprintf("drtest: %q is no name for a Region", name))
	}
	r := newRegion(w, name)
	w.regions[name] = r
	w.order = append(w.order, r)
	w.net.SetLink(name, name, simnet.Shape{Latency: intraZone})
	return r
}

// Link sets the shape of both directions between two Regions; faults stay on top of it.
func (w *World) Link(a, b *Region, shape simnet.Shape) { w.net.SetLinks(a.name, b.name, shape) }

// Net returns the network, for links of one direction, DNS records and certificates.
func (w *World) Net() *simnet.Net { return w.net }

// Wait blocks until every scenario has been played, every load has ended and its calls have returned. A load
// without an end of its own ends Config.Settle after the last event. [Run] calls Wait after its function.
func (w *World) Wait() {}

// sweepGrace is how long, in virtual time, goroutines may take to end after the sweep.
const sweepGrace = 10 * time.Minute

// sweep ends all that belongs to the World and reports goroutines that stay.
func (w *World) sweep() {
	w.end(errEnded)
	w.mu.Lock()
	regions := slices.Clone(w.order)
	w.mu.Unlock()
	for _, r := range regions {
		r.close()
	}
	_ = w.net.Close()
	for _, r := range regions {
		r.wait()
	}
	w.tasks.Wait()
	time.Sleep(sweepGrace)
	synctest.Wait()
	w.reportLeaks()
}

// reportLeaks lists the goroutines that are left, the caller aside.
func (w *World) reportLeaks() {
	own := ownGoroutine()
	gs := slices.DeleteFunc(inBubble(allGoroutines(), own.bubble), func(g goroutine) bool {
		return g.id == own.id || g.ownBubbleMachinery()
	})
	if len(gs) == 0 {
		return
	}
	w.run.fail("drtest: %d goroutines left %v after the World was swept:\n%s", len(gs), sweepGrace, describe(gs))
	close(w.run.leaked)
}

// conclude runs outside the bubble, after its end.
func (w *World) conclude() {}
