package failover

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// MemoryCoordinator keeps the record in this process: for tests and single-process services. It is
// linearizable and survives the loss of every Region, which is true only where Regions are simulated.
type MemoryCoordinator struct {
	regions []Region

	mu     sync.Mutex // guards the following
	record Record
	votes  map[string]Vote
}

// NewMemoryCoordinator returns an empty coordinator that claims to survive the loss of the given Regions.
func NewMemoryCoordinator(survives ...Region) *MemoryCoordinator {
	return &MemoryCoordinator{regions: survives, votes: map[string]Vote{}}
}

// Load returns the stored record.
func (m *MemoryCoordinator) Load(ctx context.Context) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return Record{}, context.Cause(ctx)
	case m.record.Sequence == 0:
		return Record{}, ErrNoRecord
	}
	return m.record.clone(), nil
}

// CompareAndSwap stores next.
func (m *MemoryCoordinator) CompareAndSwap(ctx context.Context, sequence uint64, next Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case m.record.Sequence != sequence:
		return ErrConflict
	}
	m.record = next.clone()
	return nil
}

// Vote stores v.
func (m *MemoryCoordinator) Vote(ctx context.Context, v Vote) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if m.votes[v.Instance].Number > v.Number {
		return ErrConflict
	}
	v.Views = maps.Clone(v.Views)
	m.votes[v.Instance] = v
	return nil
}

// Votes returns every instance's newest vote, ordered by instance.
func (m *MemoryCoordinator) Votes(ctx context.Context) ([]Vote, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	oldest := time.Now().Add(-VoteRetention)
	maps.DeleteFunc(m.votes, func(_ string, v Vote) bool { return v.At.Before(oldest) })
	votes := make([]Vote, 0, len(m.votes))
	for _, name := range slices.Sorted(maps.Keys(m.votes)) {
		v := m.votes[name]
		v.Views = maps.Clone(v.Views)
		votes = append(votes, v)
	}
	return votes, nil
}

// Info says that nothing is lost while the process lives.
func (m *MemoryCoordinator) Info() CoordinatorInfo {
	return CoordinatorInfo{Name: "memory", Linearizable: true, Survives: m.regions}
}
