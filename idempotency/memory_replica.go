package idempotency

import "context"

// miss marks p as missed by the peer.
func (s *shard) miss(p place, f Fence) {
	s.marks++ // never reused: a mark cleared and set again is another mark
	s.missed[p] = Mark{Key: Key{Scope: p.scope, Op: p.op, ID: p.id}, Fence: f, Count: s.marks}
}

func (s *shard) missIf(unsynced bool, p place, f Fence) {
	if unsynced {
		s.miss(p, f)
	}
}

// Load implements [Replica].
func (m *Memory) Load(_ context.Context, key Key) (Record, error) {
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	if e := m.live(s, p, now); e != nil {
		return e.record(now), nil
	}
	return Record{}, nil
}

// Put implements [Replica].
func (m *Memory) Put(_ context.Context, key Key, r Record) error {
	m.makeRoom(len(r.Result))
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	if e := m.live(s, p, now); e != nil {
		if !outranks(&r, &e.row) {
			return nil
		}
		m.drop(s, e)
	}
	e := m.force(s, p)
	e.row = rowOf(&r, now)
	if e.state == StateDone {
		m.bytes.Add(int64(len(e.result)))
		s.done.push(e)
	} else {
		s.open.push(e)
	}
	return nil
}

// Discard implements [Replica].
func (m *Memory) Discard(_ context.Context, key Key, f Fence) error {
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	if e := m.live(s, p, now); e != nil && e.state != StateDone && e.fence.Compare(f) <= 0 {
		m.drop(s, e)
	}
	return nil
}

// Unsynced implements [Replica].
func (m *Memory) Unsynced(_ context.Context, limit int) ([]Mark, error) {
	var marks []Mark
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, mark := range s.missed {
			if len(marks) == limit {
				break
			}
			marks = append(marks, mark)
		}
		s.mu.Unlock()
	}
	return marks, nil
}

// Synced implements [Replica].
func (m *Memory) Synced(_ context.Context, mark Mark) error {
	s, p, _ := m.locked(&mark.Key)
	defer s.mu.Unlock()
	if s.missed[p].Count == mark.Count {
		delete(s.missed, p)
	}
	return nil
}
