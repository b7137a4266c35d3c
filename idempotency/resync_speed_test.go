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

// A Region 60 ms away gets 160 results in ten turns of 16: one round trip to ask whether it is there, one to list what it has
// itself, and one for each turn.
func TestResyncCopiesSixteenKeysAtATime(t *testing.T) {
	bubble(t, "160 keys", func(t *testing.T) {
		two, g := missed(t, 160)
		two.west.set(func(r *region) { r.down, r.delay = false, 60*time.Millisecond })
		start := time.Now()
		two.resync(t)
		if got, want := time.Since(start), 12*60*time.Millisecond; got != want {
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

// What a store refuses for good ends all copies, is the error, and leaves its note.
func TestResyncEndsAtTheFirstError(t *testing.T) {
	bubble(t, "the copy goes down half way", func(t *testing.T) {
		two, _ := missed(t, 100)
		two.west.set(func(r *region) { r.down, r.delay, r.after = false, 60*time.Millisecond, 40 })
		before := two.west.taken()
		if err := two.Resync(t.Context()); !errors.Is(err, errDown) || two.UnprotectedSince().IsZero() {
			t.Errorf("Resync = %v, unprotected since %v", err, two.UnprotectedSince())
		}
		if n := two.west.taken() - before; n > 40+2*16 {
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
