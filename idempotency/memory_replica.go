package idempotency

import (
	"context"
	"iter"
	"time"
)

// A note says that the peer has missed a write.
type note struct {
	fence Fence
	count uint64
	ends  int64 // when it is worth nothing: what the peer may have of the key has then expired too
}

const (
	notesPerNote = 4           // looked at for each that comes: what is worth nothing is a third of all at most
	noteMargin   = time.Minute // for writes that arrive at the peer late
)

// miss notes that the peer has missed a write that is kept until ends.
func (m *Memory) miss(s *shard, p *spot, f Fence, ends int64) {
	s.marks++ // never reused: a mark cleared and set again is another mark
	s.missed[p.place] = note{f, s.marks, max(ends, s.missed[p.place].ends)}
	now, looked := m.now(), 0
	for p, n := range s.missed {
		if n.ends+int64(noteMargin) <= now || m.superfluous(s, &p) {
			delete(s.missed, p)
		}
		if looked++; looked == notesPerNote {
			return
		}
	}
}

// superfluous reports whether a note of a key without a record is one too many.
func (m *Memory) superfluous(s *shard, p *place) bool {
	if len(s.missed)*len(m.shards) <= m.config.MaxEntries {
		return false
	}
	_, at := m.at(&Key{Scope: p.scope, Op: p.op, ID: p.id})
	return s.entries.find(&at) == nil
}

// Load implements [Replica].
func (m *Memory) Load(_ context.Context, key Key) (Record, error) {
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	if e := m.live(s, &p, now); e != nil {
		return e.record(now), nil
	}
	return Record{}, nil
}

// Put implements [Replica].
func (m *Memory) Put(_ context.Context, key Key, r Record) error {
	m.makeRoom(len(r.Result))
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	if e := m.live(s, &p, now); e != nil {
		if !outranks(&r, &e.row) {
			return nil
		}
		m.drop(s, e)
	}
	e := m.force(s, &p)
	e.row = rowOf(&r, now)
	if e.state == StateDone {
		m.stored(s, e, now)
	} else {
		s.open.PushBack(e, &e.link)
	}
	return nil
}

// Discard implements [Replica].
func (m *Memory) Discard(_ context.Context, key Key, f Fence) error {
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	if e := m.live(s, &p, now); e != nil && e.state != StateDone && e.fence.Compare(f) <= 0 {
		m.drop(s, e)
	}
	return nil
}

// Unsynced implements [Replica].
func (m *Memory) Unsynced(context.Context) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		for i := range m.shards {
			for _, mark := range m.shards[i].marked() {
				if !yield(mark, nil) {
					return
				}
			}
		}
	}
}

// marked copies the marks: whoever walks over them clears them.
func (s *shard) marked() []Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	marks := make([]Mark, 0, len(s.missed))
	for p, n := range s.missed {
		marks = append(marks, Mark{Key: Key{Scope: p.scope, Op: p.op, ID: p.id}, Fence: n.fence, Count: n.count})
	}
	return marks
}

// Synced implements [Replica].
func (m *Memory) Synced(_ context.Context, mark Mark) error {
	s, p, _ := m.locked(&mark.Key)
	defer s.mu.Unlock()
	if n := s.missed[p.place]; n.count == mark.Count || mark.Count == 0 && n.fence == mark.Fence {
		delete(s.missed, p.place)
	}
	return nil
}
