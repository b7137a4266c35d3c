package drtest

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/internal/cputime"
)

// A shrinker makes the plan of a failing World smaller, as long as the same thing goes wrong.
type shrinker struct {
	e      *explorer
	target *trial // what went wrong
	best   *trial
	worlds int
	tried  map[string]bool // plans, as text
	start  time.Time
	before time.Duration
}

// shrink returns the smallest failing World it can find within the budget, and how many Worlds that took.
func (e *explorer) shrink(x *trial) (best *trial, worlds int) {
	s := &shrinker{e: e, target: x, best: x, tried: map[string]bool{}, start: time.Now(), before: cputime.Used()}
	for {
		was := s.best
		s.drop()
		s.fewerClients()
		for i := range s.best.plan.scenario.Events {
			s.timed(i)
			s.plainer(i)
			s.shorten(i)
			s.soften(i)
		}
		s.together()
		for i := range s.best.plan.scenario.Events {
			s.rounder(i)
		}
		s.healEarlier()
		if s.best == was || s.spent() {
			return s.best, s.worlds
		}
	}
}

func (s *shrinker) spent() bool {
	budget := s.e.config.ShrinkBudget
	return cputime.Used()-s.before > budget || time.Since(s.start) > 4*budget
}

// better plays a plan and keeps it if the same thing goes wrong.
func (s *shrinker) better(p plan) bool {
	if s.spent() || !s.sound(p) {
		return false
	}
	key, err := json.Marshal([]any{p.scenario, p.heal, p.clients}) // the text of a fault leaves figures out
	if err != nil || s.tried[string(key)] {
		return false
	}
	s.tried[string(key)] = true
	var x *trial
	for range s.e.plays() {
		s.worlds++
		if x = s.e.try(p, nil); !x.repeats(s.target) {
			return false
		}
	}
	s.best = x
	return true
}

// plays is how often a plan must go wrong, one time after the other, before it is taken for a smaller one: where a World may go another way when it is
// played again, a plan that goes wrong now and then would be the smallest.
func (e *explorer) plays() int {
	if e.config.AcceptDivergence == "" {
		return 1
	}
	return 3
}

// sound reports whether a plan is one that Explore could have drawn: what hits the core is over when it is healed.
func (s *shrinker) sound(p plan) bool {
	g := generator{ExploreConfig: s.e.config, core: p.core}
	for _, e := range p.scenario.Events {
		if e.Start > p.heal || g.isCore(e.Fault) && (e.end() > p.heal || e.Length == 0 && e.Fault.Lasts()) {
			return false
		}
	}
	return p.scenario.Validate() == nil
}

// plan returns a copy of the best plan so far.
func (s *shrinker) plan() plan {
	p := s.best.plan
	p.scenario.Events = slices.Clone(p.scenario.Events)
	return p
}

// drop leaves events out, in halves, quarters and so on, until none can be missed.
func (s *shrinker) drop() {
	for size := len(s.best.plan.scenario.Events); size >= 1; {
		dropped := false
		for from := 0; from < len(s.best.plan.scenario.Events); {
			p := s.plan()
			p.scenario.Events = slices.Delete(p.scenario.Events, from, min(from+size, len(p.scenario.Events)))
			if s.better(p) {
				dropped = true
			} else {
				from += size
			}
		}
		if !dropped || size > 1 {
			size /= 2
		}
	}
}

// fewerClients tries loads with few clients.
func (s *shrinker) fewerClients() {
	now := s.best.plan.clients
	if now == 0 {
		now = s.best.clients
	}
	for n := max(s.e.config.MinClients, 1); n < now; n *= 2 {
		p := s.plan()
		p.clients = n
		if s.better(p) {
			return
		}
	}
}

// change tries the plan with one event changed.
func (s *shrinker) change(i int, edit func(*Event)) bool {
	p := s.plan()
	was := p.scenario.Events[i]
	edit(&p.scenario.Events[i])
	return p.scenario.Events[i] != was && s.better(p)
}

// timed gives an event that waits for a condition the time at which that came true, or less of a delay.
func (s *shrinker) timed(i int) {
	if s.best.plan.scenario.Events[i].Cond == nil || s.best.history == nil {
		return
	}
	for _, f := range s.best.history.Faults() {
		if at := (f.From - s.best.began).Truncate(100 * time.Millisecond); f.Event == i && s.change(i, func(e *Event) { e.Cond, e.Start = nil, at }) {
			return
		}
	}
	s.change(i, func(e *Event) {
		at := e.Cond.Then(0)
		e.Cond, e.Start = &at, 0
	})
}

