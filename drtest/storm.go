package drtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A storm is what Explore lets happen in one World.
type storm struct {
	e *explorer

	mu    sync.Mutex // guards all below; never held while waiting
	plan  plan
	begun bool
	taken bool // the function of the World asked for it, and plays it itself
}

// Storm returns the timeline that [Explore] drew for this World. Events of it whose condition comes true too late to be over
// when the core is healed never happen. A function that wants to choose the moment, or to wait
// for the end, plays it itself with w.Play(w.Storm()), after it has made all hosts, stores and processes; else
// it is played when the function returns. Outside of Explore it is empty.
func (w *World) Storm() Scenario {
	if w.storm == nil {
		return Scenario{Name: "calm"}
	}
	p := w.storm.begin(w)
	w.storm.mu.Lock()
	defer w.storm.mu.Unlock()
	w.storm.taken = true
	return p.scenario
}

// playStorm plays the storm unless the function of the World did.
func (w *World) playStorm() {
	w.storm.mu.Lock()
	taken := w.storm.taken
	w.storm.mu.Unlock()
	if !taken {
		w.Play(w.Storm())
	}
}

// begin fixes the timeline and what is demanded after it, once.
func (s *storm) begin(w *World) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return s.plan
	}
	s.begun = true
	core, err := w.core(s.e.config)
	if err != nil {
		w.host.refuse(err)
	}
	s.plan.core = core
	if !s.plan.fixed {
		g := generator{s.e.config, core, simnet.Stream(s.plan.seed, "explore"), simnet.Stream(s.plan.seed, "explore when"), simnet.Stream(s.plan.seed, "explore pattern")}
		s.plan.scenario, s.plan.heal, s.plan.fixed = g.scenario(s.plan.seed, w.menu(s.e.config)), s.e.config.Safety, true
	}
	healed := w.now() + s.plan.heal
	w.mu.Lock()
	w.horizon = healed
	w.mu.Unlock()
	for _, c := range s.e.config.Recover {
		w.Check(c.Since(healed, "the core is healed"))
	}
	return s.plan
}

// played returns the plan that was played. One without a timeline is that of a function that did not get so far.
func (s *storm) played() plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.plan
	if !p.fixed {
		p.fixed, p.heal, p.scenario = true, s.e.config.Safety, Scenario{Name: fmt.Sprintf("seed %d", p.seed)}
	}
	return p
}

// linger lets a World come to the end of its safety phase, and one without loads go through its liveness phase.
func (w *World) linger() {
	w.mu.Lock()
	end := w.horizon
	if len(w.traffic) == 0 {
		end += w.config.Settle
	}
	w.mu.Unlock()
	w.sleepUntil(w.ctx, end)
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

// core returns the names of all that is healed; nil for everything.
func (w *World) core(c ExploreConfig) ([]string, error) {
	if c.Core == nil && c.CoreRegions == nil {
		return nil, nil
	}
	core := append([]string{}, c.Core...)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range c.CoreRegions {
		if w.regions[name] == nil {
			return nil, fmt.Errorf("drtest: ExploreConfig.CoreRegions: the World has no Region %q", name)
		}
		core = append(core, w.inLocked(name)...)
	}
	return core, nil
}

// inLocked returns the names of a Region and of all that is in it.
func (w *World) inLocked(region string) (names []string) {
	add := func(name string, r *Region) {
		if r.within(region) {
			names = append(names, name)
		}
	}
	for name, r := range w.regions {
		add(name, r)
	}
	for _, e := range w.endpoints {
		add(e.host, e.region)
	}
	for name, s := range w.stores {
		add(name, s.region)
	}
	for name, p := range w.processes {
		add(name, p.region)
	}
	return names
}

// healed returns when the safety phase ends.
func (w *World) healed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.horizon
}

// latest returns by when an event must be over, or have begun if it stays for ever: when the core is healed, if Explore drew it.
func (w *World) latest(e Event) time.Duration {
	if w.storm == nil || !w.storm.drew(e.Cond) {
		return 0
	}
	return w.healed()
}

// drew reports whether a condition is one of the timeline's.
func (s *storm) drew(c *Cond) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.plan.scenario.Events, func(e Event) bool { return e.Cond == c })
}

