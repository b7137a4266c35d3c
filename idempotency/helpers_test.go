package idempotency_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

var (
	errDown = errors.New("connection refused")
	errShop = errors.New("card declined")
)

// outcomeError is an error with all marks.
type outcomeError struct {
	text                       string
	notRun, unknown, permanent bool
}

func (e outcomeError) Error() string        { return e.text }
func (e outcomeError) NotRun() bool         { return e.notRun }
func (e outcomeError) OutcomeUnknown() bool { return e.unknown }
func (e outcomeError) Permanent() bool      { return e.permanent }

var (
	errNotRun    = outcomeError{text: "not run", notRun: true}
	errUnknown   = outcomeError{text: "unknown", unknown: true}
	errPermanent = outcomeError{text: "permanent", permanent: true}
)

// A remote is a memory store behind a network that can fail. Guards treat it as they treat Redis.
type remote struct {
	idempotency.Store

	mu    sync.Mutex // guards the following
	down  bool
	lose  bool // take the step, lose the reply
	steps map[string]int
	onEnd func() // runs before a Complete or Release is taken
}

func newRemote(t *testing.T) *remote {
	return &remote{Store: newMemory(t, idempotency.MemoryConfig{}), steps: map[string]int{}}
}

func (r *remote) set(change func(r *remote)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// lost empties the store.
func (r *remote) lost(t *testing.T) {
	r.set(func(r *remote) { r.Store = newMemory(t, idempotency.MemoryConfig{}) })
}

func (r *remote) inner() idempotency.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Store
}

func (r *remote) setDown(down bool) { r.set(func(r *remote) { r.down = down }) }

func (r *remote) count(step string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.steps[step]
}

// arrive counts a step. reach says whether it reaches the store, lost whether its reply does not come back.
func (r *remote) arrive(step string) (reach, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps[step]++
	return !r.down, r.lose
}

func (r *remote) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	return answer(r, "begin", func() (idempotency.Answer, error) { return r.inner().Begin(ctx, c) })
}

func (r *remote) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	r.ending()
	return answer(r, "complete", func() (idempotency.Answer, error) { return r.inner().Complete(ctx, c) })
}

func (r *remote) Renew(ctx context.Context, n idempotency.Renewal) (idempotency.Status, error) {
	return answer(r, "renew", func() (idempotency.Status, error) { return r.inner().Renew(ctx, n) })
}

func (r *remote) Release(ctx context.Context, rel idempotency.Release) (idempotency.Status, error) {
	r.ending()
	return answer(r, "release", func() (idempotency.Status, error) { return r.inner().Release(ctx, rel) })
}

func (r *remote) ending() {
	r.mu.Lock()
	onEnd := r.onEnd
	r.onEnd = nil
	r.mu.Unlock()
	if onEnd != nil {
		onEnd()
	}
}

func answer[T any](r *remote, step string, do func() (T, error)) (T, error) {
	var none T
	reach, lost := r.arrive(step)
	if !reach {
		return none, errDown
	}
	a, err := do()
	if lost {
		return none, errDown
	}
	return a, err
}

func newGuard(t *testing.T, s idempotency.Store, c idempotency.Config) *idempotency.Guard {
	t.Helper()
	if c.Name == "" {
		c.Name = "test"
	}
	g, err := idempotency.New(s, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := g.Run(ended); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return g
}

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func key(id string) idempotency.Key {
	return idempotency.Key{Op: "charge", ID: id, Fingerprint: idempotency.Raw([]byte("args"))}
}

func value[T any](v T, err error) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return v, err }
}

// never fails the test when it runs.
func never[T any](t *testing.T) func(context.Context) (T, error) {
	return func(context.Context) (v T, err error) {
		t.Error("the function ran")
		return v, nil
	}
}

// claim takes key for somebody else, as a process that then dies would.
func claim(t *testing.T, s idempotency.Store, k idempotency.Key, lease time.Duration) idempotency.Holder {
	t.Helper()
	c := idempotency.Claim{Key: k, Owner: idempotency.Owner{9, 9}, Lease: lease, Retention: time.Hour, TakeAbandoned: true, TakeHeld: true}
	a, err := s.Begin(t.Context(), c)
	if err != nil || a.Status != idempotency.StatusGranted {
		t.Fatalf("Begin = %v, %v, want granted", a.Status, err)
	}
	return idempotency.Holder{Key: k, Owner: c.Owner, Fence: a.Record.Fence}
}

func wantError(t *testing.T, err, reason error) *idempotency.Error {
	t.Helper()
	e, ok := errors.AsType[*idempotency.Error](err)
	if !ok || !errors.Is(err, reason) {
		t.Fatalf("error = %v, want one with reason %q", err, reason)
	}
	return e
}

func wantValue[T comparable](t *testing.T, got T, err error, want T) {
	t.Helper()
	if err != nil || got != want {
		t.Fatalf("Do = %v, %v, want %v", got, err, want)
	}
}
