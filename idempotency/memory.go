package idempotency

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/intrusive"
)

// MemoryConfig configures a [Memory]. The zero value is ready to use.
type MemoryConfig struct {
	// MaxEntries is how many records are kept. At the limit the result that was read longest ago, of a part of them all, makes room;
	// a call in flight or held never does, and a claim fails with ErrStoreFull when there is nothing else.
	// Notes of what a peer has missed go with the retention of what they are about; beyond this many, those of calls that have no record any more go first: that
	// they were released, or evicted, the peer then never hears. Zero means 100,000.
	MaxEntries int

	// MaxBytes is how many bytes of results are kept, with the same eviction. A result is kept even if that is not enough room for it. Zero
	// means 64 MiB.
	MaxBytes int
}

// Memory is a store in this process: for one instance, for tests, and as the fallback of OutageLocal. What it
// holds ends with the process. It starts no goroutine; records past their retention go as others come.
type Memory struct {
	config MemoryConfig
	base   time.Time // zero of the store's clock; its monotonic reading
	micros int64     // base in microseconds since 1970
	seed   maphash.Seed
	mask   uint64
	shards []shard
	rows   atomic.Int64
	bytes  atomic.Int64
}

// An entry is a row in a shard, in one of the shard's two lists.
type entry struct {
	row
	spot  spot
	chain *entry        // the next one of the table's chain; of a dropped one the next to be used again
	read  int64         // when its result was stored, or replayed last
	wake  chan struct{} // closed when the attempt ends; nil when nobody watches
	link  intrusive.Link[entry]
}

type shard struct {
	mu      sync.Mutex // guards the following
	entries table
	done    intrusive.List[entry] // results, least recently read first
	open    intrusive.List[entry] // in flight and held, oldest claim first
	spare   *entry                // dropped, by chain
	due     int64                 // not to be looked through for expired records before
	fence   uint64
	claims  uint64 // of new keys
	missed  map[place]note
	marks   uint64

	_ [64]byte // its own cache line
}

const (
	maxShards     = 64
	rowsPerShard  = 64
	sweepEvery    = 8 // claims between two looks for expired records at the old ends of the lists
	sweepPerClaim = 2 // such records dropped from each list, by claim
)

