package runbook

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errNo = errors.New("no")

// no is a Do without effect.
func no(context.Context) error { return errNo }

func TestUndoLeavesAloneWhatWasThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		w.effects["there already"] = true
		failing := w.step("failing", "there already", "ours")
		failing.Do = no
		r := must(t, "book", w.step("there already"), w.step("ours"), failing)
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); !errors.Is(err, errNo) {
			t.Fatal(err)
		}
		rep, err := r.Undo(t.Context(), "run", Config{Journal: j, By: "ann"})
		if err != nil || !w.effects["there already"] || w.effects["ours"] || rep.Outcome != "undone" {
			t.Errorf("Undo = %v, effects %v, outcome %s; want what was there before alone", err, w.effects, rep.Outcome)
		}
	})
}

func TestUndoWithNothingToTakeBackEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		s := w.step("a")
		s.Check = func(context.Context) (State, error) { return StateBlocked, nil }
		r := must(t, "book", s)
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); !errors.Is(err, ErrBlocked) {
			t.Fatal(err)
		}
		rep, err := r.Undo(t.Context(), "run", Config{Journal: j, By: "ann"})
		if err != nil || rep.Outcome != "undone" {
			t.Errorf("Undo = %v, outcome %s, want undone", err, rep.Outcome)
		}
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); !errors.Is(err, ErrRefused) {
			t.Errorf("Run of an undone run = %v, want ErrRefused", err)
		}
	})
}

// Do gets half way and fails, Verify sees nothing of it: its Undo clears the half.
func TestUndoClearsWhatAFailedDoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		half := false
		s := Step{
			Name: "restore", Check: func(context.Context) (State, error) { return StateNeeded, nil },
			Do:   func(context.Context) error { half = true; return errNo },
			Undo: func(context.Context) error { half = false; return nil },
		}
		r := must(t, "book", s).UndoOnFailure()
		rep, err := r.Run(t.Context(), "run", Config{Journal: NewMemoryJournal(), By: "ann"})
		if !errors.Is(err, errNo) || half || rep.Outcome != "undone" {
			t.Errorf("Run = %v, half of it left %t, outcome %s", err, half, rep.Outcome)
		}
	})
}

// The run is paused while a Do is under way. Its effect must not come after its Undo.
func TestUndoWaitsForADoUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		var onItsWay atomic.Bool
		s := w.step("promote")
		s.Timeout = time.Hour
		s.Do = func(context.Context) error {
			onItsWay.Store(true)
			time.AfterFunc(10*time.Minute, func() { w.apply("promote"); onItsWay.Store(false) })
			return nil
		}
		s.Verify = func(context.Context) (State, error) {
			if onItsWay.Load() {
				return StateBlocked, nil
			}
			return w.look("promote")
		}
		r := must(t, "book", s)
		result := started(t, r, Config{Journal: j, By: "ann"})
		if _, err := r.Undo(t.Context(), "run", Config{Journal: j, By: "bob"}); !errors.Is(err, ErrRefused) {
			t.Errorf("Undo of a run at work = %v, want ErrRefused", err)
		}
		if err := Pause(t.Context(), j, "run", "bob", "stop"); err != nil {
			t.Fatal(err)
		}
		_, err := r.Undo(t.Context(), "run", Config{Journal: j, By: "bob"})
		if err != nil {
			t.Errorf("Undo = %v, want nil", err)
		}
		if err := <-result; !errors.Is(err, ErrFenced) {
			t.Errorf("Run = %v, want ErrFenced", err)
		}
		time.Sleep(time.Hour)
		if w.effects["promote"] || onItsWay.Load() {
			t.Error("the effect came after its Undo")
		}
	})
}

// A runner that was replaced must not undo under the newer one.
func TestAFencedRunnerUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		wait := Step{
			Name: "wait", Timeout: time.Hour, Needs: []string{"a"},
			Check:  func(context.Context) (State, error) { return StateNeeded, nil },
			Verify: func(context.Context) (State, error) { return w.look("open") },
		}
		r := must(t, "book", w.step("a"), wait).UndoOnFailure()
		first := started(t, r, Config{Journal: j, By: "ann"})
		second := make(chan error, 1)
		go func() {
			_, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"})
			second <- err
		}()
		if err := <-first; !errors.Is(err, ErrFenced) {
			t.Errorf("first runner = %v, want ErrFenced", err)
		}
		w.apply("open")
		if err := <-second; err != nil || !w.effects["a"] {
			t.Errorf("second runner = %v, effects %v; want nil and nothing undone", err, w.effects)
		}
	})
}

// The undoer dies at every journal write and is started again.
func TestUndoSurvivesACrashAtEveryWrite(t *testing.T) {
	for at := 1; ; at++ {
		crashed := false
		for _, stored := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w, base := newWorld(), NewMemoryJournal()
				failing := w.step("c", "b")
				failing.Do = no
				r := must(t, "book", w.step("a"), w.step("b", "a"), failing)
				if _, err := r.Run(t.Context(), "run", Config{Journal: base, By: "ann"}); !errors.Is(err, errNo) {
					t.Fatal(err)
				}
				ctx, kill := context.WithCancel(t.Context())
				c := &crasher{Journal: base, left: at, stored: stored, kill: kill}
				_, err := r.Undo(ctx, "run", Config{Journal: c, By: "ann"})
				kill()
				crashed = crashed || c.isDead()
				for range 3 {
					if err == nil || load(t, base).undone && len(load(t, base).done) == 0 {
						break
					}
					if load(t, base).token == 2 && !load(t, base).undone { // it died before it said what it was about to do
						if err := Pause(t.Context(), base, "run", "bob", "died"); err != nil {
							t.Fatal(err)
						}
					}
					_, err = r.Undo(t.Context(), "run", Config{Journal: base, By: "ann"})
				}
				if w.effects["a"] || w.effects["b"] {
					t.Errorf("crash at write %d (stored %t): %v left, Undo = %v", at, stored, w.effects, err)
				}
			})
		}
		if !crashed {
			break
		}
	}
}
