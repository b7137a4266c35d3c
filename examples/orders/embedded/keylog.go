package embedded

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
)

// A KeyStep is a step that a Region's key store took.
type KeyStep struct {
	Region failover.Region
	Key    idempotency.Key
	Done   bool // a result was stored there; else the key was claimed as one that has never been there, by who decides about it
	Copied bool // with Done: as the other Region has it, also where its own answer to that was lost
	At     time.Time
}

// A keyLog is the list of them.
type keyLog struct {
	mu     sync.Mutex // guards the following
	steps  []KeyStep
	claims map[string]int // that were granted, by the key's ID
}

func (l *keyLog) claimed(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims == nil {
		l.claims = map[string]int{}
	}
	l.claims[id]++
}

func (l *keyLog) note(s KeyStep) {
	s.At = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, s)
}

// KeySteps returns what the key stores of both Regions did, the oldest first.
func (f *Fleet) KeySteps() []KeyStep {
	f.keyLog.mu.Lock()
	defer f.keyLog.mu.Unlock()
	return slices.Clone(f.keyLog.steps)
}

// Claims returns how often each key was claimed, by its ID: nothing runs under a key more often.
func (f *Fleet) Claims() map[string]int {
	f.keyLog.mu.Lock()
	defer f.keyLog.mu.Unlock()
	return maps.Clone(f.keyLog.claims)
}

// A replica is what the store of Redis is.
type replica interface {
	idempotency.Replica
	idempotency.Watcher
}

// A loggedStore is a Region's store that notes what it does.
type loggedStore struct {
	replica
	region failover.Region
	log    *keyLog
}

// Begin implements idempotency.Store.
func (s loggedStore) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	a, err := s.replica.Begin(ctx, c)
	if err == nil && a.Status == idempotency.StatusGranted && c.Fence.N == 0 { // a copy is told the fence
		s.log.claimed(c.Key.ID)
		if a.Record.Attempt == 1 {
			s.log.note(KeyStep{Region: s.region, Key: c.Key})
		}
	}
	return a, err
}

// Complete implements idempotency.Store.
func (s loggedStore) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	a, err := s.replica.Complete(ctx, c)
	if err == nil && (a.Status == idempotency.StatusGranted || a.Status == idempotency.StatusDone) {
		s.log.note(KeyStep{Region: s.region, Key: c.Key, Done: true})
	}
	return a, err
}

// Put implements idempotency.Replica.
func (s loggedStore) Put(ctx context.Context, key idempotency.Key, r idempotency.Record) error {
	err := s.replica.Put(ctx, key, r)
	if err == nil && r.State == idempotency.StateDone {
		s.log.note(KeyStep{Region: s.region, Key: key, Done: true, Copied: true})
	}
	return err
}
