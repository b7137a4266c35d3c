package failover

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	simSeeds = flag.Int("seeds", 200, "how many seeds TestSim runs")
	simFirst = flag.Int("seed", 1, "the first seed of TestSim")
	simShow  = flag.Bool("timeline", false, "print the timeline of every seed of TestSim")
)

// runSeed runs the world of one seed in a bubble of its own.
func runSeed(t *testing.T, seed int, mutate func(*Controller), count func(string)) *sim {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var s *sim
	synctest.Test(t, func(*testing.T) {
		s = newSim(int64(seed))
		s.dir, s.mutate = dir, mutate
		if count != nil {
			s.count = count
		}
		s.story()
	})
	return s
}

// A tallyOf counts events of worlds that run at the same time.
type tallyOf struct {
	mu     sync.Mutex // guards events
	events map[string]int
}

func (c *tallyOf) add(event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events[event]++
}

// TestSim holds the invariants against seeded disasters. -seeds=10000 also demands that every arrow and refusal has been seen.
func TestSim(t *testing.T) {
	counts := &tallyOf{events: map[string]int{}}
	started := time.Now()
	const workers = 2
	var failed sync.Map
	t.Run("seeds", func(t *testing.T) {
		for w := range workers {
			t.Run(fmt.Sprint("worker ", w), func(t *testing.T) {
				t.Parallel()
				for seed := *simFirst + w; seed < *simFirst+*simSeeds && !t.Failed(); seed += workers {
					s := runSeed(t, seed, nil, counts.add)
					if *simShow {
						t.Logf("%s", s.timeline())
					}
					if len(s.broken) > 0 {
						failed.Store(seed, true)
						t.Errorf("seed %d (run again with -run 'TestSim$' -seed=%d -seeds=1): %s\n%s", seed, seed, strings.Join(s.broken, "\n"), s.timeline())
					}
				}
			})
		}
	})
	t.Logf("%d seeds in %v", *simSeeds, time.Since(started).Round(time.Millisecond))
	if *simSeeds < 10_000 {
		return
	}
	for _, event := range slices.Sorted(maps.Keys(counts.events)) {
		t.Logf("%6d  %s", counts.events[event], event)
	}
	for _, event := range simMustSee {
		if counts.events[event] < 50 {
			t.Errorf("%q fired %d times in %d seeds, want at least 50", event, counts.events[event], *simSeeds)
		}
	}
}

// simMustSee are all arrows of the writer's and the health state machine, and all guards.
var simMustSee = []string{
	"phase steady → await_approval", "phase await_approval → steady", "phase await_approval → fenced",
	"phase steady → fenced", "phase steady → draining", "phase draining → fenced", "phase draining → steady",
	"phase fenced → promoting", "phase fenced → steady", "phase promoting → open", "phase promoting → steady",
	"phase open → steady", "phase open → ramping", "phase ramping → steady", "phase await_approval → draining",
	"health unknown → healthy", "health healthy → suspect", "health suspect → healthy", "health suspect → unhealthy",
	"health unhealthy → recovering", "health recovering → healthy", "health recovering → unhealthy",
	"health unknown → suspect",
	"refused target", "refused phase", "refused request", "refused exposure", "refused readiness", "refused cooldown",
	"refused budget", "refused freeze", "refused quorum", "refused conflict",
}

// TestSimFindsMutations breaks one rule at a time: within 200 seeds an invariant must fail, or the simulation is blind.
func TestSimFindsMutations(t *testing.T) {
	mutations := map[string]func(*Controller){
		"fence wait of the TTL alone":            func(c *Controller) { c.rule.fenceWait = 20 * time.Second },
		"lease counted from the response":        func(c *Controller) { c.rule.leaseFromResponse = true },
		"lease on a wall clock that is set back": func(c *Controller) { c.rule.wallStep = 2 * time.Second },
		"never abstains":                         func(c *Controller) { c.rule.neverAbstain = true },
		"accepts a lower epoch":                  func(c *Controller) { c.rule.acceptLower = true },
		"exposure guard off":                     func(c *Controller) { c.rule.anyExposure = true },
		"exposure not frozen":                    func(c *Controller) { c.rule.openExposure = true },
		"executor runs twice":                    func(c *Controller) { c.rule.manyExecutors = true },
		"same epoch granted twice":               func(c *Controller) { c.rule.reuseEpoch, c.rule.ignoreDecision = true, true },
		"another decision of an epoch accepted":  func(c *Controller) { c.rule.ignoreDecision = true },
		"not run taken from the last attempt":    func(c *Controller) { c.rule.lastAttemptOnly = true },
		"ramp on an unplanned move":              func(c *Controller) { c.rule.rampAlways = true },
	}
	for _, name := range slices.Sorted(maps.Keys(mutations)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := 1; seed <= 200; seed++ {
				if s := runSeed(t, seed, mutations[name], nil); len(s.broken) > 0 {
					t.Logf("found at seed %d: %s", seed, s.broken[0])
					return
				}
			}
			t.Error("no invariant failed in 200 seeds")
		})
	}
}
