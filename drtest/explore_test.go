package drtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// pair is two Regions of which the second takes over by itself when it has not heard from the first for half a minute.
// The first should stop writing when it has not been heard for twenty seconds; with the bug it goes on.
func pair(bug bool) func(t testing.TB, w *drtest.World) {
	return func(_ testing.TB, w *drtest.World) {
		east, west := w.Region("east"), w.Region("west")
		primary := east.Store("db")
		replica := west.Store("db-dr", drtest.ReplicaOf(primary))
		var acknowledged atomic.Int64 // when the first was last heard
		hear := func() { acknowledged.Store(time.Now().UnixNano()) }
		hear()
		heard := func() time.Duration { return time.Since(time.Unix(0, acknowledged.Load())) }
		west.Serve("witness", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		client := east.HTTPClient()
		client.Timeout = 2 * time.Second
		east.Go("writer", func(ctx context.Context) error {
			db := primary.Client(east)
			for i := 0; sleep(ctx, time.Second); i++ {
				if !bug && heard() > 20*time.Second {
					return nil // for good: the other may have taken over
				}
				if _, err := get(ctx, client, "http://witness/"); err == nil {
					hear()
				}
				once, cancel := context.WithTimeout(ctx, 5*time.Second) // a write that hangs must not land under the other's epoch
				_ = db.Put(once, fmt.Sprint(i), "", 1)
				cancel()
			}
			return nil
		})
		west.Go("monitor", func(ctx context.Context) error {
			for sleep(ctx, time.Second) {
				if heard() > 30*time.Second {
					_ = replica.Promote(2)
					return nil
				}
			}
			return nil
		})
		w.Check(check.SingleWriter())
	}
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// desk takes orders into one of two stores. With the bug it says yes when neither took the order.
func desk(bug bool) func(t testing.TB, w *drtest.World) {
	return func(_ testing.TB, w *drtest.World) {
		for _, name := range []string{"a", "b"} {
			r := w.Region(name)
			db := r.Store("db-" + name).Client(r)
			r.Serve("api-"+name, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				answer(rw, db.Put(req.Context(), strings.TrimPrefix(req.URL.Path, "/"), "", 0))
			}))
		}
		client := w.Region("users").HTTPClient()
		w.Load(drtest.Load{Name: "orders", Clients: 4, Rate: drtest.Poisson(0.5), Timeout: 5 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
			var errs []error
			for _, host := range []string{"api-a", "api-b"} {
				once, cancel := context.WithTimeout(ctx, time.Second)
				_, err := get(once, client, "http://"+host+"/"+op.Key())
				cancel()
				if err == nil {
					op.Acked(op.Key())
					return nil
				}
				errs = append(errs, err)
			}
			if bug {
				op.Acked(op.Key())
				return nil
			}
			return errors.Join(errs...)
		}})
		w.Check(check.LostWrites(0))
	}
}

func messages() drtest.Config {
	return drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 2 * time.Minute}
}

func TestExploreFindsSplitBrain(t *testing.T) {
	config := drtest.ExploreConfig{World: messages(), Name: "split-brain", Bug: "no-lease"}
	found := drtest.Explore(t, config, pair(true)).Finding
	if found == nil {
		t.FailNow()
	}
	config.Bug = ""
	drtest.Explore(t, config, pair(false))
}

func TestExploreFindsWhatNeedsTwoFaults(t *testing.T) {
	config := drtest.ExploreConfig{
		World: messages(), Name: "two-faults", Bug: "yes-man",
		Faults: []fault.Fault{fault.Gray("api-a", 1), fault.Gray("api-b", 1), fault.RegionDown("a", fault.ModeRefuse), fault.Latency("users", "b", 300*time.Millisecond)},
	}
	found := drtest.Explore(t, config, desk(true)).Finding
	if found == nil {
		t.FailNow()
	}
	config.Bug = ""
	drtest.Explore(t, config, desk(false))
}
