package idempotency_test

import (
	"context"
	"testing"
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
		if took := time.Since(start); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("Run took %v, want 20 s and the step under way", took)
		}
	})
}
