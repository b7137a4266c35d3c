package idempotency_test

import (
	"context"
	"strconv"
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

// What a call with a new key takes where its stores need no network: itself, a context that can be cancelled (two), the record in each store, and
// what the maps grow by. A result is an envelope more, a detached call its goroutine's start and the channel that it ends.
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
	once := func(context.Context) error { return nil }
	do := func(context.Context) (int, error) { return 0, nil }
	for _, tt := range []struct {
		name string
		call func(key string) error
		most float64
	}{
		{"Once", func(key string) error { return g.Once(ctx, "once/"+key, once) }, 8},
		{"Do", func(key string) error { _, err := idempotency.Do(ctx, g, idempotency.Key{ID: key}, do); return err }, 9},
		{"Do, detached", func(key string) error {
			_, err := idempotency.Do(ctx, detached, idempotency.Key{Op: "detached", ID: key}, do)
			return err
		}, 11},
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
