package idempotency

import (
	"context"
	"iter"
	"maps"
	"slices"
)

// miss marks p as missed by the peer.
func (s *shard) miss(p *spot, f Fence) {
	s.marks++ // never reused: a mark cleared and set again is another mark
	s.missed[p.place] = Mark{Key: Key{Scope: p.scope, Op: p.op, ID: p.id}, Fence: f, Count: s.marks}
}

func (s *shard) missIf(unsynced bool, p *spot, f Fence) {
	if unsynced {
		s.miss(p, f)
	}
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
	return slices.Collect(maps.Values(s.missed))
}

// Synced implements [Replica].
func (m *Memory) Synced(_ context.Context, mark Mark) error {
	s, p, _ := m.locked(&mark.Key)
	defer s.mu.Unlock()
	if noted := s.missed[p.place]; noted.Count == mark.Count || mark.Count == 0 && noted.Fence == mark.Fence {
		delete(s.missed, p.place)
	}
	return nil
}
