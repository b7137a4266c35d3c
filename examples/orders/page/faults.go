package page

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Faults keeps what its buttons broke, for [State.Faults]. The zero value is ready to use; all methods are safe for
// concurrent use.
type Faults struct {
	mu     sync.Mutex // guards active; nothing is injected or undone under it
	active []injected
}

// An injected is a fault and its end.
type injected struct {
	Fault
	undo func()
}

// Action makes a of a button that breaks something and, pressed again, heals it: it sets Fault, Do and Undo. inject breaks
// it and returns what heals it, as drtest.World.Inject does; it has the time that [Action.Do] has.
func (f *Faults) Action(a Action, inject func(context.Context) (undo func(), err error)) Action {
	a.Fault = a.ID
	a.Do = func(ctx context.Context, a Action, _ string) error {
		undo, err := inject(ctx)
		if err != nil {
			return err
		}
		return f.add(injected{Fault{a.ID, join(": ", a.Group, a.Label), a.Region, time.Now().UTC()}, undo})
	}
	a.Undo = func(context.Context, Action, string) error {
		f.heal(func(i injected) bool { return i.ID == a.ID })
		return nil
	}
	return a
}

// add remembers i, unless it is there: a Heal that ran meanwhile could have made room for a second one.
func (f *Faults) add(i injected) error {
	f.mu.Lock()
	twice := slices.ContainsFunc(f.active, func(other injected) bool { return other.ID == i.ID })
	if !twice {
		f.active = append(f.active, i)
	}
	f.mu.Unlock()
	if twice {
		i.undo()
		return fmt.Errorf("page: the fault %q is active already", i.ID)
	}
	return nil
}

// Active returns the faults that are active, the oldest first.
func (f *Faults) Active() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var active []Fault
	for _, i := range f.active {
		active = append(active, i.Fault)
	}
	return active
}

// Heal ends all of them.
func (f *Faults) Heal() { f.heal(func(injected) bool { return true }) }

// heal ends those that match, the newest first.
func (f *Faults) heal(match func(injected) bool) {
	f.mu.Lock()
	var undo []func()
	f.active = slices.DeleteFunc(f.active, func(i injected) bool {
		if match(i) {
			undo = append(undo, i.undo)
			return true
		}
		return false
	})
	f.mu.Unlock()
	for _, u := range slices.Backward(undo) {
		u()
	}
}
