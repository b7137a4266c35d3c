package idempotency_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// One timer gives all calls their first heartbeat: none that runs long loses its key, however many begin and end around it.
func TestFirstHeartbeatsOfManyCalls(t *testing.T) {
	bubble(t, "of one guard", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{})
		g, other := newGuard(t, m, idempotency.Config{}), newGuard(t, m, idempotency.Config{})
		var wg sync.WaitGroup
		for i := range 60 {
			id := strconv.Itoa(i)
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 700 * time.Millisecond)
				err := g.Once(t.Context(), id, func(ctx context.Context) error {
					if i%3 != 0 {
						time.Sleep(time.Duration(i) * time.Millisecond)
						return nil
					}
					time.Sleep(3 * time.Minute)
					return ctx.Err()
				})
				if err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		time.Sleep(2*time.Minute + 30*time.Second)
		for i := 0; i < 60; i += 3 {
			err := other.Once(t.Context(), strconv.Itoa(i), func(context.Context) error { return nil })
			if !errors.Is(err, idempotency.ErrInFlight) {
				t.Errorf("call %d again, while it runs = %v, want ErrInFlight", i, err)
			}
		}
		wg.Wait()
	})
}

// MaxRun ends a detached function at its time, whether that is before its first heartbeat or long after.
func TestMaxRunEndsOnTime(t *testing.T) {
	for _, maxRun := range []time.Duration{2 * time.Second, 7500 * time.Millisecond, 8 * time.Second, 10 * time.Minute} {
		bubble(t, maxRun.String(), func(t *testing.T) {
			g := newGuard(t, newMemory(t, idempotency.MemoryConfig{}), idempotency.Config{}).With(idempotency.Terms{MaxRun: maxRun})
			start := time.Now()
			err := g.Do(t.Context(), idempotency.Key{ID: "k"}, func(ctx context.Context) error {
				if deadline, ok := ctx.Deadline(); !ok || !deadline.Equal(start.Add(maxRun)) {
					t.Errorf("Deadline = %v, %v, want %v", deadline, ok, start.Add(maxRun))
				}
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				select {
				case <-child.Done():
				case <-time.After(2 * maxRun):
				}
				if cause := context.Cause(child); ctx.Err() != context.DeadlineExceeded || !errors.Is(cause, context.DeadlineExceeded) {
					t.Errorf("Err = %v, cause %v, want a deadline", ctx.Err(), cause)
				}
				return ctx.Err()
			})
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != maxRun {
				t.Errorf("Do = %v after %v, want the deadline after %v", err, took, maxRun)
			}
		})
	}
}

// Stores in one process die together, so a result needs no note while it is on its way to the copy. What the copy does not take is noted all the same.
func TestNotesOfRegionsInOneProcess(t *testing.T) {
	marks := func(m *idempotency.Memory) (n int) {
		for range m.Unsynced(t.Context()) { //nolint:errcheck // they are counted
			n++
		}
		return n
	}
	store, east, west := inMemoryRegions(t)
	g := newGuard(t, store, idempotency.Config{})
	if err := g.Once(t.Context(), "a", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if r, _ := west.Load(t.Context(), idempotency.Key{ID: "a"}); r.State != idempotency.StateDone || marks(east) != 0 {
		t.Errorf("the copy knows %v and home has %d notes, want done and none", r.State, marks(east))
	}
	_ = g.Once(t.Context(), "b", func(ctx context.Context) error {
		later, _ := west.Begin(ctx, idempotency.Claim{Key: idempotency.Key{ID: "b"}, Owner: idempotency.Owner{1}, Epoch: 9, Lease: time.Minute, Retention: time.Hour, TakeAbandoned: true})
		if later.Status != idempotency.StatusGranted {
			t.Errorf("a claim of a later epoch = %v", later.Status)
		}
		return nil
	})
	if marks(east) != 1 {
		t.Errorf("%d notes of a result that the copy refused, want 1", marks(east))
	}
}
