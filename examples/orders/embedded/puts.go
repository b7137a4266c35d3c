package embedded

import (
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A putLog tells which calls were sent to the queues of a Region, the first time or again, in each second of the World.
type putLog struct {
	mu    sync.Mutex // guards calls
	calls map[failover.Region]map[int]map[string]bool
}

func (f *Fleet) put(region failover.Region, messages []queue.Outgoing) {
	if f.World.RealTime() {
		return // it has no end
	}
	second := int(f.World.Elapsed() / time.Second)
	f.puts.mu.Lock()
	defer f.puts.mu.Unlock()
	if f.puts.calls == nil {
		f.puts.calls = map[failover.Region]map[int]map[string]bool{East: {}, West: {}}
	}
	seconds := f.puts.calls[region]
	if seconds[second] == nil {
		seconds[second] = map[string]bool{}
	}
	for _, m := range messages {
		seconds[second][m.CallID] = true
	}
}

// Puts returns how many calls were sent to the queues of a Region in each second of the World. One that was sent twice in a second counts once.
func (f *Fleet) Puts() map[failover.Region]map[int]int {
	f.puts.mu.Lock()
	defer f.puts.mu.Unlock()
	all := map[failover.Region]map[int]int{}
	for region, seconds := range f.puts.calls {
		all[region] = map[int]int{}
		for second, calls := range seconds {
			all[region][second] = len(calls)
		}
	}
	return all
}