// NewMemory returns a store, or an error that names the field that is wrong.
func NewMemory(c MemoryConfig) (*Memory, error) {
	if c.MaxEntries < 0 {
		return nil, fmt.Errorf("idempotency: MemoryConfig.MaxEntries: %d is negative", c.MaxEntries)
	}
	if c.MaxBytes < 0 {
		return nil, fmt.Errorf("idempotency: MemoryConfig.MaxBytes: %d is negative", c.MaxBytes)
	}
	setDefault(&c.MaxEntries, 100_000)
	setDefault(&c.MaxBytes, 64<<20)
	n := min(maxShards, max(1, 1<<bits.Len(uint(c.MaxEntries/rowsPerShard))>>1))
	now := time.Now()
	m := &Memory{config: c, base: now, micros: now.UnixMicro(), seed: maphash.MakeSeed(), mask: uint64(n - 1), shards: make([]shard, n)}
	for i := range m.shards {
		m.shards[i].missed = map[place]note{}
	}
	return m, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (m *Memory) now() int64 { return int64(time.Since(m.base)) }

// A spot is where a record is looked for.
type spot struct {
	place
	hash uint64
}

// at returns k's spot and its shard.
func (m *Memory) at(k *Key) (s *shard, p spot) {
	p = spot{k.place(), maphash.String(m.seed, k.ID)}
	for _, part := range [...]string{k.Op, k.Scope} {
		if p.hash = bits.RotateLeft64(p.hash, 32) * 0x9e3779b97f4a7c15; part != "" {
			p.hash += maphash.String(m.seed, part)
		}
	}
	return &m.shards[p.hash&m.mask], p
}

// locked locks the shard of k.
func (m *Memory) locked(k *Key) (s *shard, p spot, now int64) {
	s, p = m.at(k)
	now = m.now()
	s.mu.Lock()
	return s, p, now
}

// Len returns how many records are kept, expired ones included.
func (m *Memory) Len() int { return int(m.rows.Load()) }

// peek returns the result of a done call. It is Begin for replays, without a claim.
func (m *Memory) peek(k *Key) (result []byte, ok bool) {
	s, p := m.at(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, now := s.entries.find(&p), m.now()
	if e == nil || e.state != StateDone || len(e.result) == 0 || e.fingerprint != k.Fingerprint || e.expires <= now {
		return nil, false
	}
	s.replayed(e, now)
	return e.result, true
}

// Begin implements [Store].
func (m *Memory) Begin(_ context.Context, c Claim) (Answer, error) {
	s, p := m.at(&c.Key)
	for {
		a, full := m.begin(s, &p, &c)
		if !full {
			return a, nil
		}
		if !m.evictAnywhere() {
			return Answer{}, fmt.Errorf("%w: %d records", ErrStoreFull, m.config.MaxEntries)
		}
	}
}

func (m *Memory) begin(s *shard, p *spot, c *Claim) (a Answer, full bool) {
	now := m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := m.live(s, p, now)
	if e == nil {
		if c.Existing {
			return Answer{Status: StatusAbsent}, false
		}
		if e = m.insert(s, p, now); e == nil {
			return a, true
		}
		e.grant(c, now, m.minter(s, now))
		s.open.PushBack(e, &e.link)
		a.Status = StatusGranted
	} else {
		a.Status = e.begin(c, now, m.minter(s, now))
		if e.state == StateDone {
			s.replayed(e, now)
		}
	}
	if a.Status == StatusGranted && c.Unsynced {
		m.miss(s, p, e.fence, e.expires)
	}
	if a.Status == StatusDone && c.Noted {
		a.Missed = s.missed[p.place].count
	}
	a.Record = e.record(now)
	return a, false
}

// minter counts fences up within the shard, so that they grow even across deleted records.
func (m *Memory) minter(s *shard, now int64) mint {
	return func(previous uint64) uint64 {
		s.fence = max(previous+1, s.fence+1, uint64(m.micros+now/1000))
		return s.fence
	}
}

// Complete implements [Store].
func (m *Memory) Complete(_ context.Context, c Completion) (Answer, error) {
	m.makeRoom(len(c.Result))
	s, p, now := m.locked(&c.Key)
	defer s.mu.Unlock()
	e := m.live(s, &p, now)
	if e == nil {
		e = m.force(s, &p)
		e.row = completed(&c, now)
		m.stored(s, e, now)
		return m.completed(s, e, &c, StatusGranted, now), nil
	}
	wasDone := e.state == StateDone
	status := e.complete(&c, now)
	if !wasDone && status == StatusGranted {
		s.open.Remove(&e.link)
		m.stored(s, e, now)
		e.ended()
	}
	return m.completed(s, e, &c, status, now), nil
}

func (m *Memory) completed(s *shard, e *entry, c *Completion, status Status, now int64) Answer {
	if status == StatusGranted && c.Unsynced {
		m.miss(s, &e.spot, e.fence, e.expires)
	}
	if status == StatusGranted { // nobody asks what it was given
		return Answer{Status: status}
	}
	return Answer{Status: status, Record: e.record(now)}
}

// Renew implements [Store].
func (m *Memory) Renew(_ context.Context, r Renewal) (Status, error) {
	s, p, now := m.locked(&r.Key)
	defer s.mu.Unlock()
	e := m.live(s, &p, now)
	if e == nil {
		return StatusFenced, nil
	}
	status := e.renew(&r, now)
	if status == StatusGranted && r.Unsynced {
		m.miss(s, &p, e.fence, e.expires)
	}
	return status, nil
}

// Release implements [Store].
func (m *Memory) Release(_ context.Context, r Release) (Status, error) {
	s, p, now := m.locked(&r.Key)
	defer s.mu.Unlock()
	e := m.live(s, &p, now)
	if e == nil {
		if r.Unsynced {
			m.miss(s, &p, r.Fence, now+int64(r.Retention))
		}
		if !r.Hold {
			return StatusAbsent, nil
		}
		e = m.force(s, &p)
		e.row = held(&r, now)
		s.open.PushBack(e, &e.link)
		return StatusGranted, nil
	}
	status, remove := e.release(&r, now)
	if status == StatusGranted {
		if r.Unsynced {
			m.miss(s, &p, e.fence, max(e.expires, now+int64(r.Retention)))
		}
		e.ended()
	}
	if remove {
		m.drop(s, e)
	}
	return status, nil
}

// Watch implements [Watcher].
func (m *Memory) Watch(_ context.Context, key Key) (<-chan struct{}, func(), error) {
	s, p, now := m.locked(&key)
	defer s.mu.Unlock()
	e := m.live(s, &p, now)
	if e == nil || e.state != StateInFlight {
		ended := make(chan struct{})
		close(ended)
		return ended, func() {}, nil
	}
	if e.wake == nil {
		e.wake = make(chan struct{})
	}
	return e.wake, func() {}, nil
}

func (e *entry) ended() {
	if e.wake != nil {
		close(e.wake)
		e.wake = nil
	}
}

// live returns p's entry and drops it if its retention has passed.
func (m *Memory) live(s *shard, p *spot, now int64) *entry {
	e := s.entries.find(p)
	if e != nil && e.expires <= now {
		m.drop(s, e)
		return nil
	}
	return e
}
