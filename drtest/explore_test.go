package drtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
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

// hunt finds a planted bug within 200 seeds, shrinks its timeline to so many events, and
// tries the clean code with it and with seeds of its own.
func hunt(t *testing.T, config drtest.ExploreConfig, events int, world func(bug bool) func(testing.TB, *drtest.World)) {
	t.Helper()
	config.World, config.Seeds = messages(), 200
	found := drtest.Explore(t, config, world(true)).Finding
	if os.Getenv("HOLDFAST_REPLAY") != "" {
		return
	}
	if found == nil {
		t.FailNow()
	}
	if r := readScenario(t, found.File); len(r.Events) != events {
		t.Errorf("the regression has %d events, want %d:\n%s", len(r.Events), events, r.Go())
	}
	config.Bug, config.Seeds = "", 50
	if raceEnabled {
		config.Seeds = 10
	}
	clean := drtest.Explore(t, config, world(false))
	if clean.Finding == nil && (clean.Seeds != config.Seeds || len(clean.Replayed) == 0) {
		t.Errorf("the clean code was tried with %d seeds and %q", clean.Seeds, clean.Replayed)
	}
}

// readScenario returns the timeline of a regression file.
func readScenario(t *testing.T, file string) drtest.Scenario {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Scenario drtest.Scenario }
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r.Scenario
}

func messages() drtest.Config {
	return drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 2 * time.Minute}
}

func TestExploreFindsSplitBrain(t *testing.T) {
	hunt(t, drtest.ExploreConfig{Name: "split-brain", Bug: "no-lease"}, 1, pair)
}

func TestExploreFindsWhatNeedsTwoFaults(t *testing.T) {
	kinds := []fault.Kind{fault.KindRegionDown, fault.KindGray, fault.KindThrottle, fault.KindFlagStoreDown}
	hunt(t, drtest.ExploreConfig{
		Name: "two-faults", Bug: "yes-man", Kinds: kinds, Targets: []string{"a", "b", "api-a", "api-b"}, Also: []fault.Fault{fault.FlagStoreDown("api-a")},
	}, 2, desk)
}

func TestExploreFindsUnpacedReplay(t *testing.T) {
	hunt(t, drtest.ExploreConfig{Name: "unpaced-replay", Bug: "all-at-once", Safety: 5 * time.Minute}, 1, func(bug bool) func(testing.TB, *drtest.World) {
		return func(_ testing.TB, w *drtest.World) {
			replay(w, bug)
			w.Check(check.Surge(2).On("ledger"))
		}
	})
}

// A second Region is there for the day on which the first is lost: that is when its certificate is looked at. The core is
// the second Region alone, so what breaks the first may stay for ever.
func TestExploreFindsExpiredCertificate(t *testing.T) {
	hunt(t, drtest.ExploreConfig{
		Name: "expired-certificate", Bug: "expired",
		Core: []string{"west", "users", "api.west"}, Recover: []check.RTOCheck{check.RTO(30 * time.Second)},
	}, 1, func(bug bool) func(testing.TB, *drtest.World) {
		return func(_ testing.TB, w *drtest.World) {
			now := time.Now()
			until := map[string]time.Time{"east": now.Add(time.Hour), "west": now.Add(time.Hour)}
			if bug {
				until["west"] = now.Add(-time.Hour)
			}
			for _, name := range []string{"east", "west"} {
				w.Region(name).ServeTLS("api."+name, http.HandlerFunc(hello), now.Add(-24*time.Hour), until[name])
			}
			client := w.Region("users").HTTPClient()
			w.Load(drtest.Load{Name: "gets", Clients: 3, Rate: drtest.Poisson(0.5), Timeout: 10 * time.Second, Do: func(ctx context.Context, _ *drtest.Op) error {
				var errs []error
				for _, host := range []string{"api.east", "api.west"} {
					once, cancel := context.WithTimeout(ctx, 2*time.Second)
					_, err := get(once, client, "https://"+host+"/")
					cancel()
					if err == nil {
						return nil
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			}})
		}
	})
}

// NoSearch replays what is known and tries nothing new.
func TestNoSearchOnlyReplays(t *testing.T) {
	x := drtest.Explore(t, drtest.ExploreConfig{Seeds: drtest.NoSearch, Dir: t.TempDir()}, func(t testing.TB, _ *drtest.World) { t.Error("a World was made") })
	if x.Seeds != 0 || x.Finding != nil {
		t.Errorf("Explore = %v, want no seed and no finding", x)
	}
}
