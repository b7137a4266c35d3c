package history

import (
	"crypto/sha256"
	"maps"
	"slices"
	"time"
)

// A Cursor is a place in a [History]. The zero value is its beginning.
type Cursor struct {
	ops, acks, effects, writes, marks int
	samples                           map[string]int
}

// News is what was recorded behind a [Cursor]. Its slices are the receiver's own.
type News struct {
	Ops     []Op
	Acks    []Ack
	Effects []Effect
	Writes  []Write
	Marks   []Mark
	Samples map[string][]Sample

	// Faults and Terms are all there have been, as they are now: those that are open will still change.
	Faults []Fault
	Terms  []Term
}

// Since returns what was recorded behind a place, and the place of the next call. To follow a history live, call it
// again and again with the place it returned last:
//
//	var at history.Cursor
//	for range ticker.C {
//		var news history.News
//		news, at = h.Since(at)
//		show(news)
//	}
func (h *History) Since(c Cursor) (News, Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := News{Samples: map[string][]Sample{}, Faults: slices.Clone(h.faults), Terms: slices.Clone(h.closed)}
	next := Cursor{samples: map[string]int{}}
	n.Ops, next.ops = behind(h.ops, c.ops, h.gone.ops)
	n.Acks, next.acks = behind(h.acks, c.acks, h.gone.acks)
	n.Effects, next.effects = behind(h.effects, c.effects, h.gone.effects)
	n.Writes, next.writes = behind(h.writes, c.writes, h.gone.writes)
	n.Marks, next.marks = behind(h.marks, c.marks, h.gone.marks)
	for gauge, all := range h.samples {
		var news []Sample
		if news, next.samples[gauge] = behind(all, c.samples[gauge], h.gone.samples[gauge]); len(news) > 0 {
			n.Samples[gauge] = news
		}
	}
	return n, next
}

// behind returns a copy of what a list has behind a place, and the place behind it, when gone elements in front are
// forgotten.
func behind[T any](list []T, at, gone int) (news []T, next int) {
	return slices.Clone(list[min(max(at-gone, 0), len(list)):]), gone + len(list)
}

// Forget drops what ended before an instant, so that the record of a World that runs for days does not fill the memory.
// Faults and terms stay. Checks and reports judge what is left: call it for times long before anything they are to find. What
// was forgotten is not new to a [Cursor].
func (h *History) Forget(before time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone.samples == nil {
		h.gone.samples = map[string]int{}
	}
	h.gone.ops += forget(&h.ops, func(x Op) bool { return x.End < before })
	h.gone.acks += forget(&h.acks, func(x Ack) bool { return x.At < before })
	h.gone.effects += forget(&h.effects, func(x Effect) bool { return x.At < before })
	h.gone.writes += forget(&h.writes, func(x Write) bool { return x.At < before })
	h.gone.marks += forget(&h.marks, func(x Mark) bool { return x.At < before })
	forget(&h.calls, func(x Call) bool { return x.End < before })
	forget(&h.reads, func(x Read) bool { return x.At < before })
	for gauge, all := range h.samples {
		h.gone.samples[gauge] += forget(&all, func(x Sample) bool { return x.At < before })
		h.samples[gauge] = all
	}
}

// forget drops the first elements of a list that are old and returns how many. Others may still read the old list.
func forget[T any](list *[]T, old func(T) bool) (n int) {
	for n < len(*list) && old((*list)[n]) {
		n++
	}
	if n > 0 {
		*list = slices.Clone((*list)[n:])
	}
	return n
}

// Snapshot returns a copy that is finished at an instant, to judge what has been recorded so far. It has no
// survivors.
func (h *History) Snapshot(at time.Duration) *History {
	h.mu.Lock()
	s := &History{
		hash: sha256.New(), fixed: h.digestLocked(), ties: h.ties, firstTie: h.firstTie,
		ops: slices.Clone(h.ops), acks: slices.Clone(h.acks), effects: slices.Clone(h.effects), writes: slices.Clone(h.writes),
		faults: slices.Clone(h.faults), marks: slices.Clone(h.marks), terms: maps.Clone(h.terms), closed: slices.Clone(h.closed),
		samples: map[string][]Sample{}, alive: map[string]map[string]bool{}, groups: maps.Clone(h.groups),
		calls: slices.Clone(h.calls), calling: maps.Clone(h.calling), reads: slices.Clone(h.reads), looked: maps.Clone(h.looked), deleted: maps.Clone(h.deleted), sent: map[string]*series{}, content: map[string]content{},
	}
	for host, of := range h.sent {
		s.sent[host] = &series{slices.Clone(of.counts)}
	}
	for gauge, all := range h.samples {
		s.samples[gauge] = slices.Clone(all)
	}
	h.mu.Unlock()
	s.Finish(at)
	return s
}
