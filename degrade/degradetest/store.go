// Package degradetest tests implementations of degrade's interfaces.
package degradetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
)

// A Store is a degrade.Store in memory, for the tests of services and of this package. The zero value is ready.
type Store struct {
	mu  sync.Mutex // guards set
	set degrade.OverrideSet
}

// LoadOverrides implements degrade.Store.
func (s *Store) LoadOverrides(context.Context) (degrade.OverrideSet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.set), nil
}

// SwapOverrides implements degrade.Store.
func (s *Store) SwapOverrides(_ context.Context, old uint64, next degrade.OverrideSet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set.Revision != old {
		return degrade.ErrConflict
	}
	s.set = clone(next)
	return nil
}

func clone(set degrade.OverrideSet) degrade.OverrideSet {
	set.Overrides = slices.Clone(set.Overrides)
	return set
}

// TestStore tests a degrade.Store. open returns an empty one, another each time; two values it returns for one name must be
// two ways to the same store, as two processes have.
func TestStore(t *testing.T, open func(t *testing.T, name string) degrade.Store) {
	t.Run("a new store is empty", func(t *testing.T) {
		if set, err := open(t, "empty").LoadOverrides(t.Context()); err != nil || set.Revision != 0 || len(set.Overrides) != 0 {
			t.Errorf("LoadOverrides = %+v, %v, want the zero set", set, err)
		}
	})
	t.Run("what one swaps in the other loads", func(t *testing.T) { testRoundTrip(t, open(t, "round"), open(t, "round")) })
	t.Run("a swap of another revision changes nothing", func(t *testing.T) { testConflict(t, open(t, "conflict")) })
	t.Run("of many at once one wins each round", func(t *testing.T) { testRace(t, open(t, "race"), open(t, "race")) })
	t.Run("large revisions keep their digits", func(t *testing.T) { testLargeRevision(t, open(t, "large")) })
}

func sample() degrade.Override {
	until := time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.UTC)
	return degrade.Override{
		ID: "0123456789abcdef", Feature: "checkout", Level: degrade.ReadOnly, Scope: degrade.ScopeRegion, Region: "eu-west-1",
		Reason: "ümlaut \" \\ \x00 end", By: "ana", Ticket: "OPS-1", Set: until.Add(-time.Hour), Until: &until, Maintenance: true,
	}
}

func testRoundTrip(t *testing.T, a, b degrade.Store) {
	want := sample()
	if err := a.SwapOverrides(t.Context(), 0, degrade.OverrideSet{Revision: 1, Overrides: []degrade.Override{want}}); err != nil {
		t.Fatalf("SwapOverrides = %v", err)
	}
	set, err := b.LoadOverrides(t.Context())
	if err != nil || set.Revision != 1 || len(set.Overrides) != 1 {
		t.Fatalf("LoadOverrides = %+v, %v, want what was swapped in", set, err)
	}
	got := set.Overrides[0]
	if !got.Until.Equal(*want.Until) || !got.Set.Equal(want.Set) {
		t.Errorf("times became %v and %v, want %v and %v", got.Set, got.Until, want.Set, want.Until)
	}
	got.Until, got.Set = want.Until, want.Set
	if got != want {
		t.Errorf("override became %+v, want %+v", got, want)
	}
	if err := b.SwapOverrides(t.Context(), 1, degrade.OverrideSet{Revision: 2}); err != nil {
		t.Fatalf("SwapOverrides to nothing = %v", err)
	}
	if set, err := a.LoadOverrides(t.Context()); err != nil || set.Revision != 2 || len(set.Overrides) != 0 {
		t.Errorf("LoadOverrides = %+v, %v, want none at revision 2", set, err)
	}
}

func testConflict(t *testing.T, s degrade.Store) {
	if err := s.SwapOverrides(t.Context(), 0, degrade.OverrideSet{Revision: 5}); err != nil {
		t.Fatal(err)
	}
	for _, old := range []uint64{0, 4, 6} {
		err := s.SwapOverrides(t.Context(), old, degrade.OverrideSet{Revision: 9, Overrides: []degrade.Override{sample()}})
		if !errors.Is(err, degrade.ErrConflict) {
			t.Errorf("SwapOverrides of revision %d at 5 = %v, want ErrConflict", old, err)
		}
	}
	if set, err := s.LoadOverrides(t.Context()); err != nil || set.Revision != 5 || len(set.Overrides) != 0 {
		t.Errorf("LoadOverrides = %+v, %v, want revision 5 unchanged", set, err)
	}
}

func testRace(t *testing.T, stores ...degrade.Store) {
	const swappers, rounds = 8, 5
	for round := range uint64(rounds) {
		var won sync.Map
		var wg sync.WaitGroup
		for i := range swappers {
			wg.Go(func() {
				err := stores[i%len(stores)].SwapOverrides(t.Context(), round, degrade.OverrideSet{Revision: round + 1})
				if err == nil {
					won.Store(i, true)
				} else if !errors.Is(err, degrade.ErrConflict) {
					t.Errorf("SwapOverrides = %v", err)
				}
			})
		}
		wg.Wait()
		n := 0
		won.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d of %d swaps of one revision succeeded, want 1", n, swappers)
		}
	}
}

func testLargeRevision(t *testing.T, s degrade.Store) {
	const large = 1<<63 + 1 // a float64 would round it
	if err := s.SwapOverrides(t.Context(), 0, degrade.OverrideSet{Revision: large}); err != nil {
		t.Fatal(err)
	}
	if set, err := s.LoadOverrides(t.Context()); err != nil || set.Revision != large {
		t.Errorf("LoadOverrides = %+v, %v, want revision %d", set, err, uint64(large))
	}
	if err := s.SwapOverrides(t.Context(), large-1, degrade.OverrideSet{Revision: large + 1}); !errors.Is(err, degrade.ErrConflict) {
		t.Errorf("SwapOverrides of the revision beside = %v, want ErrConflict", err)
	}
}
