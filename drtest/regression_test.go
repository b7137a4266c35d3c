package drtest_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A Region that refuses connections while a handler runs breaks the connection: a client must not be told that it
// could not dial, for that would mean that nothing was done.
func TestRefusalAfterTheHandlerRanIsAReset(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			w.Region("east").Serve("api", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				w.Applied("charge", "1")
				time.Sleep(5 * time.Second)
			}))
			play(w, drtest.At(time.Second, fault.RegionDown("east", fault.ModeRefuse)).For(time.Minute))
			_, err := get(t.Context(), w.Region("users").HTTPClient(), "http://api/")
			if op, ok := errors.AsType[*net.OpError](err); !ok && err == nil || ok && op.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("Get = %v, want a broken connection", err)
			}
		})
	})
}

func TestStopLetsOperationsEnd(t *testing.T) {
	var world *drtest.World
	drtest.Run(t, drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		world = w
		load := w.Load(drtest.Load{Name: "slow", Rate: drtest.Constant(1), Do: func(ctx context.Context, _ *drtest.Op) error {
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		time.Sleep(10 * time.Second)
		load.Stop()
	})
	ops := world.History().Ops()
	for _, op := range ops {
		if op.Outcome != history.OutcomeOK {
			t.Errorf("operation %d: %v %s", op.Seq, op.Outcome, op.Err)
		}
	}
	if len(ops) < 8 {
		t.Errorf("%d operations", len(ops))
	}
}

// The authority of one World signs for the next, whatever their dates are.
func TestTLSInWorldsOfDifferentDates(t *testing.T) {
	for _, year := range []int{2026, 2003, 2140} {
		drtest.Run(t, drtest.Config{StartAt: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}, func(t *testing.T, w *drtest.World) {
			east := w.Region("us-east-1")
			east.ServeTLS("api.east", http.HandlerFunc(hello), time.Now(), time.Now().Add(time.Hour))
			_, err := get(t.Context(), east.HTTPClient(), "https://api.east/")
			if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok || err != nil {
				t.Errorf("in %d: %v %v", year, err, bad)
			}
		})
	}
}

// A server that does not speak HTTP can be named by a fault as well.
func TestListenNamesAHost(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east := w.Region("east")
		l, err := east.Listen("db:5432")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		play(w, drtest.At(time.Second, fault.Gray("db", 1)).For(time.Minute))
		time.Sleep(2 * time.Second)
		if status, _, ok := east.Disturbed("db", "SELECT"); !ok || status != 500 {
			t.Errorf("Disturbed = %d, %v", status, ok)
		}
	})
}

// An event that never came about is in the timeline: without it a check would judge a fault nobody saw.
func TestEventThatNeverHappensIsReported(t *testing.T) {
	var world *drtest.World
	drtest.Run(t, drtest.Config{Settle: time.Second}, func(_ *testing.T, w *drtest.World) {
		world = w
		w.Region("east")
		play(w, drtest.When(drtest.OnMark("detected", ""), fault.RegionDown("east", fault.ModeRefuse)))
	})
	for _, m := range world.History().Marks() {
		if m.Kind == history.MarkScenario {
			return
		}
	}
	t.Errorf("marks: %v", world.History().Marks())
}

// Two Regions that hand over between two looks overlap only if they say so.
func TestFollowHeedsSince(t *testing.T) {
	for name, tt := range map[string]struct {
		ends, begins time.Duration
		want         check.Status
	}{
		"overlap":           {1150 * time.Millisecond, 1100 * time.Millisecond, check.StatusFailed},
		"hand-over":         {1100 * time.Millisecond, 1150 * time.Millisecond, check.StatusPassed},
		"over many looks":   {5 * time.Second, 1100 * time.Millisecond, check.StatusFailed},
		"a gap of a minute": {time.Second, time.Minute, check.StatusPassed},
	} {
		t.Run(name, func(t *testing.T) {
			var world *drtest.World
			drtest.Run(t, drtest.Config{}, func(_ *testing.T, w *drtest.World) {
				world = w
				start := time.Now()
				w.Follow("west", func() (uint64, time.Time) {
					if at := start.Add(tt.begins); !time.Now().Before(at) {
						return 2, at
					}
					return 0, time.Time{}
				})
				w.Follow("east", func() (uint64, time.Time) {
					if at := start.Add(tt.ends); !time.Now().Before(at) {
						return 0, at
					}
					return 1, start
				})
				time.Sleep(2 * time.Minute)
			})
			if v := check.SingleWriter().Evaluate(world.History()); v.Status != tt.want {
				t.Errorf("%v", v)
			}
		})
	}
}

// The watchdog does not outlive its World: what it reads may belong to the next test.
func TestWatchdogEndsWithItsWorld(t *testing.T) {
	for range 20 {
		drtest.Run(t, drtest.Config{}, func(*testing.T, *drtest.World) {})
		buf := make([]byte, 1<<20)
		if bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("(*watchdog).watch")) {
			t.Fatal("the watchdog is still there")
		}
	}
}
