package embedded

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
)

// A KeyResult is that a Region's key store has the result of a key.
type KeyResult struct {
	Region failover.Region
	Key    idempotency.Key
	Copied bool // as the other Region has it, also where its own answer to that was lost
	At     time.Time
}

// A KeyRun is one attempt of a key, as the guard of a process told its stores.
type KeyRun struct {
	Process string
	Region  failover.Region // whose store decided about the claim
	Key     idempotency.Key
	Number  int    // which attempt it is, as far as that store knew; 1 = there has never been one
	Epoch   uint64 // of the process
	Asked   time.Time
	Began   time.Time // when the store's answer came
	Renewed time.Time // when the lease was asked for that was granted last
	Ended   time.Time // when a store was first told of the end; zero if none was
	End     RunEnd
}

// RunEnd is how an attempt ended, by its guard.
type RunEnd uint8

// The ends.
const (
	RunOpen     RunEnd = iota // no store was told of one
	RunDone                   // with a result
	RunHeld                   // with an unknown outcome
	RunReleased               // with an error after which it may begin anew
)

// A keyLog is the list of both.
type keyLog struct {
	mu      sync.Mutex // guards all below
	results []KeyResult
	runs    []*KeyRun
	open    map[idempotency.Owner]*KeyRun
}

func (l *keyLog) result(r KeyResult) {
	r.At = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

func (l *keyLog) begin(owner idempotency.Owner, r KeyRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[idempotency.Owner]*KeyRun{}
	}
	if l.open[owner] == nil { // else the claim was sent twice
		l.runs = append(l.runs, &r)
		l.open[owner] = &r
	}
}

func (l *keyLog) renewed(owner idempotency.Owner, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.open[owner]; r != nil && asked.After(r.Renewed) {
		r.Renewed = asked
	}
}

func (l *keyLog) end(owner idempotency.Owner, how RunEnd) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.open[owner]; r != nil && r.End == RunOpen {
		r.Ended, r.End = time.Now(), how
	}
}

// KeyResults returns the results that the key stores of both Regions have got, the oldest first.
func (f *Fleet) KeyResults() []KeyResult {
	f.keyLog.mu.Lock()
	defer f.keyLog.mu.Unlock()
	return slices.Clone(f.keyLog.results)
}

// KeyRuns returns the attempts of all keys, in the order in which they began.
func (f *Fleet) KeyRuns() (all []KeyRun) {
	f.keyLog.mu.Lock()
	defer f.keyLog.mu.Unlock()
	for _, r := range f.keyLog.runs {
		all = append(all, *r)
	}
	return all
}

// A replica is what the store of Redis is.
type replica interface {
	idempotency.Replica
	idempotency.Watcher
}

// A loggedStore is a Region's store, as a process has it, that notes what it does.
type loggedStore struct {
	replica
	region  failover.Region
	process string
	log     *keyLog
}

// heard returns s, but in real time, which has no end, the store without its notes.
func (f *Fleet) heard(s loggedStore) idempotency.Store {
	if f.World.RealTime() {
		return s.replica
	}
	return s
}

// Begin implements idempotency.Store.
func (s loggedStore) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	asked := time.Now()
	a, err := s.replica.Begin(ctx, c)
	switch {
	case err != nil:
	case a.Status == idempotency.StatusGranted && c.Fence.N == 0: // a copy is told the fence
		s.log.begin(c.Owner, KeyRun{
			Process: s.process, Region: s.region, Key: c.Key, Number: a.Record.Attempt, Epoch: c.Epoch, Asked: asked, Began: time.Now(), Renewed: asked,
		})
	case a.Status == idempotency.StatusDone:
		s.log.result(KeyResult{Region: s.region, Key: c.Key})
	}
	return a, err
}

// Complete implements idempotency.Store.
func (s loggedStore) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	s.log.end(c.Owner, RunDone)
	a, err := s.replica.Complete(ctx, c)
	if err == nil && (a.Status == idempotency.StatusGranted || a.Status == idempotency.StatusDone) {
		s.log.result(KeyResult{Region: s.region, Key: c.Key})
	}
	return a, err
}

// Renew implements idempotency.Store.
func (s loggedStore) Renew(ctx context.Context, r idempotency.Renewal) (idempotency.Status, error) {
	asked := time.Now()
	status, err := s.replica.Renew(ctx, r)
	if err == nil && status == idempotency.StatusGranted {
		s.log.renewed(r.Owner, asked)
	}
	return status, err
}

// Release implements idempotency.Store.
func (s loggedStore) Release(ctx context.Context, r idempotency.Release) (idempotency.Status, error) {
	how := RunReleased
	if r.Hold {
		how = RunHeld
	}
	s.log.end(r.Owner, how)
	return s.replica.Release(ctx, r)
}

// Put implements idempotency.Replica.
func (s loggedStore) Put(ctx context.Context, key idempotency.Key, r idempotency.Record) error {
	err := s.replica.Put(ctx, key, r)
	if err == nil && r.State == idempotency.StateDone {
		s.log.result(KeyResult{Region: s.region, Key: key, Copied: true})
	}
	return err
}
