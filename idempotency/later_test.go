package idempotency_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A choosy store takes heartbeats and refuses ends.
type choosy struct {
	*remote
	refuses bool
}

func (c *choosy) refused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refuses
}

func (c *choosy) Complete(ctx context.Context, n idempotency.Completion) (idempotency.Answer, error) {
	if c.refused() {
		return idempotency.Answer{}, errDown
	}
	return c.remote.Complete(ctx, n)
}

func (c *choosy) Release(ctx context.Context, r idempotency.Release) (idempotency.Status, error) {
	if c.refused() {
		return 0, errDown
	}
	return c.remote.Release(ctx, r)
}

// Row 19: an end that the store does not take is tried again under a lease that is kept.
func TestTheLeaseIsKeptWhileTheEndWaits(t *testing.T) {
	for name, end := range map[string]error{"a result": nil, "a hold": errUnknown} {
		bubble(t, name, func(t *testing.T) {
			s := &choosy{remote: newRemote(t), refuses: true}
			g, other := newGuard(t, s, idempotency.Config{}), newGuard(t, s, idempotency.Config{})
			v, info, err := idempotency.DoInfo(t.Context(), g, key("a"), value(1, end))
			if v != 1 && end == nil || err != end || info.Stored {
				t.Fatalf("Do = %v, %+v, %v", v, info, err)
			}
			for range 8 { // four leases
				time.Sleep(15 * time.Second)
				_, err := idempotency.Do(t.Context(), other, key("a"), never[int](t))
				wantError(t, err, idempotency.ErrInFlight)
			}
			s.set(func(*remote) { s.refuses = false })
			time.Sleep(2 * time.Second)
			v, err = idempotency.Do(t.Context(), other, key("a"), never[int](t))
			if end == nil {
				wantValue(t, v, err, 1)
			} else {
				wantError(t, err, idempotency.ErrUnknownOutcome)
			}
		})
	}
	bubble(t, "but not for ever", func(t *testing.T) {
		s := &choosy{remote: newRemote(t), refuses: true}
		g := newGuard(t, s, idempotency.Config{})
		_ = g.Do(t.Context(), key("a"), func(context.Context) error { return nil })
		start := time.Now()
		time.Sleep(5*time.Minute - 15*time.Second) // Run waits 20 s
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Run(ended); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 5*time.Minute || took > 5*time.Minute+5*time.Second {
			t.Errorf("gave up after %v, want ten leases", took)
		}
		renewed := s.count("renew")
		time.Sleep(time.Minute)
		if got := s.count("renew"); got != renewed {
			t.Errorf("%d heartbeats after it gave up", got-renewed)
		}
	})
	bubble(t, "and not while the store is gone", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		_ = g.Do(t.Context(), key("a"), func(context.Context) error { s.setDown(true); return nil })
		start := time.Now()
		time.Sleep(15 * time.Second)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Run(ended); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("gave up after %v, want a lease", took)
		}
	})
}

// A store that takes heartbeats and refuses ends must not hold a shutdown up.
func TestRunGivesUpAStoreThatIsOut(t *testing.T) {
	bubble(t, "results", func(t *testing.T) {
		s := &choosy{remote: newRemote(t), refuses: true}
		g := newGuard(t, s, idempotency.Config{})
		if _, info, err := idempotency.DoInfo(t.Context(), g, key("a"), value(1, nil)); err != nil || info.Stored {
			t.Fatalf("Do = %+v, %v, want a result that is not stored", info, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
		if took := time.Since(start); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("Run took %v, want 20 s and a pause", took)
		}
	})
}

// A black hole takes steps and answers none, from when it is told.
type blackHole struct {
	*remote
	hole atomic.Bool
	late atomic.Bool // a claim that gets no answer arrives all the same, so that its release finds it absent at first
}

func (b *blackHole) wait(ctx context.Context) error {
	if !b.hole.Load() {
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (b *blackHole) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	if b.late.Load() {
		return idempotency.Answer{}, errDown
	}
	return b.remote.Begin(ctx, c)
}

func (b *blackHole) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	if err := b.wait(ctx); err != nil {
		return idempotency.Answer{}, err
	}
	return b.remote.Complete(ctx, c)
}

func (b *blackHole) Release(ctx context.Context, r idempotency.Release) (idempotency.Status, error) {
	if err := b.wait(ctx); err != nil {
		return 0, err
	}
	return b.remote.Release(ctx, r)
}

func (b *blackHole) Renew(ctx context.Context, n idempotency.Renewal) (idempotency.Status, error) {
	if err := b.wait(ctx); err != nil {
		return 0, err
	}
	return b.remote.Renew(ctx, n)
}

// What Run waits for ends with its 20 s, not a few time-outs later: holdfast.Run gives a stage 30 s for all of it.
func TestRunEndsWithItsPatience(t *testing.T) {
	slow := idempotency.Config{Lease: 60 * time.Second, Heartbeat: 15 * time.Second, StoreTimeout: 15 * time.Second}
	for name, c := range map[string]idempotency.Config{"with the default time-out": {}, "with a long time-out": slow} {
		// The instant of the stop decides which step is under way after 20 s.
		for ahead := time.Duration(0); ahead < 4*time.Second; ahead += 500 * time.Millisecond {
			bubble(t, fmt.Sprintf("%s, %v after a result", name, ahead), func(t *testing.T) {
				s := &blackHole{remote: newRemote(t)}
				g := newGuard(t, s, c)
				_ = g.Do(t.Context(), key("a"), func(context.Context) error { s.hole.Store(true); return nil })
				time.Sleep(ahead)
				stops(t, g)
			})
			bubble(t, fmt.Sprintf("%s, %v after a lost claim", name, ahead), func(t *testing.T) {
				s := &blackHole{remote: newRemote(t)}
				s.late.Store(true)
				g := newGuard(t, s, c)
				_ = g.Do(t.Context(), key("a"), func(context.Context) error { return nil })
				time.Sleep(ahead)
				stops(t, g)
			})
		}
	}
}

func stops(t *testing.T, g *idempotency.Guard) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	if err := g.Run(ended); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 21*time.Second {
		t.Errorf("Run took %v, want 20 s and a pause", took)
	}
}

// The end of Run's patience is that of the store, not of functions that run on: their leases are kept.
func TestRunKeepsTheLeasesOfFunctionsThatRunOn(t *testing.T) {
	bubble(t, "beyond its patience", func(t *testing.T) {
		g := newGuard(t, &blackHole{remote: newRemote(t)}, idempotency.Config{}).With(idempotency.Terms{MaxRun: 5 * time.Minute})
		caller, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_ = g.Do(caller, key("a"), func(ctx context.Context) error {
				leave()
				select {
				case <-time.After(2 * time.Minute):
				case <-ctx.Done():
				}
				done <- context.Cause(ctx)
				return nil
			})
		}()
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Run(ended); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("the function's context ended: %v", err)
		}
	})
}
