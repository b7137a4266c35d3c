package drtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A played event is one that was given to a World.
type played struct {
	Event
	index  int
	base   time.Duration
	phase  time.Duration
	wanted chan struct{} // closed when the condition is true; nil if there is none
	fails  int
	done   func() // lets Wait go on
}

// Play starts a scenario now and returns at once. The test stops if the scenario is invalid, overlaps one
// that is being played, or names a Region, host, store or process the World does not have.
func (w *World) Play(s Scenario) {
	w.t.Helper()
	if err := w.admit(s); err != nil {
		w.t.Fatal(err)
	}
}

// admit checks a scenario against the World and starts it.
func (w *World) admit(s Scenario) error {
	if err := s.Validate(); err != nil {
		return err
	}
	base := nextPhase(w.now(), 0) // so that every event keeps to its lane, whoever called
	var all []*played
	for i, e := range s.Events {
		if field, reason := w.missing(e.Fault); reason != "" {
			return &ScenarioError{s.Name, i, "fault." + field, reason}
		}
		p := &played{Event: e, index: i, base: base, phase: w.phase()}
		if e.Cond != nil {
			p.wanted = make(chan struct{})
		}
		all = append(all, p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range all {
		for _, old := range w.timeline {
			if p.overlaps(old.Event, base, old.base) {
				return &ScenarioError{s.Name, p.index, "at", "overlaps a scenario that is being played on the same target: " + p.Fault.Target()}
			}
		}
	}
	w.resumeLocked()
	w.scenarios = append(w.scenarios, s)
	w.timeline = append(w.timeline, all...)
	for _, p := range all {
		w.playing.Add(1)
		p.done = sync.OnceFunc(w.playing.Done)
		w.tasks.Go(func() {
			defer p.done()
			w.play(p)
		})
	}
	return nil
}

// missing names the target a World does not have.
func (w *World) missing(f fault.Fault) (field, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	check := func(name, value string, known bool) {
		if value != "" && !known && reason == "" {
			field, reason = name, fmt.Sprintf("the World has no such %s: %q", name, value)
		}
	}
	check("region", f.Region, w.regions[f.Region] != nil)
	if f.To != fault.Others {
		check("to", f.To, w.regions[f.To] != nil)
	}
	check("host", f.Host, w.hosts[f.Host])
	check("store", f.Store, w.stores[f.Store] != nil)
	check("process", f.Process, w.processes[f.Process] != nil)
	if s := w.stores[f.Store]; s != nil && s.upstream() == nil {
		return "store", fmt.Sprintf("%q is not a replica", f.Store)
	}
	return field, reason
}

// play waits for an event and makes it happen.
func (w *World) play(p *played) {
	if p.wanted != nil {
		select {
		case <-p.wanted:
			p.base = w.now() - p.phase
			p.base -= p.base % simnet.Grain // this event's own offset, whoever caused it
			p.base += simnet.Grain
		case <-w.quietNow(): // the loads are over: it can no longer come true
			w.history.AddMark(history.Mark{Kind: history.MarkScenario, Name: fmt.Sprintf("events[%d]", p.index), Text: "never happened, its condition did not come true: " + p.Fault.String(), At: w.now()})
			return
		case <-w.ctx.Done():
			return
		}
	}
	if !w.sleepUntil(w.ctx, p.base+p.Start+p.phase) {
		return
	}
	w.stimulus("event", p.index)
	number := w.history.FaultStarts(history.Fault{
		Event: p.index, Text: p.Fault.String(), Kind: string(p.Fault.Kind), Target: p.Fault.Target(), From: w.now(),
	})
	w.unfold(p)
	w.history.FaultEnds(number, w.now())
}

// unfold lets the fault of an event act for its length.
func (w *World) unfold(p *played) {
	ctx := w.ctx
	end := p.base + p.phase + p.Start + p.Length
	switch {
	case p.FlapOn > 0:
		for at := p.base + p.phase + p.Start; at < end; at += p.FlapOn + p.FlapOff {
			undo := w.inject(p.index, p.Fault)
			w.sleepUntil(ctx, min(at+p.FlapOn, end))
			undo()
			if !w.sleepUntil(ctx, min(at+p.FlapOn+p.FlapOff, end)) {
				return
			}
		}
		return
	case p.RampUp > 0:
		defer w.ramp(p)()
	default:
		defer w.inject(p.index, p.Fault)()
	}
	if p.Length > 0 {
		w.sleepUntil(ctx, end)
		return
	}
	if p.Fault.Kind == fault.KindCrash {
		return
	}
	p.done()
	<-ctx.Done()
}

// rampSteps is in how many steps a fault grows.
const rampSteps = 10

// ramp brings a fault to its strength step by step and returns what takes it away.
func (w *World) ramp(p *played) (undo func()) {
	start := p.base + p.phase + p.Start
	undo = func() {}
	for i := 1; i <= rampSteps; i++ {
		next := w.inject(p.index, p.Fault.At(float64(i)/rampSteps))
		undo()
		undo = next
		if !w.sleepUntil(w.ctx, start+p.RampUp*time.Duration(i)/rampSteps) {
			break
		}
	}
	return undo
}

// sleepUntil waits for an instant of the World; false if ctx ended first.
func (w *World) sleepUntil(ctx context.Context, at time.Duration) bool {
	d := at - w.now()
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stimulus notes that the simulation itself acts now. Its sources have offsets of their own, so a tie is a
// mistake.
func (w *World) stimulus(source string, n int) {
	if !w.history.Occur(w.now(), source, n, 0) {
		w.run.fail("drtest: %s %d falls into the nanosecond of another event, at %v: the order is not fixed by the seed", source, n, w.now())
	}
}

// notice lets conditions see a mark.
func (w *World) notice(kind, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.timeline {
		if p.wanted != nil && p.Cond.Mark == kind && (p.Cond.Name == "" || p.Cond.Name == name) {
			w.fulfilLocked(p)
		}
	}
}

// noticeFailure lets conditions see an operation that did not succeed.
func (w *World) noticeFailure() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.timeline {
		if p.wanted == nil || p.Cond.Fails == 0 {
			continue
		}
		if p.fails++; p.fails == p.Cond.Fails {
			w.fulfilLocked(p)
		}
	}
}

func (w *World) fulfilLocked(p *played) {
	select {
	case <-p.wanted:
	default:
		close(p.wanted)
		from := w.now() + p.Start
		w.edges = append(w.edges, edge{from, from + max(p.Length, p.RampUp)})
	}
}

// Mark records a moment for the timeline and for conditions. The kinds [history.MarkDetected],
// [history.MarkDecided] and [history.MarkSwitched] end a phase of the RTO; who is a Region, a process or what
// else acted.
func (w *World) Mark(kind, who, text string) {
	w.history.AddMark(history.Mark{Kind: kind, Name: who, Text: text, At: w.now()})
	w.notice(kind, who)
}
