package history

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Tick is how finely requests are counted.
const Tick = 100 * time.Millisecond

// A series counts by the [Tick].
type series struct{ counts []float64 }

// AddRequest records that clients of Regions sent a request to a host; weight is how many it stands for.
func (h *History) AddRequest(host string, at time.Duration, weight float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done || at < 0 {
		return
	}
	s := h.sent[host]
	if s == nil {
		s = &series{}
		h.sent[host] = s
	}
	tick := int(at / Tick)
	if missing := tick + 1 - len(s.counts); missing > 0 {
		s.counts = append(s.counts, make([]float64, missing)...)
	}
	s.counts[tick] += weight
	if h.trace != nil { // not in the hash, which is of what callers saw
		h.trace(fmt.Appendf(nil, "request|%d|%s\n", int64(at), host))
	}
}

// Requests returns how many requests clients of Regions sent to a host in each [Tick], or to all hosts if it is "".
func (h *History) Requests(host string) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if host != "" {
		if s := h.sent[host]; s != nil {
			return slices.Clone(s.counts)
		}
		return nil
	}
	var out []float64
	for _, s := range h.sent {
		for len(out) < len(s.counts) {
			out = append(out, 0)
		}
		for i, n := range s.counts {
			out[i] += n
		}
	}
	return out
}

// AddRead records a read. Those of a group's writer are only counted: they cannot be stale.
func (h *History) AddRead(r Read, writer bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return
	}
	h.looked[r.Group]++
	if !writer {
		h.reads = append(h.reads, r)
	}
}

// Reads returns the reads that could have been stale, in order, and how many there were in all.
func (h *History) Reads() (reads []Read, all int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.looked {
		all += n
	}
	return h.reads, all
}

// Looked returns how many reads there were of the stores of a replication group, its writer's included.
func (h *History) Looked(group string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looked[group]
}

// A groupKey is a key of a replication group.
type groupKey struct{ group, key string }

// AddDelete records that a store of a replication group committed that a key is gone.
func (h *History) AddDelete(group, key string, at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.done {
		h.deleted[groupKey{group, key}] = at // not in the hash: callers see it by what they read
	}
}

// Deleted returns when a key of a replication group was last deleted; ok is false if it never was.
func (h *History) Deleted(group, key string) (at time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok = h.deleted[groupKey{group, key}]
	return at, ok
}

// A content is what a store held at the end.
type content struct {
	group  string
	writer bool
	data   map[string]string
}

// SetContent records what a store of a replication group holds at the end. Data must not change any more.
func (h *History) SetContent(group, store string, writer bool, data map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.content[store] = content{group, writer, data}
}

// Contents returns, for each replication group, what its writer and its other stores hold at the end; the writer has the
// name "".
func (h *History) Contents() map[string]map[string]map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]map[string]map[string]string{}
	for _, store := range slices.Sorted(maps.Keys(h.content)) {
		c := h.content[store]
		if out[c.group] == nil {
			out[c.group] = map[string]map[string]string{}
		}
		name := store
		if c.writer {
			name = ""
		}
		out[c.group][name] = c.data
	}
	return out
}
