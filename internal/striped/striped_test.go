package striped

import (
	"sync"
	"testing"
)

func TestCounterSumsAllGoroutines(t *testing.T) {
	var c Counter
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				c.Add(2)
				c.Add(-1)
			}
		})
	}
	wg.Wait()
	if got, want := c.Load(), int64(16000); got != want {
		t.Errorf("Load() = %d, want %d", got, want)
	}
}

func TestIndexSpreadsGoroutines(t *testing.T) {
	var mu sync.Mutex
	seen := map[uintptr]int{}
	var ready, wg sync.WaitGroup
	ready.Add(64)
	for range 64 {
		wg.Go(func() {
			ready.Done()
			ready.Wait() // all stacks exist at once
			i := Index(8)
			mu.Lock()
			defer mu.Unlock()
			seen[i]++
		})
	}
	wg.Wait()
	if len(seen) < 4 {
		t.Errorf("64 goroutines use %d of 8 stripes: %v", len(seen), seen)
	}
}

// Stacks of two new goroutines usually lie side by side: those are the two that a busy counter has.
func TestIndexTellsNeighboursApart(t *testing.T) {
	for _, apart := range []uintptr{2 << 10, 4 << 10, 8 << 10, 32 << 10} {
		same := 0
		for i := range uintptr(1000) {
			address := 0x4000_0000 + i*2<<10
			if pick(address, 8) == pick(address+apart, 8) {
				same++
			}
		}
		if same > 250 {
			t.Errorf("stacks that lie %d bytes apart share a stripe %d times of 1000, want about 125", apart, same)
		}
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	var c Counter
	if got := testing.AllocsPerRun(100, func() { c.Add(1) }); got != 0 {
		t.Errorf("Add allocates %v times, want 0", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	var c Counter
	b.ReportAllocs()
	for b.Loop() {
		c.Add(1)
	}
}

func BenchmarkAddParallel(b *testing.B) {
	var c Counter
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Add(1)
		}
	})
}
