package idempotency

import (
	"math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/internal/intrusive"
)

// insert adds an entry for p if there is room, now and then after a small sweep for expired ones. nil means full.
func (m *Memory) insert(s *shard, p *spot, now int64) *entry {
	if s.claims++; s.claims%sweepEvery == 0 || m.full() {
		m.sweep(s, now)
	}
	if m.full() && !m.evict(s) {
		return nil
	}
	return m.add(s, p)
}

func (m *Memory) full() bool { return m.rows.Load() >= int64(m.config.MaxEntries) }

// force is insert that exceeds the limit, if there is nothing to evict, rather than lose what is known of a call.
func (m *Memory) force(s *shard, p *spot) *entry {
	if m.full() {
		m.evict(s)
	}
	return m.add(s, p)
}

func (m *Memory) add(s *shard, p *spot) *entry {
	e := s.blank()
	e.spot = *p
	s.entries.add(e)
	m.rows.Add(1)
	return e
}

// blank returns an entry that was dropped, or one of several new ones: a store that is full makes none.
func (s *shard) blank() *entry {
	if s.spare == nil {
		several := make([]entry, 1+min(31, s.entries.n/2))
		for i := range several {
			s.keep(&several[i])
		}
	}
	e := s.spare
	s.spare, e.chain = e.chain, nil
	return e
}

// keep keeps an empty entry for later use.
func (s *shard) keep(e *entry) { s.spare, e.chain = e, s.spare }

// stored lists e, which has a result now.
func (m *Memory) stored(s *shard, e *entry, now int64) {
	e.read = now
	s.done.PushBack(e, &e.link)
	m.bytes.Add(int64(len(e.result)))
}

// replayed makes e the result that was read last.
func (s *shard) replayed(e *entry, now int64) {
	e.read = now
	s.done.MoveToBack(&e.link)
}

// drop forgets e, whatever its state. The caller must not use it any more.
func (m *Memory) drop(s *shard, e *entry) {
	if e.state == StateDone {
		s.done.Remove(&e.link)
		m.bytes.Add(-int64(len(e.result)))
	} else {
		s.open.Remove(&e.link)
	}
	e.ended()
	s.entries.remove(e)
	m.rows.Add(-1)
	*e = entry{}
	s.keep(e)
}

// lists are all entries of s.
func (s *shard) lists() [2]*intrusive.List[entry] {
	return [...]*intrusive.List[entry]{&s.done, &s.open}
}

// sweep drops expired records at the old ends of the lists. Claims pay for it, so that what traffic adds, traffic removes.
func (m *Memory) sweep(s *shard, now int64) {
	for _, l := range s.lists() {
		for range sweepEvery * sweepPerClaim {
			e := l.First()
			if e == nil || e.expires > now {
				break
			}
			m.drop(s, e)
		}
	}
}

// evict drops the shard's result that was read longest ago.
func (m *Memory) evict(s *shard) bool {
	e := s.done.First()
	if e != nil {
		m.drop(s, e)
	}
	return e != nil
}

// evictAnywhere makes room when a shard has nothing to give. The caller holds no lock.
func (m *Memory) evictAnywhere() bool {
	now := m.now()
	first := rand.IntN(len(m.shards))
	for i := range m.shards {
		s := &m.shards[(first+i)%len(m.shards)]
		s.mu.Lock()
		freed := m.expire(s, now) || m.evict(s)
		s.mu.Unlock()
		if freed {
			return true
		}
	}
	return false
}

// lookEvery is how often a shard is looked through for expired records while none is due.
const lookEvery = time.Second

// expire drops the shard's expired records, wherever they are. It looks at them all, and then not again before the first of them is due: a store that is full
// of calls in flight is asked for room by every claim.
func (m *Memory) expire(s *shard, now int64) (freed bool) {
	if now < s.due {
		return false
	}
	s.due = now + int64(lookEvery) // records that come meanwhile may expire before those that are there
	for _, l := range s.lists() {
		for e, next := l.First(), (*entry)(nil); e != nil; e = next {
			next = e.link.Next()
			if e.expires > now {
				s.due = min(s.due, e.expires)
			} else {
				m.drop(s, e)
				freed = true
			}
		}
	}
	return freed
}

// makeRoom evicts results until n more bytes fit. The caller holds no lock.
func (m *Memory) makeRoom(n int) {
	for m.bytes.Load()+int64(n) > int64(m.config.MaxBytes) {
		if !m.evictResult() {
			return // the result is kept all the same: losing it would run the call again
		}
	}
}

// evictLooks is in how many shards the result that was read longest ago is looked for.
const evictLooks = 5

// evictResult drops the oldest result of a few shards. Always the same ones would lose even what they have just stored, while all others keep what
// nobody has read for long.
func (m *Memory) evictResult() bool {
	var from *shard
	var oldest int64
	first := rand.IntN(len(m.shards))
	for i := range m.shards {
		s := &m.shards[(first+i)%len(m.shards)]
		if read, ok := s.oldestRead(); ok && (from == nil || read < oldest) {
			from, oldest = s, read
		}
		if from != nil && i >= evictLooks-1 {
			break
		}
	}
	if from == nil {
		return false
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	return m.evict(from)
}

// oldestRead returns when the shard's oldest result was read; ok is false if it has none.
func (s *shard) oldestRead() (read int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.done.First(); e != nil {
		return e.read, true
	}
	return 0, false
}
