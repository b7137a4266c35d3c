package drtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// An injected fault is there until somebody takes it away.
type injected struct {
	Event
	ctx  context.Context // ends with the World, or when it is healed
	over chan struct{}   // closed when it was taken away
}

// Inject makes a fault act now, until undo is called or the World ends; further calls of undo do nothing. It may be
// called at any moment, also while a scenario is played. An error says which field is impossible, that the World has
// no such target, or that a fault is there or planned on the same target; then nothing has changed.
func (w *World) Inject(f fault.Fault) (undo func(), err error) {
	e := At(w.now(), f)
	if field, reason := e.problem(); reason != "" {
		return nil, fmt.Errorf("drtest: Inject: %s: %s", field, reason)
	}
	if field, reason := w.missing(f); reason != "" {
		return nil, fmt.Errorf("drtest: Inject: fault.%s: %s", field, reason)
	}
	in := &injected{Event: e, over: make(chan struct{})}
	if err := w.addInjected(in); err != nil {
		return nil, err
	}
	number := w.faultStarts(handMade, f)
	told, err := w.tell(f)
	if err != nil {
		w.history.FaultEnds(number, w.now())
		w.removeInjected(in)
		w.tasks.Done()
		return nil, fmt.Errorf("drtest: Inject: %s: %w", f, err)
	}
	end := w.inject(handMade, f)
	undo = sync.OnceFunc(func() {
		end()
		told()
		w.history.FaultEnds(number, w.now())
		w.removeInjected(in)
	})
	go func() {
		defer w.tasks.Done()
		select {
		case <-in.over:
		case <-in.ctx.Done():
			undo()
		}
	}()
	return undo, nil
}

// handMade is the index of a fault that belongs to no scenario.
const handMade = -1

func (w *World) addInjected(in *injected) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return fmt.Errorf("drtest: Inject: %w", errEnded)
	}
	if w.busyLocked(in.Event, 0) {
		return fmt.Errorf("drtest: Inject: a fault is there or planned on the same target: %s", in.Fault.Target())
	}
	w.injected[in] = true
	in.ctx = w.playCtx
	w.tasks.Add(1) // here, where the World has not ended
	w.edges = append(w.edges, edge{in.Start, in.Start})
	return nil
}

func (w *World) removeInjected(in *injected) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.injected, in)
	w.edges = append(w.edges, edge{w.now(), w.now()})
	close(in.over)
}

// OnFault registers what else is to happen when a fault begins: what the network of the World cannot do, as to
// freeze a server that is attached. It runs before the fault acts, on the goroutine that injects it, and may wait; an
// error keeps the fault from acting. The undo it returns, which may be nil, runs after the fault has ended. A fault
// that flaps begins each time, one that grows begins once. Faults that are there already are not told, nor are later
// ones after remove.
func (w *World) OnFault(f func(f fault.Fault) (undo func(), err error)) (remove func()) {
	one := &f
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onFault = append(w.onFault, one)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.onFault = slices.DeleteFunc(slices.Clone(w.onFault), func(x *func(fault.Fault) (func(), error)) bool { return x == one })
	}
}

// tell runs what was registered with OnFault.
func (w *World) tell(f fault.Fault) (undo func(), err error) {
	w.mu.Lock()
	all := slices.Clone(w.onFault)
	w.mu.Unlock()
	var undos []func()
	undo = func() {
		for _, u := range slices.Backward(undos) {
			u()
		}
	}
	for _, tell := range all {
		u, err := (*tell)(f)
		if err != nil {
			undo()
			return nil, err
		}
		if u != nil {
			undos = append(undos, u)
		}
	}
	return undo, nil
}

// begin makes a fault of a scenario act and returns what takes it away.
func (w *World) begin(index int, f fault.Fault) (undo func()) {
	told, err := w.tell(f)
	if err != nil {
		w.refused(f, err)
		return func() {}
	}
	end := w.inject(index, f)
	return func() {
		end()
		told()
	}
}

// refused notes that a fault could not act.
func (w *World) refused(f fault.Fault, err error) {
	w.history.AddMark(history.Mark{Kind: history.MarkScenario, Name: f.Target(), Text: "did not happen: " + err.Error(), At: w.now()})
	w.host.fail("drtest: fault %q did not happen: %v", f, err)
}

// Heal takes every fault away, drops what scenarios still have to come, and returns when that is done. Loads and
// processes go on, and so may new scenarios. The reason becomes a mark of the timeline. It must not be called by what
// [World.OnFault] registered.
func (w *World) Heal(reason string) {
	w.Mark(history.MarkScenario, "healed", reason)
	now := w.now()
	w.mu.Lock()
	w.playEnd()
	w.playCtx, w.playEnd = context.WithCancel(w.ctx)
	var over []chan struct{}
	for _, p := range w.timeline {
		over = append(over, p.over)
		if from := p.base + p.Start; p.wanted == nil && from < now {
			w.edges = append(w.edges, edge{from, min(now, max(p.base+p.end(), from))})
		}
	}
	for in := range w.injected {
		over = append(over, in.over)
	}
	w.timeline = nil
	w.mu.Unlock()
	for _, c := range over {
		<-c
	}
}

// Done returns a channel that is closed when the World ends.
func (w *World) Done() <-chan struct{} { return w.ctx.Done() }

// Regions returns the names of the Regions in the order in which they were made.
func (w *World) Regions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, r := range w.order {
		names = append(names, r.name)
	}
	return names
}

// Elapsed returns the time since the World began: the time in which its history is written.
func (w *World) Elapsed() time.Duration { return w.now() }
