package drtest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// judge runs a World that must not fail by itself, and returns what a check says about it.
func judge(t *testing.T, c check.Check, f func(w *drtest.World)) check.Verdict {
	t.Helper()
	var world *drtest.World
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Settle: time.Minute}, func(_ *testing.T, w *drtest.World) {
		world = w
		f(w)
	})
	return c.Evaluate(world.History())
}

// planted runs a World twice, without a bug and with it: the check must pass and then fail, and say why.
func planted(t *testing.T, c check.Check, f func(w *drtest.World, bug bool), why string) {
	t.Helper()
	if v := judge(t, c, func(w *drtest.World) { f(w, false) }); !v.Passed() {
		t.Errorf("without the bug: %v", v)
	}
	v := judge(t, c, func(w *drtest.World) { f(w, true) })
	if v.Status != check.StatusFailed || !strings.Contains(v.String(), why) {
		t.Errorf("with the bug: want failed with %q, got %v", why, v)
	}
}

// charge is one client of one payment service.
func charges(w *drtest.World, handler http.HandlerFunc, do func(ctx context.Context, c *http.Client, op *drtest.Op) error) {
	w.Region("east").Serve("pay", handler)
	client := w.Region("users").HTTPClient()
	w.Load(drtest.Load{Name: "charges", Clients: 5, Rate: drtest.Constant(2), Timeout: 3 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
		return do(ctx, client, op)
	}})
}

func send(ctx context.Context, c *http.Client, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err := get(ctx, c, "http://pay/"+key)
	return err
}

func TestPlantedLostAck(t *testing.T) {
	planted(t, check.LostWrites(0), func(w *drtest.World, bug bool) {
		db := w.Region("east").Store("charges")
		client := db.Client(w.Region("east"))
		var n atomic.Int32
		charges(w, func(rw http.ResponseWriter, r *http.Request) {
			key := strings.TrimPrefix(r.URL.Path, "/")
			if n.Add(1) == 100 && bug {
				return // answers 200 and forgets the write
			}
			answer(rw, client.Put(r.Context(), key, "1", 0))
		}, func(ctx context.Context, c *http.Client, op *drtest.Op) error {
			err := send(ctx, c, op.Key())
			if err == nil {
				op.Acked(op.Key())
			}
			return err
		})
	}, `in no store and without effect`)
}

func TestPlantedDoubleEffect(t *testing.T) {
	planted(t, check.AppliedOnce("charge"), func(w *drtest.World, bug bool) {
		var done sync.Map // the idempotency keys
		charges(w, func(_ http.ResponseWriter, r *http.Request) {
			key := r.URL.Path[1:]
			if _, again := done.LoadOrStore(key, true); bug || !again {
				w.Applied("charge", key)
			}
		}, func(ctx context.Context, c *http.Client, op *drtest.Op) error {
			for {
				err := send(ctx, c, op.Key())
				if err == nil || ctx.Err() != nil {
					return err
				}
			}
		})
		// Answers are lost, requests are not: the case in which a retry charges twice.
		w.Play(drtest.Timeline("lost answers", drtest.At(10*time.Second, fault.PartitionOneWay("east", "users")).For(time.Second)))
	}, `charge of "charges/`)
}

// A monitor promotes the second Region although the first is alive behind a partition. With a fence the old
// writer has stopped by then.
func TestPlantedMissingFence(t *testing.T) {
	planted(t, check.SingleWriter(), func(w *drtest.World, bug bool) {
		east, west := w.Region("east"), w.Region("west")
		primary := east.Store("db")
		replica := west.Store("db-dr", drtest.ReplicaOf(primary))
		var stopped atomic.Bool
		east.Go("writer", func(ctx context.Context) error {
			db := primary.Client(east)
			for i := 0; ctx.Err() == nil && i < 60 && !stopped.Load(); i++ {
				time.Sleep(time.Second)
				_ = db.Put(ctx, fmt.Sprint(i), "", 1)
			}
			return nil
		})
		west.Go("monitor", func(ctx context.Context) error {
			time.Sleep(20 * time.Second)
			stopped.Store(!bug) // a lease that ran out, in a system that has one
			time.Sleep(10 * time.Second)
			return replica.Promote(2)
		})
		w.Play(drtest.Timeline("partition", drtest.At(10*time.Second, fault.Partition("east", "west")).For(time.Minute)))
	}, `db committed "30" under epoch 1 at`)
}

func TestPlantedRetryStorm(t *testing.T) {
	planted(t, check.Amplification(1.5), func(w *drtest.World, bug bool) {
		charges(w, func(http.ResponseWriter, *http.Request) {}, func(ctx context.Context, c *http.Client, op *drtest.Op) error {
			attempts := 1
			if bug {
				attempts = 10
			}
			var err error
			for range attempts {
				if err = send(ctx, c, op.Key()); err == nil {
					return nil
				}
			}
			return err
		})
		w.Play(drtest.Timeline("brown-out", drtest.At(10*time.Second, fault.Gray("pay", 1)).For(20*time.Second)))
	}, `while "pay answers 100 % of everything with 500"`)
}
