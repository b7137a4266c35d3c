package failover

import (
	"context"
	"errors"
	"testing"
	"time"
)

// readFrom is where n reads.
func readFrom(t *testing.T, n *node, opts ...ReadOption) Region {
	t.Helper()
	from, err := Read(t.Context(), n.client, func(_ context.Context, b *backend) (Region, error) { return b.region, nil }, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// writeIn writes in a session.
func writeIn(t *testing.T, n *node, s *Session) {
	t.Helper()
	err := n.client.Write(t.Context(), func(ctx context.Context, b *backend, fence Fence) error { return b.write(ctx, fence) }, InSession(s))
	if err != nil {
		t.Fatal(err)
	}
}

// A session reads at home until it has written, then where its write is known to be: with the writer, and at home again when the copy has it, and an allowance for clocks beside.
func TestASessionReadsItsOwnWrites(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		const lag = 5 * time.Second
		f.lag.Store(int64(lag))
		f.standard()
		writer, standby := f.nodes[0], f.nodes[1] // of east, of west
		var session, other Session
		if from := readFrom(t, standby, ReadYourWrites(&session)); from != west {
			t.Errorf("a session that has not written reads in %s, want its own Region", from)
		}
		writeIn(t, writer, &session)
		if from := readFrom(t, standby, ReadYourWrites(&session)); from != east {
			t.Errorf("it reads in %s at once after its write, want the writer's Region", from)
		}
		if from := readFrom(t, standby, ReadYourWrites(&other)); from != west {
			t.Errorf("another session reads in %s, want its own Region", from)
		}
		if from := readFrom(t, standby); from != west {
			t.Errorf("a read of no session goes to %s, want its own Region", from)
		}
		time.Sleep(lag + standby.ctl.cfg.ClockSkew/2)
		if from := readFrom(t, standby, ReadYourWrites(&session)); from != east {
			t.Errorf("it reads in %s when the copy has its write by a clock that may be off, want the writer's Region", from)
		}
		home := f.until(10*time.Second, "the session reads at home", func() bool { return readFrom(t, standby, ReadYourWrites(&session)) == west })
		if home > 5*time.Second {
			t.Errorf("the session reads at home %v after the copy has its write, want soon", home)
		}
		f.lag.Store(-1)
		writeIn(t, writer, &session)
		time.Sleep(time.Minute)
		if from := readFrom(t, standby, ReadYourWrites(&session)); from != east {
			t.Errorf("it reads in %s while nobody knows how far the copy is, want the writer's Region", from)
		}
	})
}

// Where no Region is known to have a session's write, the read says so, unless anything will do.
func TestASessionIsToldThatNoCopyHasItsWrite(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		gate := &gatedCoordinator{Coordinator: f.coord}
		f.standard()
		cfg := f.config(west, "cut")
		cfg.Coordinator = gate
		standby := f.add(cfg)
		time.Sleep(time.Minute)
		var session Session
		f.lag.Store(-1)
		writeIn(t, f.nodes[0], &session)
		gate.set(true)
		time.Sleep(10 * time.Minute) // the writer may have moved meanwhile
		ran := false
		err := standby.client.Read(t.Context(), func(context.Context, *backend) error { ran = true; return nil }, ReadYourWrites(&session))
		stale, ok := errors.AsType[*StaleError](err)
		if !ok || ran || stale.Bound != "as new as this session's last write" || !errors.Is(err, ErrStale) {
			t.Errorf("Read = %v, it ran: %t; want a StaleError about the session, and nothing read", err, ran)
		}
		if from := readFrom(t, standby, ReadYourWrites(&session), AllowStale()); from != west {
			t.Errorf("a read that takes what there is goes to %s, want its own Region", from)
		}
	})
}
