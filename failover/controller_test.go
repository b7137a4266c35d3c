package failover

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestFirstBootOpensThePreferredRegion(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		if w := f.writers(); len(w) != 1 || w[east] != 1 {
			t.Errorf("writers %v, want %s at epoch 1", w, east)
		}
		regions, writer := f.nodes[1].ctl.Route()
		if writer != east || len(regions) != 2 || regions[0] != west {
			t.Errorf("Route in %s = %v, %q, want home first and writer %s", west, regions, writer, east)
		}
	})
}

func TestLosingTheWriterMovesItAutomatically(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		f.backends[east].set(true)
		took := f.until(3*time.Minute, "west opens", func() bool { return f.writers()[west] != 0 })
		if w := f.writers(); len(w) != 1 || w[west] != 3 {
			t.Errorf("writers %v, want %s at epoch 3", w, west)
		}
		t.Logf("west open %v after the loss", took)
		f.until(10*time.Second, "all agree", func() bool { return f.agree(PhaseSteady, 3) })
		f.until(time.Second, "each has its lease", func() bool { _, ok := f.nodes[1].ctl.Ready(); return ok })
		if err := f.nodes[1].client.Write(t.Context(), func(ctx context.Context, b *backend, fence Fence) error { return b.write(ctx, fence) }); err != nil {
			t.Errorf("Write in %s = %v, want nil", west, err)
		}
		err := f.nodes[0].client.Write(t.Context(), func(ctx context.Context, b *backend, fence Fence) error { return b.write(ctx, fence) })
		if !errors.Is(err, ErrFenced) {
			t.Errorf("Write in %s = %v, want ErrFenced", east, err)
		}
		log := f.nodes[2].ctl.Status().Log
		if err := VerifyAudit(logReader(log)); err != nil || len(log) < 5 {
			t.Errorf("audit chain of %d entries: %v", len(log), err)
		}
	})
}

func TestReadsMoveAtOnceAndComeBackInSteps(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		n := f.nodes[0]
		read := func() error {
			return n.client.Read(t.Context(), func(ctx context.Context, b *backend) error { return b.read(ctx) })
		}
		f.backends[east].set(true)
		if err := read(); err != nil {
			t.Errorf("Read while %s is down = %v, want an answer from %s", east, err, west)
		}
		took := f.until(30*time.Second, "reads leave", func() bool { r, _ := n.ctl.Route(); return r[0] == west })
		if limit := 3*6*time.Second + 5*time.Second; took > limit {
			t.Errorf("reads left after %v, want at most %v", took, limit)
		}
		f.backends[east].set(false)
		f.until(5*time.Minute, "reads come back", func() bool { return n.ctl.Decision().Health[east] == HealthHealthy })
		if got := n.ctl.current.Load().homeShare; got != 5 {
			t.Errorf("share after healing %d %%, want 5", got)
		}
		f.until(3*time.Minute, "full share", func() bool { return n.ctl.current.Load().homeShare == 100 })
	})
}

func TestCoordinatorLossStopsWritesAfterTheLeaseAndMovesNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		gate := &gatedCoordinator{Coordinator: f.coord}
		f.coord = gate
		f.standard()
		gate.set(true)
		took := f.until(time.Minute, "writes stop", func() bool { return len(f.writers()) == 0 })
		if took < 13*time.Second || took > 20*time.Second {
			t.Errorf("writes stopped after %v, want between TTL - a renewal and TTL", took)
		}
		time.Sleep(time.Hour)
		if regions, writer := f.nodes[0].ctl.Route(); writer != east || regions[0] != east {
			t.Errorf("Route = %v, %q, want unchanged", regions, writer)
		}
		gate.set(false)
		f.until(15*time.Second, "writes resume", func() bool { return f.writers()[east] == 1 })
	})
}

func TestExposureGuardHoldsAnAutomaticMove(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.lag.Store(int64(5 * time.Minute))
		f.standard()
		f.backends[east].set(true)
		time.Sleep(10 * time.Minute)
		if w := f.writers(); w[west] != 0 {
			t.Fatalf("writers %v: moved although 5 minutes would be lost", w)
		}
		ctl := f.nodes[1].ctl
		_, err := ctl.Failover(t.Context(), west, Request{Reason: "test", By: "ann", Second: "bob"})
		refused, ok := errors.AsType[*RefusedError](err)
		if !ok || refused.Guard != GuardExposure || !refused.Exposure.Known || refused.Exposure.Bound < 5*time.Minute {
			t.Fatalf("Failover = %v, want a refusal by the exposure guard with its bound", err)
		}
		tr, err := ctl.Failover(t.Context(), west, Request{
			Reason: "test", By: "ann", Second: "bob",
			AcceptLoss: &AcceptLoss{Exposure: 20 * time.Minute, Reason: "customers wait", By: "ann"},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.until(time.Minute, "west opens", func() bool { return f.writers()[west] == tr.Epoch+2 })
	})
}

func TestPlannedMoveAndBack(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		for _, to := range []Region{west, east} {
			if _, err := f.nodes[0].ctl.Failover(t.Context(), to, Request{Reason: "drill", By: "ann", Second: "bob", Planned: true}); err != nil {
				t.Fatal(err)
			}
			f.until(10*time.Minute, "move to "+to, func() bool {
				return f.nodes[0].ctl.Decision().Phase == PhaseSteady && f.nodes[0].ctl.Decision().Writer == to
			})
		}
	})
}

func TestApprovalBySomeoneElse(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl := f.nodes[3].ctl
		tr, err := ctl.Failover(t.Context(), west, Request{Reason: "game day", By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ctl.Approve(t.Context(), tr.ID, "ann"); !errors.Is(err, ErrRefused) {
			t.Errorf("Approve by the requester = %v, want a refusal", err)
		}
		if _, err := ctl.Approve(t.Context(), "other", "bob"); !errors.Is(err, ErrRefused) {
			t.Errorf("Approve of another request = %v, want a refusal", err)
		}
		if _, err := ctl.Approve(t.Context(), tr.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		f.until(time.Minute, "west opens", func() bool { return f.writers()[west] == 3 })
	})
}

// gatedCoordinator can be cut off.
type gatedCoordinator struct {
	Coordinator
	backend
}

var errCut = errors.New("coordinator unreachable")

func (g *gatedCoordinator) Load(ctx context.Context) (Record, error) {
	if g.probe(ctx) != nil {
		return Record{}, errCut
	}
	return g.Coordinator.Load(ctx)
}

func (g *gatedCoordinator) CompareAndSwap(ctx context.Context, sequence uint64, next Record) error {
	if g.probe(ctx) != nil {
		return errCut
	}
	return g.Coordinator.CompareAndSwap(ctx, sequence, next)
}

func (g *gatedCoordinator) Vote(ctx context.Context, v Vote) error {
	if g.probe(ctx) != nil {
		return errCut
	}
	return g.Coordinator.Vote(ctx, v)
}

func (g *gatedCoordinator) Votes(ctx context.Context) ([]Vote, error) {
	if g.probe(ctx) != nil {
		return nil, errCut
	}
	return g.Coordinator.Votes(ctx)
}
