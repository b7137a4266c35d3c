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
	latest time.Duration // by when an event that waits for its condition must be over; 0 = whenever
	late   bool          // it cannot be
	fails  int
	done   func()          // lets Wait go on
	ctx    context.Context // ends with the World, or when it is healed
	over   chan struct{}   // closed when the event is over
}

// Play starts a scenario now and returns at once. The test stops if the scenario is invalid, overlaps one
// that is being played, or names a Region, host, store or process the World does not have; a World in real time
// panics. Use [World.Schedule] where that is not known beforehand.
func (w *World) Play(s Scenario) {
	w.helper()
	if err := w.Schedule(s); err != nil {
		w.host.refuse(err)
	}
}

// Fits returns a [*ScenarioError] if the scenario is invalid or names what the World does not have.
func (w *World) Fits(s Scenario) error {
	if err := s.Validate(); err != nil {
		return err
	}
	for i, e := range s.Events {
		if field, reason := w.missing(e.Fault); reason != "" {
			return &ScenarioError{s.Name, i, "fault." + field, reason}
		}
	}
	return nil
}

// Schedule is [World.Play] for those who handle the error: a [*ScenarioError].
func (w *World) Schedule(s Scenario) error {
	if err := w.Fits(s); err != nil {
		return err
	}
	base := nextPhase(w.now(), 0) // so that every event keeps to its lane, whoever called
	var all []*played
	for i, e := range s.Events {
		p := &played{Event: e, index: i, base: base, phase: w.phase()}
		if e.Cond != nil {
			p.wanted, p.latest = make(chan struct{}), w.latest(e)
		}
		all = append(all, p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return &ScenarioError{s.Name, -1, "", errEnded.Error()}
	}
	for _, p := range all {
		if w.busyLocked(p.Event, base) {
			return &ScenarioError{s.Name, p.index, "at", "overlaps a fault that is there or is being played, on the same target: " + p.Fault.Target()}
		}
	}
	w.resumeLocked()
	w.scenarios = append(w.scenarios, s)
	w.timeline = append(w.timeline, all...)
	for _, p := range all {
		w.playing.Add(1)
		p.done, p.ctx, p.over = sync.OnceFunc(w.playing.Done), w.playCtx, make(chan struct{})
		w.tasks.Go(func() {
			defer p.done()
			defer close(p.over)
			w.play(p)
		})
	}
	return nil
}

// busyLocked reports whether an event that starts at base would meet another on its target.
func (w *World) busyLocked(e Event, base time.Duration) bool {
	for _, old := range w.timeline {
		if e.overlaps(old.Event, base, old.base) {
			return true
		}
	}
	for in := range w.injected {
		if e.overlaps(in.Event, base, 0) {
			return true
		}
	}
	return false
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
	check("zone", f.Zone, w.regions[f.Region+"/"+f.Zone] != nil)
	check("host", f.Host, w.hosts[f.Host] || f.Kind == fault.KindDNS && w.net.Named(f.Host))
	check("store", f.Store, w.stores[f.Store] != nil || w.replicas[f.Store] != nil)
	check("process", f.Process, w.processes[f.Process] != nil)
	if s := w.stores[f.Store]; s != nil && s.upstream() == nil {
		return "store", fmt.Sprintf("%q is not a replica", f.Store)
	}
	if reason == "" {
		return w.unableLocked(f)
	}
	return field, reason
}

// unableLocked says why a target that exists cannot have a fault.
func (w *World) unableLocked(f fault.Fault) (field, reason string) {
	if f.Kind != fault.KindDNS && f.Kind != fault.KindFlagStoreDown && w.attached[f.Host] != "" {
		return "host", fmt.Sprintf("%q is attached: its answers pass as bytes. Put a reverse proxy before it with Region.Serve", f.Host)
	}
	switch f.Kind {
	case fault.KindTLS:
		if e := w.endpoints[f.Host+":443"]; e == nil {
			return "host", fmt.Sprintf("%q does not speak TLS: use Region.ServeTLS", f.Host)
		}
	case fault.KindDuplicate, fault.KindPoison:
		h := w.handlerLocked(f.Host)
		if h == nil {
			return "host", fmt.Sprintf("%q does not speak HTTP: nothing arrives there that could be repeated", f.Host)
		}
		if r, ok := h.(Repeater); ok {
			if err := r.Repeats(f); err != nil {
				return "host", err.Error()
			}
		}
	case fault.KindControlPlaneDown:
		for _, e := range w.endpoints {
			if _, ok := e.handler.(ControlPlaner); ok && e.region.within(f.Region) {
				return "", ""
			}
		}
		return "region", fmt.Sprintf("%q has no control plane: no handler in it is a ControlPlaner", f.Region)
	}
	return "", ""
}

// play waits for an event and makes it happen.
func (w *World) play(p *played) {
	if p.wanted != nil {
		select {
		case <-p.wanted:
			w.rebase(p)
			if p.late {
				w.never(p, "its condition came true too late")
				return
			}
		case <-w.quietNow(): // the loads are over: it can no longer come true
			w.rebase(p)
			w.never(p, "its condition did not come true")
			return
		case <-p.ctx.Done():
			return
		}
	}
	if !w.sleepUntil(p.ctx, p.base+p.Start+p.phase) {
		return
	}
	w.stimulus("event", p.index)
	number := w.faultStarts(p.index, p.Fault)
	w.unfold(p)
	w.history.FaultEnds(number, w.now())
	w.aftermath(p)
}

// rebase lets an event begin in its own offset from now on, whoever caused it.
func (w *World) rebase(p *played) {
	p.base = w.now() - p.phase
	p.base -= p.base % simnet.Grain
	p.base += simnet.Grain
}

// never notes that an event did not happen.
func (w *World) never(p *played, why string) {
	if !w.sleepUntil(p.ctx, p.base+p.phase) {
		return
	}
	w.history.AddMark(history.Mark{Kind: history.MarkScenario, Name: fmt.Sprintf("events[%d]", p.index), Text: "never happened, " + why + ": " + p.Fault.String(), At: w.now()})
}

// aftermath lets a zone that is back show the symptoms of its recovery.
func (w *World) aftermath(p *played) {
	f, ok := p.Fault.Symptoms()
	if !ok || p.ctx.Err() != nil {
		return
	}
	number := w.faultStarts(p.index, f)
	defer func() { w.history.FaultEnds(number, w.now()) }()
	defer w.inject(p.index, f)()
	w.sleepUntil(p.ctx, p.base+p.phase+p.end())
}

func (w *World) faultStarts(index int, f fault.Fault) int {
	return w.history.FaultStarts(history.Fault{Event: index, Text: f.String(), Kind: string(f.Kind), Target: f.Target(), From: w.now()})
}

// unfold lets the fault of an event act for its length.
func (w *World) unfold(p *played) {
	ctx := p.ctx
	end := p.base + p.phase + p.Start + p.Length
	switch {
	case p.FlapOn > 0:
		for at := p.base + p.phase + p.Start; at < end; at += p.FlapOn + p.FlapOff {
			undo := w.begin(p.index, p.Fault)
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
		defer w.begin(p.index, p.Fault)()
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
func (w *World) ramp(p *played) (end func()) {
	start := p.base + p.phase + p.Start
	told, err := w.tell(p.Fault)
	if err != nil {
		w.refused(p.Fault, err)
		return func() {}
	}
	undo := func() {}
	for i := 1; i <= rampSteps; i++ {
		next := w.inject(p.index, p.Fault.At(float64(i)/rampSteps))
		undo()
		undo = next
		if !w.sleepUntil(p.ctx, start+p.RampUp*time.Duration(i)/rampSteps) {
			break
		}
	}
	return func() { undo(); told() }
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
// mistake. In real time there are no lanes.
func (w *World) stimulus(source string, n int) {
	if !w.host.real() && !w.history.Occur(w.now(), source, n, 0) {
		w.host.fail("drtest: %s %d falls into the nanosecond of another event, at %v: the order is not fixed by the seed", source, n, w.now())
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
		from := w.now() + p.Start
		end := from + max(p.Length, p.RampUp)
		if p.late = p.latest > 0 && end+p.Fault.Recovery >= p.latest; !p.late {
			w.edges = append(w.edges, edge{from, end})
		}
		close(p.wanted)
	}
}

// Mark records a moment for the timeline and for conditions. The kinds [history.MarkDetected],
// [history.MarkDecided] and [history.MarkSwitched] end a phase of the RTO; who is a Region, a process or what
// else acted.
func (w *World) Mark(kind, who, text string) {
	w.history.AddMark(history.Mark{Kind: kind, Name: who, Text: text, At: w.now()})
	w.notice(kind, who)
}
