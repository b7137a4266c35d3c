//go:build !race

// The race detector allocates and schedules in its own way: allocations and turns are counted without it.

package spool

import (
	"runtime"
	"sync"
	"testing"
)

// appendAll appends each messages from every writer.
func appendAll(t *testing.T, s *Spool, writers, each int) {
	o := message("a")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := s.Append(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestLeaderWaitsForWritersWhoComeBack counts fdatasyncs on a disk that takes no time and one processor: the writers of the
// last group have just been woken when the next leader could write, and are in its group all the same.
func TestLeaderWaitsForWritersWhoComeBack(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const writers, each = 64, 50
	s, err := open(newFaultFS(1), "/s", config(), noUnlock)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, writers, each)
	if syncs := s.Stats().Syncs; syncs > each*5/4 {
		t.Errorf("%d fdatasyncs for %d rounds of %d writers, want one a round", syncs, each, writers)
	} else {
		t.Logf("%d fdatasyncs for %d rounds of %d writers", syncs, each, writers)
	}
}

// TestAppendAllocations: an Append of many has its share of what a group allocates, and no memory of its own.
func TestAppendAllocations(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Config{})
	defer s.Close()
	const writers, each = 64, 20
	allocs := testing.AllocsPerRun(5, func() { appendAll(t, s, writers, each) })
	if got := allocs / (writers * each); got > 0.5 {
		t.Errorf("Append allocates %.2f times, want at most 0.5", got)
	} else {
		t.Logf("Append allocates %.2f times", got)
	}
}
