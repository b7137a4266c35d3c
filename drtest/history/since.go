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
	n := News{
		Ops: slices.Clone(h.ops[c.ops:]), Acks: slices.Clone(h.acks[c.acks:]), Effects: slices.Clone(h.effects[c.effects:]),
		Writes: slices.Clone(h.writes[c.writes:]), Marks: slices.Clone(h.marks[c.marks:]), Samples: map[string][]Sample{},
		Faults: slices.Clone(h.faults), Terms: slices.Clone(h.closed),
	}
	next := Cursor{ops: len(h.ops), acks: len(h.acks), effects: len(h.effects), writes: len(h.writes), marks: len(h.marks), samples: map[string]int{}}
	for gauge, all := range h.samples {
		next.samples[gauge] = len(all)
		if from := c.samples[gauge]; from < len(all) {
			n.Samples[gauge] = slices.Clone(all[from:])
		}
	}
	return n, next
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
		calls: slices.Clone(h.calls), reads: slices.Clone(h.reads), looked: h.looked, sent: map[string]*series{}, content: map[string]content{},
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
