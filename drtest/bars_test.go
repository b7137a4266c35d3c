//go:build unix

package drtest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/internal/cputime"
)

// The bars of drtest, as benchmarks: a machine that is busy must not turn a test red. docs/benchmarks.md has the limits.

// hourOfOutage has three Regions and 100 clients at 10 orders a second, thinned, with messages.
func hourOfOutage(t *testing.T) {
	var world *drtest.World
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, TieFree: true}, func(_ *testing.T, w *drtest.World) {
		world = w
		w.Region("eu-west-1").Serve("api.eu-west-1", http.HandlerFunc(hello))
		s := openShop(w)
		w.Load(s.orders(100, drtest.Poisson(10), drtest.Edges{Before: 10 * time.Second, After: time.Minute, Thin: 50}))
		w.Play(loseEast)
		w.Check(check.RTO(time.Minute).For("POST /orders"), check.RPO(time.Second), check.SingleWriter(), check.AppliedOnce())
	})
	l := world.Report().Loads[0]
	t.Logf("%d orders that stand for %.0f", l.Sent, l.Weight)
}

func TestHourOfOutage(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("takes a minute with -race, and is not for -short; TestRegionLoss is the small one")
	}
	hourOfOutage(t)
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

func TestSmallWorlds(t *testing.T) {
	for seed := range uint64(5) {
		smallWorld(t, seed+1)
	}
}

func getAll(t *testing.T, w *drtest.World, n int) {
	w.Region("east").Serve("api", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	client := w.Region("users").HTTPClient()
	for range n {
		resp, err := client.Get("http://api/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

// measure runs f, which needs a *testing.T, n times for each of b's iterations and reports the processor time of one.
func measure(b *testing.B, n int, f func(t *testing.T)) {
	b.ReportAllocs()
	start := cputime.Used()
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		for range b.N {
			f(t)
		}
	}}})
	b.ReportMetric(float64(cputime.Used()-start)/float64(b.N*n), "cpu-ns/op")
	if !ok {
		b.Fatal("the measured world failed")
	}
}

func BenchmarkHourOfOutage(b *testing.B) { measure(b, 1, hourOfOutage) } // at most 12e9

func BenchmarkSmallWorld(b *testing.B) { // at most 90e6, so that a thousand seeds take 90 s
	measure(b, 1, func(t *testing.T) { smallWorld(t, 1) })
}

// BenchmarkExplore searches among small worlds of 15 minutes, whose 5 clients place orders in two Regions. The measure
// is of one seed: at most 90e6, so that a thousand take 90 s.
func BenchmarkExplore(b *testing.B) {
	const seeds = 20
	measure(b, seeds, func(t *testing.T) {
		config := drtest.ExploreConfig{World: drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 5 * time.Minute}, Seeds: seeds}
		x := drtest.Explore(t, config, func(_ testing.TB, w *drtest.World) {
			s := openShop(w)
			w.Load(s.orders(5, drtest.Poisson(1), drtest.Edges{}))
			w.Check(check.Amplification(2), check.Availability(0), check.RPO(time.Hour)) // which hold whatever happens: the search goes on
		})
		if x.Seeds != seeds {
			t.Errorf("%d seeds were tried, want %d", x.Seeds, seeds)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	const gets = 20000                                      // beside which the cost of the World itself is small
	for name, fidelity := range map[string]drtest.Fidelity{ // at most 65e3 and 12e3
		"bytes": drtest.FidelityBytes, "messages": drtest.FidelityMessages,
	} {
		b.Run(name, func(b *testing.B) {
			measure(b, gets, func(t *testing.T) {
				drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) { getAll(t, w, gets) })
			})
		})
	}
}