// A generator draws timelines.
type generator struct {
	ExploreConfig
	core    []string   // see plan
	rng     *rand.Rand // draws all but what follows
	when    *rand.Rand // conditions
	pattern *rand.Rand
}

// scenario draws a timeline from a menu.
func (g generator) scenario(seed uint64, menu []fault.Fault) Scenario {
	s := Scenario{Name: fmt.Sprintf("seed %d", seed), Events: g.patterned()}
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
		e := g.conditional(g.event(choices[g.rng.IntN(len(choices))], s.Events), s.Events)
		longer := Scenario{s.Name, append(slices.Clone(s.Events), e)}
		if longer.Validate() == nil && !crowded(e, s.Events) { // else it overlaps another on the same target
			s = longer
		}
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(a.Start - b.Start) })
	return s
}

// patterned draws a pattern, when it begins and how long it takes; nil for none.
func (g generator) patterned() []Event {
	if len(g.Patterns) == 0 || g.pattern.IntN(oneInPatterned) != 0 {
		return nil
	}
	p := g.Patterns[g.pattern.IntN(len(g.Patterns))]
	events := stretched(p, .5+g.pattern.Float64())
	last := time.Duration(0)
	for _, e := range events {
		last = max(last, e.end())
	}
	room := max(g.Safety-g.warmUp()-last, time.Second)
	start := min(g.warmUp()+rounded(time.Duration(g.pattern.Int64N(int64(room)))), g.Safety-last) // rounding may lead beyond the phase
	for i := range events {
		events[i].Start += start
	}
	return events
}

// stretched returns the events of a pattern at another pace; as they are if two of them then meet, for they are rounded.
func stretched(p Scenario, by float64) []Event {
	events := slices.Clone(p.Events)
	for i := range events {
		e := &events[i]
		for _, d := range []*time.Duration{&e.Start, &e.Length, &e.RampUp} {
			if *d > 0 {
				*d = rounded(time.Duration(float64(*d) * by))
			}
		}
	}
	if (Scenario{p.Name, events}).Validate() != nil {
		return slices.Clone(p.Events)
	}
	return events
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

// crowded reports whether an event may meet another on its target, at a time that nobody knows beforehand.
func crowded(e Event, before []Event) bool {
	return slices.ContainsFunc(before, func(b Event) bool {
		return (e.Cond != nil || b.Cond != nil) && e.Fault.Target() == b.Fault.Target()
	})
}

// conditional lets some events wait for a moment in place of a time: the worst is often when something has just gone wrong, or moved, because of
// an event before.
func (g generator) conditional(e Event, before []Event) Event {
	if g.when.IntN(oneInWaits) != 0 || !slices.ContainsFunc(before, func(b Event) bool { return b.Cond == nil }) {
		return e
	}
	c := moments[g.when.IntN(len(moments))]
	if g.when.IntN(2) == 0 {
		c = c.Then(time.Duration(1+g.when.IntN(60)) * time.Second)
	}
	e.Cond, e.Start = &c, c.After
	return e
}

// moments are what events wait for. What happens in every World when it begins is none.
var moments = [...]Cond{
	OnFailures(1), OnFailures(1), OnFailures(10), OnFailures(10), OnFailures(100), OnMark(history.MarkDetected, ""), OnMark(history.MarkDecided, ""), OnMark(history.MarkSwitched, ""),
	OnMark(history.MarkPromoted, ""), OnMark(history.MarkDeposed, ""), OnMark(history.MarkBreaker, ""),
}

// How events are drawn, as one in so many.
const (
	oneInPatterned = 2 // of the Worlds, has a pattern

	oneInWaits   = 4 // waits for a moment
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
		longest = min(longest, g.Safety-e.Start-f.Recovery)
		if longest < time.Second { // no room for symptoms
			e.Fault = e.Fault.Recovering(0, 0, 0)
			longest = min(g.Safety/2, g.Safety-e.Start)
		}
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
	before = slices.DeleteFunc(slices.Clone(before), func(e Event) bool { return e.Cond != nil })
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
	return g.core == nil || within(f, g.core)
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
