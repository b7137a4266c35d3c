package retry

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	latencyWindow = 128 // answers remembered
	latencyWarm   = 20  // answers before the quantile is known
	latencyStep   = 8   // answers between two computations
)

// latencies is the running quantile of the last answers' durations.
type latencies struct {
	quantile float64
	current  atomic.Int64 // nanoseconds + 1; 0 = not yet known

	mu   sync.Mutex // guards the following
	ring [latencyWindow]time.Duration
	n    int // added so far
}

// get returns the quantile. It takes no lock.
func (l *latencies) get() (d time.Duration, known bool) {
	v := l.current.Load()
	return time.Duration(v - 1), v > 0
}

func (l *latencies) add(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring[l.n%latencyWindow] = took
	l.n++
	if l.n >= latencyWarm && (l.n-latencyWarm)%latencyStep == 0 {
		l.current.Store(int64(l.computeLocked()) + 1)
	}
}

// computeLocked returns the smallest duration that at least the quantile's share of the answers did not exceed.
func (l *latencies) computeLocked() time.Duration {
	sorted := slices.Clone(l.ring[:min(l.n, latencyWindow)])
	slices.Sort(sorted)
	share := l.quantile * float64(len(sorted))
	i := int(share)
	if float64(i) == share {
		i--
	}
	return sorted[max(i, 0)]
}
