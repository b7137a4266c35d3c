package failover

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	simSeeds = flag.Int("seeds", 0, "how many seeds TestSim runs; 0 means 200, and 54 under the race detector")
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
	seeds := *simSeeds
	switch {
	case seeds == 0 && raceEnabled:
		seeds = 3 * len(simPlans)
	case seeds == 0:
		seeds = 200
	}
	started := time.Now()
	const workers = 2
	var failed atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for w := range workers {
			t.Run(fmt.Sprint("worker ", w), func(t *testing.T) {
				t.Parallel()
				for seed := *simFirst + w; seed < *simFirst+seeds && failed.Load() < 5; seed += workers {
					s := runSeed(t, seed, nil, counts.add)
					if *simShow {
						t.Logf("%s", s.timeline())
					}
					if len(s.broken) > 0 {
						failed.Add(1)
						t.Errorf("seed %d (run again with -run 'TestSim$' -seed=%d -seeds=1): %s\n%s", seed, seed, strings.Join(s.broken, "\n"), s.timeline())
					}
				}
			})
		}
	})
	t.Logf("%d seeds in %v", seeds, time.Since(started).Round(time.Millisecond))
	if seeds < 1000 {
		return
	}
	for _, event := range slices.Sorted(maps.Keys(counts.events)) {
		t.Logf("%6d  %s", counts.events[event], event)
	}
	for event := range counts.events {
		if arrow, ok := strings.CutPrefix(event, "phase "); ok {
			from, to, _ := strings.Cut(arrow, " → ")
			ok = from != to
			if ok && !slices.Contains(simMustSee, event) {
				t.Errorf("%q is an arrow that nobody expects", event)
			}
		} else if strings.HasPrefix(event, "health ") && !slices.Contains(simMustSee, event) {
			t.Errorf("%q is an arrow that nobody expects", event)
		}
	}
	for _, event := range simMustSee {
		if seeds < 10_000 {
			break
		}
		if counts.events[event] < 50 {
			t.Errorf("%q fired %d times in %d seeds, want at least 50", event, counts.events[event], seeds)
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
	"refused budget", "refused freeze", "refused quorum", "refused conflict", "refused former_writer",
}

// TestSimFindsMutations breaks one rule at a time: within 200 seeds an invariant must fail, or the simulation is blind. The worlds of
// the plan that should notice come first.
func TestSimFindsMutations(t *testing.T) {
	mutations := []struct {
		name, plan string
		mutate     func(*Controller)
	}{
		{"fence wait of the TTL alone", "an operator cuts", func(c *Controller) { c.rule.fenceWait = 20 * time.Second }},
		{"lease counted from the response", "an operator cuts", func(c *Controller) { c.rule.leaseFromResponse = true }},
		{"lease on a wall clock that is set back", "the writer's store is lost", func(c *Controller) { c.rule.wallStep = 2 * time.Second }},
		{"never abstains", "a fault of some instances", func(c *Controller) { c.rule.neverAbstain = true }},
		{"accepts a lower epoch", "the coordinator goes back", func(c *Controller) { c.rule.acceptLower = true }},
		{"exposure guard off", "replication lags", func(c *Controller) { c.rule.anyExposure = true }},
		{"a former writer taken for a copy", "failback", func(c *Controller) { c.rule.anyTarget = true }},
		{"exposure not frozen", "an approval takes", func(c *Controller) { c.rule.openExposure = true }},
		{"executor runs twice", "the executor is cut off", func(c *Controller) { c.rule.manyExecutors = true }},
		{"same epoch granted twice", "the writer's store is lost", func(c *Controller) { c.rule.reuseEpoch, c.rule.ignoreDecision = true, true }},
		{"another decision of an epoch accepted", "the coordinator goes back", func(c *Controller) { c.rule.ignoreDecision = true }},
		{"not run taken from the last attempt", "operators", func(c *Controller) { c.rule.lastAttemptOnly = true }},
		{"ramp on an unplanned move", "the writer's store is lost", func(c *Controller) { c.rule.rampAlways = true }},
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			first := slices.IndexFunc(simPlans, func(p simPlan) bool { return strings.HasPrefix(p.name, m.plan) })
			var order []int
			for seed := 1; seed <= 200; seed++ {
				order = append(order, seed)
			}
			slices.SortStableFunc(order, func(a, b int) int {
				return cmp.Compare(min(1, (a-first+len(simPlans))%len(simPlans)), min(1, (b-first+len(simPlans))%len(simPlans)))
			})
			for tried, seed := range order {
				if s := runSeed(t, seed, m.mutate, nil); len(s.broken) > 0 {
					t.Logf("found in world %d (seed %d): %s", tried+1, seed, s.broken[0])
					return
				}
			}
			t.Error("no invariant failed in 200 seeds")
		})
	}
}
