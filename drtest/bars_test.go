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
	bar(t, 12*time.Second, 1, func() {
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
	})
}

// bar measures the processor time of f, for each of n things it does. Other processes can only add to it, so
// the best of up to three runs counts.
func bar(t *testing.T, limit time.Duration, n int, f func()) {
	t.Helper()
	best := time.Duration(1 << 62)
	for range 3 {
		start := cputime.Used()
		f()
		if best = min(best, (cputime.Used()-start)/time.Duration(n)); best <= limit {
			break
		}
	}
	t.Logf("%v of processor time, at most %v", best, limit)
	if best > limit {
		t.Errorf("%v of processor time, want at most %v", best, limit)
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
	const seeds = 50
	bar(t, 90*time.Millisecond, seeds, func() {
		for seed := range uint64(seeds) {
			smallWorld(t, seed+1)
		}
	})
}

// A GET takes at most 65 µs with bytes and 12 µs with messages.
func TestBarGet(t *testing.T) {
	barred(t)
	limits := map[drtest.Fidelity]time.Duration{drtest.FidelityBytes: 65 * time.Microsecond, drtest.FidelityMessages: 12 * time.Microsecond}
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		const gets = 20000 // beside which the cost of the World itself is small
		bar(t, limits[fidelity], gets, func() {
			drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) { getAll(t, w, gets) })
		})
	})
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

func BenchmarkSmallWorld(b *testing.B) {
	b.ReportAllocs()
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		for i := range b.N {
			smallWorld(t, uint64(i)+1)
		}
	}}})
	if !ok {
		b.Fatal("a small world failed")
	}
}