// plainer takes flapping, ramps and symptoms away.
func (s *shrinker) plainer(i int) {
	s.change(i, func(e *Event) { e.FlapOn, e.FlapOff = 0, 0 })
	s.change(i, func(e *Event) { e.RampUp = 0 })
	if s.best.plan.scenario.Events[i].Fault.Recovery > 0 {
		s.change(i, func(e *Event) { e.Fault = e.Fault.Recovering(0, 0, 0) })
	}
}

// round are the durations people write.
var round = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second, 45 * time.Second,
	time.Minute, 90 * time.Second, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
}

// shorten takes the shortest round length that does.
func (s *shrinker) shorten(i int) {
	length := s.best.plan.scenario.Events[i].Length
	for _, d := range round {
		if d >= length || s.change(i, func(e *Event) { e.setLength(d) }) {
			break
		}
	}
	for _, unit := range []time.Duration{time.Minute, 10 * time.Second, time.Second} { // nothing much shorter did
		length := s.best.plan.scenario.Events[i].Length
		if length%unit == 0 || length > unit && s.change(i, func(e *Event) { e.setLength(length.Truncate(unit)) }) {
			return
		}
	}
}

// setLength changes the length, and with it a ramp or flapping that no longer fits.
func (e *Event) setLength(d time.Duration) {
	e.Length = d
	e.RampUp = min(e.RampUp, d)
	if e.FlapOn >= d {
		e.FlapOn, e.FlapOff = 0, 0
	}
}

// soften takes the least strength that does.
func (s *shrinker) soften(i int) {
	if !s.best.plan.scenario.Events[i].Fault.Degree() {
		return
	}
	for _, share := range []float64{0.1, 0.25, 0.5, 0.75} {
		if share >= s.best.plan.scenario.Events[i].Fault.Share || s.change(i, func(e *Event) { e.Fault.Share = share }) {
			break
		}
	}
	for _, d := range append([]time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond}, round...) {
		delay := s.best.plan.scenario.Events[i].Fault.Delay
		if d >= delay.Abs() {
			break
		}
		if delay < 0 { // a clock that is slow
			d = -d
		}
		if s.change(i, func(e *Event) { e.Fault.Delay = d }) {
			break
		}
	}
	s.change(i, func(e *Event) { e.Fault.Jitter = 0 })
}

// together moves the whole timeline to an early, round beginning, but not before it is known what is normal.
func (s *shrinker) together() {
	events := slices.DeleteFunc(s.plan().scenario.Events, Event.waits)
	if len(events) == 0 {
		return
	}
	first := slices.MinFunc(events, func(a, b Event) int { return int(a.Start - b.Start) }).Start
	for _, to := range round {
		if to >= first {
			return
		}
		if to < s.e.config.warmUp() {
			continue
		}
		p := s.plan()
		for i := range p.scenario.Events {
			if !p.scenario.Events[i].waits() {
				p.scenario.Events[i].Start -= first - to
			}
		}
		if s.better(p) {
			return
		}
	}
}

// rounder moves one event to a round time nearby.
func (s *shrinker) rounder(i int) {
	if s.best.plan.scenario.Events[i].waits() {
		return
	}
	start := s.best.plan.scenario.Events[i].Start
	for _, unit := range []time.Duration{time.Minute, 30 * time.Second, 10 * time.Second, 5 * time.Second, time.Second} {
		if start%unit == 0 {
			return
		}
		for _, to := range []time.Duration{start.Truncate(unit), start.Truncate(unit) + unit} {
			if to >= s.e.config.warmUp() && s.change(i, func(e *Event) { e.Start = to }) {
				return
			}
		}
	}
}

// waits reports whether an event has no time of its own.
func (e Event) waits() bool { return e.Cond != nil }

// healEarlier ends the safety phase when the last fault is over.
func (s *shrinker) healEarlier() {
	if slices.ContainsFunc(s.best.plan.scenario.Events, Event.waits) {
		return // nobody knows when they are over
	}
	var last time.Duration
	for _, e := range s.best.plan.scenario.Events {
		last = max(last, e.end())
	}
	for _, unit := range []time.Duration{10 * time.Second, time.Minute} {
		p := s.plan()
		p.heal = (last + unit - 1).Truncate(unit)
		if p.heal < s.best.plan.heal && s.better(p) {
			return
		}
	}
}
