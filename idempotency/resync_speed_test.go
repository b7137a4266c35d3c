package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// missed returns two Regions, n results of which west has missed.
func missed(t *testing.T, n int) (*twoRegions, *idempotency.Guard) {
	t.Helper()
	two := newTwoRegions(t)
	g := newGuard(t, two.Regional, idempotency.Config{})
	two.west.setDown(true)
	for i := range n {
		_ = g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { return nil })
	}
	return two, g
}

// A Region 60 ms away gets 160 results in five turns of 32: one round trip to ask whether it is there, one to list what it has
// itself, and one for each turn.
func TestResyncCopiesManyKeysAtATime(t *testing.T) {
	bubble(t, "160 keys", func(t *testing.T) {
		two, g := missed(t, 160)
		two.west.set(func(r *region) { r.down, r.delay = false, 60*time.Millisecond })
		start := time.Now()
		two.resync(t)
		if got, want := time.Since(start), 7*60*time.Millisecond; got != want {
			t.Errorf("Resync took %v, want %v", got, want)
		}
		if marks := two.east.marks(t); len(marks) != 0 {
			t.Errorf("%d keys are still noted as missed", len(marks))
		}
		two.failover("west")
		for i := range 160 {
			if err := g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { t.Errorf("call %d ran again", i); return nil }); err != nil {
				t.Fatalf("call %d = %v", i, err)
			}
		}
	})
}

// What a store refuses twice ends all copies, is the error, and leaves its note.
func TestResyncEndsAtTheFirstError(t *testing.T) {
	bubble(t, "the copy goes down half way", func(t *testing.T) {
		two, _ := missed(t, 100)
		two.west.set(func(r *region) { r.down, r.delay, r.after = false, 60*time.Millisecond, 40 })
		before := two.west.taken()
		if err := two.Resync(t.Context()); !errors.Is(err, errDown) || two.UnprotectedSince().IsZero() {
			t.Errorf("Resync = %v, unprotected since %v", err, two.UnprotectedSince())
		}
		if n := two.west.taken() - before; n > 40+2*32 {
			t.Errorf("%d steps at a peer that went down at the 40th", n)
		}
		if marks := two.east.marks(t); len(marks) != 62 {
			t.Errorf("%d keys are noted as missed, want 62: 38 of 40 steps were copies that arrived", len(marks))
		}
		two.west.setDown(false)
		two.resync(t)
		if !two.UnprotectedSince().IsZero() || len(two.east.marks(t)) != 0 {
			t.Errorf("unprotected since %v with everything copied", two.UnprotectedSince())
		}
	})
	bubble(t, "the caller goes", func(t *testing.T) {
		two, _ := missed(t, 100)
		two.west.set(func(r *region) { r.down, r.delay = false, 60*time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		if err := two.Resync(ctx); !errors.Is(err, context.DeadlineExceeded) || two.UnprotectedSince().IsZero() {
			t.Errorf("Resync = %v, unprotected since %v", err, two.UnprotectedSince())
		}
	})
}

// A store that is slower than it has ever been, on a machine under load, is one that calls no longer wait for. Resync does, and what it measures
// lets calls wait again.
func TestResyncWaitsForASlowCopy(t *testing.T) {
	bubble(t, "250 ms where 20 ms were patience", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		for i := range 200 { // the copy takes no time, and calls get used to it
			_ = g.Do(t.Context(), key(fmt.Sprint("before", i)), func(context.Context) error { return nil })
		}
		two.west.set(func(r *region) { r.delay = 80 * time.Millisecond })
		for i := range 40 {
			_ = g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil })
		}
		if two.UnprotectedSince().IsZero() {
			t.Fatal("calls waited 80 ms for a copy that used to take none")
		}
		two.resync(t)
		if marks := two.east.marks(t); len(marks) != 0 || !two.UnprotectedSince().IsZero() {
			t.Errorf("%d keys are still noted as missed, unprotected since %v", len(marks), two.UnprotectedSince())
		}
		_ = g.Do(t.Context(), key("after"), func(context.Context) error { return nil })
		if !two.UnprotectedSince().IsZero() {
			t.Error("calls do not wait for the copy that Resync has measured")
		}
	})
}

// A kept connection that broke in an outage fails once. That must not end the copy of a hundred keys.
func TestResyncTriesAKeyTwice(t *testing.T) {
	bubble(t, "the first request and the first of each copy fail", func(t *testing.T) {
		two, _ := missed(t, 100)
		asked := two.west.taken()
		two.west.set(func(r *region) {
			r.down, r.delay = false, 60*time.Millisecond // so that 32 copies begin at one instant
			r.breaks = func(step int) bool { step -= asked; return step == 1 || step > 2 && step <= 2+32 }
		})
		two.resync(t)
		if marks := two.east.marks(t); len(marks) != 0 {
			t.Errorf("%d keys are still noted as missed", len(marks))
		}
	})
}
