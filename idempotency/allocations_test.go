package idempotency_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/holdfast-go/holdfast/idempotency"
)

// inMemoryRegions returns a store over two Regions in this process, and the two.
func inMemoryRegions(t *testing.T) (r *idempotency.Regional, east, west *idempotency.Memory) {
	t.Helper()
	east, west = newMemory(t, idempotency.MemoryConfig{}), newMemory(t, idempotency.MemoryConfig{})
	route := func() ([]string, string) { return []string{"east", "west"}, "east" }
	r, err := idempotency.NewRegional(route, map[string]idempotency.Store{"east": east, "west": west}, idempotency.RegionalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return r, east, west
}

// What a call with a new key takes where its stores need no network: itself, a context that can be cancelled (two), and what the stores grow by, which make
// room for several records at once. A result is an envelope more, a detached call its goroutine's start and the channel that it ends, unless the guard
// runs and has a goroutine.
func TestAllocationsOfNewCalls(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	store, _, _ := inMemoryRegions(t)
	g := newGuard(t, store, idempotency.Config{})
	detached := g.With(idempotency.Terms{MaxRun: 1 << 40})
	ctx := t.Context()
	keys := make([]string, 4000)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	var runs sync.Once // not before the calls that are to have a goroutine of their own
	once := func(context.Context) error { return nil }
	do := func(context.Context) (int, error) { return 0, nil }
	for _, tt := range []struct {
		name string
		call func(key string) error
		most float64
	}{
		{"Once", func(key string) error { return g.Once(ctx, "once/"+key, once) }, 7},
		{"Do", func(key string) error { _, err := idempotency.Do(ctx, g, idempotency.Key{ID: key}, do); return err }, 7},
		{"Do, detached", func(key string) error {
			_, err := idempotency.Do(ctx, detached, idempotency.Key{Op: "detached", ID: key}, do)
			return err
		}, 9},
		{"Do, detached, while the guard runs", func(key string) error {
			runs.Do(func() { go func() { _ = g.Run(ctx) }(); awaitRun(t, detached) })
			_, err := idempotency.Do(ctx, detached, idempotency.Key{Op: "run", ID: key}, do)
			return err
		}, 7},
	} {
		next := 0
		got := testing.AllocsPerRun(1000, func() {
			if err := tt.call(keys[next]); err != nil {
				t.Fatal(err)
			}
			next++
		})
		if got > tt.most {
			t.Errorf("%s allocates %v times, want at most %v", tt.name, got, tt.most)
		}
	}
}

// awaitRun returns when detached functions follow each other on one goroutine.
func awaitRun(t *testing.T, detached *idempotency.Guard) {
	for before := ""; ; {
		now, err := idempotency.Do(t.Context(), detached, idempotency.Key{ID: idempotency.NewID()}, func(context.Context) (string, error) { return goroutine(), nil })
		if err != nil {
			t.Fatal(err)
		}
		if now == before {
			return
		}
		before = now
	}
}
