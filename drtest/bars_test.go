//go:build unix

package drtest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// barred skips a test of a bar where processor time says nothing.
func barred(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("bars are measured without -race")
	}
	if testing.Short() {
		t.Skip("bars are not measured with -short")
	}
}

// An hour of outage with three Regions and 100 clients at 10 orders a second, thinned, takes at most 12 s of
// processor time with messages.
func TestBarHourOfOutage(t *testing.T) {
	barred(t)
	const bar = 12 * time.Second
	start := cpuTime()
	var world *drtest.World
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, TieFree: true}, func(_ *testing.T, w *drtest.World) {
		world = w
		w.Region("eu-west-1").Serve("api.eu-west-1", http.HandlerFunc(hello))
		s := openShop(w)
		w.Load(s.orders(100, drtest.Poisson(10), drtest.Edges{Before: 10 * time.Second, After: time.Minute, Thin: 50}))
		w.Play(loseEast)
		w.Check(check.RTO(time.Minute).For("POST /orders"), check.RPO(time.Second), check.SingleWriter(), check.AppliedOnce())
	})
	used := cpuTime() - start
	sent := world.Report().Loads[0].Sent
	t.Logf("%v of processor time for %d orders (%v each) that stand for %.0f", used.Round(time.Millisecond), sent, used/time.Duration(sent), world.Report().Loads[0].Weight)
	if used > bar {
		t.Errorf("%v of processor time, want at most %v", used, bar)
	}
}

// smallWorld is what a search runs a thousand times: 15 minutes, 5 clients, a lost Region, replication.
func smallWorld(t *testing.T, seed uint64) {
	drtest.Run(t, drtest.Config{Seed: seed, Fidelity: drtest.FidelityMessages, Settle: 5 * time.Minute}, func(_ *testing.T, w *drtest.World) {
		s := openShop(w)
		w.Load(s.orders(5, drtest.Poisson(1), drtest.Edges{Before: 10 * time.Second, After: time.Minute, Thin: 10}))
		w.Play(drtest.Timeline("small", drtest.At(5*time.Minute, fault.RegionDown(eastName, fault.ModeBlackhole)).For(5*time.Minute)))
		w.Check(check.RTO(time.Minute).For("POST /orders"), check.RPO(time.Second), check.SingleWriter(), check.AppliedOnce())
	})
}

// A small world takes at most 90 ms of processor time, so a thousand seeds take 90 s. Fifty are run here.
func TestBarSmallWorld(t *testing.T) {
	barred(t)
	const seeds, bar = 50, 90 * time.Millisecond
	start := cpuTime()
	for seed := range uint64(seeds) {
		smallWorld(t, seed+1)
	}
	used := (cpuTime() - start) / seeds
	t.Logf("%v of processor time a seed: %v for a thousand", used, 1000*used)
	if used > bar {
		t.Errorf("%v of processor time a seed, want at most %v", used, bar)
	}
}

// A GET takes at most 65 µs with bytes and 12 µs with messages.
func TestBarGet(t *testing.T) {
	barred(t)
	bars := map[drtest.Fidelity]time.Duration{drtest.FidelityBytes: 65 * time.Microsecond, drtest.FidelityMessages: 12 * time.Microsecond}
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		best := time.Hour
		for range 5 {
			drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
				best = min(best, getCost(t, w))
			})
		}
		t.Logf("%v of processor time", best)
		if best > bars[fidelity] {
			t.Errorf("%v of processor time, want at most %v", best, bars[fidelity])
		}
	})
}

func getCost(t *testing.T, w *drtest.World) time.Duration {
	const n = 3000
	w.Region("east").Serve("api", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	client := w.Region("users").HTTPClient()
	start := cpuTime()
	for range n {
		resp, err := client.Get("http://api/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	return (cpuTime() - start) / n
}

func BenchmarkSmallWorld(b *testing.B) {
	b.ReportAllocs()
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		for i := range b.N {
			smallWorld(t, uint64(i)+1)
		}
	}}})
	if !ok {
		b.Fatal(fmt.Errorf("a small world failed"))
	}
}
