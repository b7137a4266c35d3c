package drtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A storm is what Explore lets happen in one World.
type storm struct {
	e     *explorer
	once  sync.Once
	plan  plan
	taken bool // the function of the World asked for it, and plays it itself
}

// Storm returns the timeline that [Explore] drew for this World. A function that wants to choose the moment, or to wait
// for the end, plays it itself with w.Play(w.Storm()), after it has made all hosts, stores and processes; else
// it is played when the function returns. Outside of Explore it is empty.
func (w *World) Storm() Scenario {
	if w.storm == nil {
		return Scenario{Name: "calm"}
	}
	w.storm.once.Do(func() { w.storm.begin(w) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.storm.taken = true
	return w.storm.plan.scenario
}

// playStorm plays the storm unless the function of the World did.
func (w *World) playStorm() {
	w.mu.Lock()
	taken := w.storm.taken
	w.mu.Unlock()
	if !taken {
		w.Play(w.Storm())
	}
}

// begin fixes the timeline and what is demanded after it.
func (s *storm) begin(w *World) {
	if !s.plan.fixed {
		g := generator{ExploreConfig: s.e.config, rng: simnet.Stream(s.plan.seed, "explore")}
		s.plan.scenario, s.plan.heal, s.plan.fixed = g.scenario(s.plan.seed, w.menu(s.e.config)), s.e.config.Safety, true
	}
	healed := w.now() + s.plan.heal
	w.mu.Lock()
	w.horizon = healed
	w.mu.Unlock()
	for _, c := range s.e.config.Recover {
		w.Check(c.Since(healed, "the core is healed"))
	}
}

// linger lets a World without loads go through its liveness phase.
func (w *World) linger() {
	w.mu.Lock()
	loads, end := len(w.traffic), w.horizon+w.config.Settle
	w.mu.Unlock()
	if loads == 0 {
		w.sleepUntil(w.ctx, end)
	}
}

// atMost returns how many clients a load may have.
func (w *World) atMost(clients int) int {
	if w.storm == nil || w.storm.plan.clients == 0 {
		return clients
	}
	return min(clients, w.storm.plan.clients)
}

// clients returns how many clients the largest load has.
func (w *World) clients() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, t := range w.traffic {
		n = max(n, t.Clients)
	}
	return n
}

// A generator draws timelines.
type generator struct {
	ExploreConfig
	rng *rand.Rand
}

// scenario draws a timeline from a menu.
func (g generator) scenario(seed uint64, menu []fault.Fault) Scenario {
	s := Scenario{Name: fmt.Sprintf("seed %d", seed)}
	byKind := map[fault.Kind][]fault.Fault{}
	for _, f := range menu {
		byKind[f.Kind] = append(byKind[f.Kind], f)
	}
	kinds := g.swarm(byKind)
	if len(kinds) == 0 {
		return s
	}
	for range 1 + g.rng.IntN(g.Events) {
		choices := byKind[kinds[g.rng.IntN(len(kinds))]]
		e := g.event(choices[g.rng.IntN(len(choices))], s.Events)
		longer := Scenario{s.Name, append(slices.Clone(s.Events), e)}
		if longer.Validate() == nil { // else it overlaps another on the same target
			s = longer
		}
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(a.Start - b.Start) })
	return s
}

// swarm draws which kinds of faults this seed has: each with a chance of a half, and at least one.
func (g generator) swarm(byKind map[fault.Kind][]fault.Fault) []fault.Kind {
	var all, some []fault.Kind
	for _, k := range fault.Kinds() {
		if len(byKind[k]) == 0 {
			continue
		}
		all = append(all, k)
		if g.rng.IntN(2) == 0 {
			some = append(some, k)
		}
	}
	if len(some) == 0 && len(all) > 0 {
		some = append(some, all[g.rng.IntN(len(all))])
	}
	return some
}

// How events are drawn, as one in so many.
const (
	oneInNear    = 2 // begins at an edge of an event before
	oneInWeaker  = 2 // has less than its full strength, if it has a degree
	oneInFlaps   = 10
	oneInRamps   = 10
	oneInForever = 2 // stays for ever, where it is not the core that it acts on
)

// event draws when a fault comes, how strong it is and how long it stays.
func (g generator) event(f fault.Fault, before []Event) Event {
	f = g.weaken(f)
	e := At(g.start(before), f)
	longest := g.Safety / 2
	if g.isCore(f) {
		longest = min(longest, g.Safety-e.Start)
	} else if f.Lasts() && g.rng.IntN(oneInForever) == 0 {
		return e
	}
	e.Length = rounded(time.Duration(math.Exp(g.rng.Float64()*math.Log(float64(longest)/float64(time.Second))) * float64(time.Second)))
	e.Length = min(e.Length, longest)
	switch {
	case f.Flaps() && e.Length >= 20*time.Second && g.rng.IntN(oneInFlaps) == 0:
		return e.Flap(g.seconds(1, 5), g.seconds(1, 5))
	case f.Degree() && e.Length >= 10*time.Second && g.rng.IntN(oneInRamps) == 0:
		return e.Ramp(rounded(e.Length / 2))
	}
	return e
}

// weaken draws the strength of a fault that has a degree.
func (g generator) weaken(f fault.Fault) fault.Fault {
	if !f.Degree() || g.rng.IntN(oneInWeaker) != 0 {
		return f
	}
	if weaker := f.At(float64(1+g.rng.IntN(9)) / 10); weaker.Validate() == nil {
		return weaker
	}
	return f
}

// start draws when an event begins: anywhere in the safety phase, or near an edge of an event before it, where
// something is going on.
func (g generator) start(before []Event) time.Duration {
	first, last := g.warmUp(), g.Safety*9/10
	if len(before) > 0 && g.rng.IntN(oneInNear) == 0 {
		e := before[g.rng.IntN(len(before))]
		at := e.Start
		if g.rng.IntN(2) == 0 {
			at = e.end()
		}
		return min(at+g.seconds(0, 60), rounded(last))
	}
	return rounded(first + time.Duration(g.rng.Int64N(int64(last-first))))
}

// warmUp is the time without a fault at the beginning, which shows what is normal.
func (c ExploreConfig) warmUp() time.Duration { return max(c.Safety/20, 10*time.Second) }

func (g generator) seconds(from, to int) time.Duration {
	return time.Duration(from+g.rng.IntN(to-from+1)) * time.Second
}

// rounded returns a duration in seconds, or tenths of them below ten.
func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return max(d.Round(100*time.Millisecond), 100*time.Millisecond)
	}
	return d.Round(time.Second)
}

// isCore reports whether a fault is over when the core is healed.
func (g generator) isCore(f fault.Fault) bool {
	return g.Core == nil || within(f, g.Core)
}

// within reports whether a fault acts on nothing but some Regions, hosts, stores and processes.
func within(f fault.Fault, names []string) bool {
	for _, n := range f.Names() {
		if !slices.Contains(names, n) {
			return false
		}
	}
	return true
}
