package drtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

func nothing(context.Context, *drtest.Op) error { return nil }

func TestConstantLoad(t *testing.T) {
	drtest.Run(t, drtest.Config{TieFree: true}, func(t *testing.T, w *drtest.World) {
		load := w.Load(drtest.Load{Name: "constant", Clients: 10, Rate: drtest.Constant(5), Length: 100 * time.Second, Do: nothing})
		w.Wait()
		between(t, "operations", float64(load.Sent()), 4980, 5000)
	})
}

func TestPoissonLoad(t *testing.T) {
	drtest.Run(t, drtest.Config{TieFree: true}, func(t *testing.T, w *drtest.World) {
		load := w.Load(drtest.Load{Name: "poisson", Clients: 10, Rate: drtest.Poisson(5), Length: 200 * time.Second, Do: nothing})
		w.Wait()
		between(t, "operations", float64(load.Sent()), 9700, 10300)
	})
}

// Operations start when they are due, whether or not the server keeps up.
func TestLoadIsOpen(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Load(drtest.Load{Name: "slow", Rate: drtest.Constant(10), Length: 10 * time.Second, Timeout: time.Minute, Do: func(context.Context, *drtest.Op) error {
			time.Sleep(5 * time.Second)
			return nil
		}})
		w.Wait()
		for _, op := range w.History().Ops() {
			if took := op.End - op.Start; took != 5*time.Second {
				t.Errorf("operation %d took %v from its due time", op.Seq, took)
			}
		}
	})
}

// A thinned load counts as much as the full one, keeps client 0 and the edges at full rate.
func TestThinnedLoad(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Region("east")
		edges := drtest.Edges{Before: 10 * time.Second, After: 20 * time.Second, Thin: 10}
		load := w.Load(drtest.Load{Name: "thin", Clients: 10, Rate: drtest.Poisson(10), Length: 1000 * time.Second, Edges: edges, Do: nothing})
		play(w, drtest.At(300*time.Second, fault.RegionDown("east", fault.ModeRefuse)).For(300*time.Second))
		w.Wait()
		var all, full, edge, probe float64
		for _, op := range w.History().Ops() {
			all += op.Weight
			if op.Weight == 1 {
				full++
			}
			if at := op.Start; at > 290*time.Second && at < 320*time.Second {
				edge++
			}
			if op.Client == 0 {
				probe++
			}
		}
		between(t, "weight", all, 97000, 103000)
		between(t, "sent around an edge", edge, 2800, 3200)
		between(t, "sent by client 0", probe, 9600, 10400)
		between(t, "sent in all", float64(load.Sent()), 20000, 26000)
	})
}

func TestLoadEndsSettledAfterTheScenario(t *testing.T) {
	var world *drtest.World
	drtest.Run(t, drtest.Config{Settle: time.Minute}, func(_ *testing.T, w *drtest.World) {
		world = w
		w.Region("east")
		w.Load(drtest.Load{Name: "open", Rate: drtest.Constant(1), Do: nothing})
		play(w, drtest.At(time.Minute, fault.ClockSkew("east", time.Second)).For(time.Minute))
	})
	ops := world.History().Ops()
	between(t, "last operation in seconds", ops[len(ops)-1].Start.Seconds(), 178, 181)
}

func TestTrafficStop(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		load := w.Load(drtest.Load{Name: "open", Rate: drtest.Constant(1), Do: nothing})
		time.Sleep(10500 * time.Millisecond)
		load.Stop()
		between(t, "operations", float64(load.Sent()), 9, 11)
	})
}

type unknownError bool

func (unknownError) Error() string          { return "?" }
func (e unknownError) OutcomeUnknown() bool { return bool(e) }

func TestOutcome(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.OutcomeOK},
		{errors.New("no"), history.OutcomeFailed},
		{syscall.ECONNREFUSED, history.OutcomeFailed},
		{syscall.ECONNRESET, history.OutcomeUnknown},
		{io.ErrUnexpectedEOF, history.OutcomeUnknown},
		{os.ErrDeadlineExceeded, history.OutcomeUnknown},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), history.OutcomeUnknown},
		{unknownError(true), history.OutcomeUnknown},
		{fmt.Errorf("%w: %w", unknownError(false), context.DeadlineExceeded), history.OutcomeFailed},
	} {
		if got := drtest.Outcome(tt.err); got != tt.want {
			t.Errorf("outcome of %v = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestOpKnowsWhoAnsweredAndHowOften(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			w.Region("east").Serve("api", http.HandlerFunc(hello))
			client := w.Region("users").HTTPClient()
			w.Load(drtest.Load{Name: "calls", Rate: drtest.Constant(1), Length: 2 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
				op.As("GET /")
				op.Degraded()
				op.Attempt()
				_, err := get(ctx, client, "http://api/")
				return err
			}})
			w.Wait()
			for _, op := range w.History().Ops() {
				if op.Class != "GET /" || op.Region != "east" || op.Attempts != 2 || !op.Degraded {
					t.Errorf("recorded %+v", op)
				}
			}
		})
	})
}

func TestPrimeUpTo(t *testing.T) {
	for n, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, 4: 3, 61: 61, 62: 61, 100: 97} {
		if got := drtest.PrimeUpTo(n); got != want {
			t.Errorf("primeUpTo(%d) = %d, want %d", n, got, want)
		}
	}
}

// A load far larger than there are lanes still runs; its ties, if any, are reported.
func TestManyClients(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		load := w.Load(drtest.Load{Name: "crowd", Clients: 5000, Rate: drtest.Poisson(0.1), Length: 20 * time.Second, Do: nothing})
		w.Wait()
		between(t, "operations", float64(load.Sent()), math.Floor(5000*2*0.95), 5000*2*1.05)
	})
}

// A World goes on after Wait: a second scenario with a second load.
func TestSecondActAfterWait(t *testing.T) {
	drtest.Run(t, drtest.Config{Settle: time.Minute}, func(t *testing.T, w *drtest.World) {
		w.Region("east")
		for act := range 2 {
			load := w.Load(drtest.Load{Name: fmt.Sprint("act", act), Rate: drtest.Constant(1), Do: func(context.Context, *drtest.Op) error { return errors.New("no") }})
			play(w,
				drtest.At(time.Minute, fault.RegionDown("east", fault.ModeHang)).For(time.Minute),
				drtest.When(drtest.OnFailures(10), fault.ClockSkew("east", time.Second)).For(time.Second),
				drtest.When(drtest.OnFailures(10000), fault.ClockSkew("east", time.Hour)))
			w.Wait()
			between(t, "operations", float64(load.Sent()), 178, 181)
			if got, want := len(w.History().Faults()), 2*(act+1); got != want {
				t.Errorf("act %d: %d faults, want %d", act, got, want)
			}
		}
	})
}
