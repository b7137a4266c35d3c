package failover

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
)

// A hedged read whose function ends its goroutine ends the caller's, as without a hedge: it is no success without a value. So does a
// loser's panic.
func TestHedgedReadsEndAsTheirFunctionsDo(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		client := f.nodes[1].client
		var wg sync.WaitGroup
		returned := true
		wg.Go(func() {
			defer func() { returned = false }()
			v, err := Read(t.Context(), client, func(context.Context, *backend) (int, error) { runtime.Goexit(); return 1, nil }, Hedge(time.Second))
			t.Errorf("Read of a function that ends its goroutine = %v, %v", v, err)
		})
		wg.Wait()
		if returned {
			t.Error("the caller's deferred functions did not run")
		}
		defer func() {
			if p := recover(); p != "late" {
				t.Errorf("the loser's panic became %v", p)
			}
		}()
		v, err := Read(t.Context(), client, func(ctx context.Context, b *backend) (int, error) {
			if b.region == client.ctl.cfg.Self {
				<-ctx.Done()
				panic("late")
			}
			return 1, nil
		}, Hedge(time.Second))
		t.Errorf("Read with a loser that panics = %v, %v", v, err)
	})
}

// A request by one person and nobody else waits for approval, however nobody is written.
func TestNobodyApprovesNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl := f.nodes[1].ctl
		tr, err := ctl.Failover(t.Context(), west, Request{Reason: "r", By: "ann", Second: " \t"})
		if guardOf(err) != GuardRequest {
			t.Errorf("Failover approved by blanks = %+v, %v, want a refusal", tr, err)
		}
		if tr, err = ctl.BreakGlass(t.Context(), NewMemoryCoordinator(east, west, central), Request{Reason: "r", By: "ann", Second: " "}); guardOf(err) != GuardRequest {
			t.Errorf("BreakGlass with a second person of blanks = %+v, %v, want a refusal", tr, err)
		}
	})
}

// lateStore loses the answer to one store, which arrives only after its sender has looked again.
type lateStore struct {
	Coordinator
	mu      sync.Mutex // guards the following
	lose    bool
	delayed func()
}

func (l *lateStore) CompareAndSwap(ctx context.Context, sequence uint64, next Record) error {
	l.mu.Lock()
	lose := l.lose && next.Phase == PhaseAwaitApproval
	if lose {
		l.lose = false
		l.delayed = func() { _ = l.Coordinator.CompareAndSwap(context.WithoutCancel(ctx), sequence, next) }
	}
	l.mu.Unlock()
	if lose {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return l.Coordinator.CompareAndSwap(ctx, sequence, next)
}

// Votes is slow, so that votes are old when the record has been read again, and lets the lost store arrive.
func (l *lateStore) Votes(ctx context.Context) ([]Vote, error) {
	l.mu.Lock()
	arrive := l.delayed
	l.delayed = nil
	l.mu.Unlock()
	if arrive != nil {
		arrive()
	}
	return l.Coordinator.Votes(ctx)
}

// A request whose store was thought lost is the caller's own when it is found: it is not refused because "another move is under way".
func TestRequestThatArrivesLateIsFound(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		late := &lateStore{Coordinator: f.coord}
		cfg := f.config(west, "operator")
		cfg.Coordinator = late
		ctl, err := NewController(cfg) // not run: nothing else keeps its votes fresh
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range f.nodes[:1] {
			if _, err := New(ctl, []Member[int]{{Region: east, Probe: func(context.Context, int) error { return nil }}, {Region: west, Probe: func(context.Context, int) error { return nil }}}, ClientConfig{}); err != nil {
				t.Fatal(n, err)
			}
		}
		late.lose = true
		tr, err := ctl.Failover(t.Context(), west, Request{Reason: "r", By: "ann"})
		if err != nil || tr.ID == "" || errors.Is(err, ErrRefused) {
			rec, _ := f.coord.Load(t.Context())
			t.Errorf("Failover = %+v, %v; the record has %+v", tr, err, rec.Transition)
		}
	})
}
