//go:build unix

package drill_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/drill"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// The shop has an API and a Redis in each Region, and a monitor at its users that moves them away from a Region that
// misses three probes.
const (
	probeEvery   = 400 * time.Millisecond
	probeTimeout = 300 * time.Millisecond
	probeMisses  = 3
)

var shopRegions = []string{"us-east-1", "us-west-2"}

// loseEast is the scenario of both.
var loseEast = drtest.Timeline("lose us-east-1", drtest.At(1500*time.Millisecond, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(6*time.Second))

func shopConfig() drtest.Config { return drtest.Config{Name: "shop", Settle: 1500 * time.Millisecond} }

// openShop starts what users and monitor do; the servers are there already.
func openShop(w *drtest.World, redisAddr func(region string) string) {
	users := w.Region("users")
	w.Net().SetLinks("users", "us-east-1", simnet.Shape{Latency: 15 * time.Millisecond})
	w.Net().SetLinks("users", "us-west-2", simnet.Shape{Latency: 35 * time.Millisecond})
	client := users.HTTPClient()
	var caches []*redis.Client
	for _, r := range shopRegions {
		c := redis.NewClient(&redis.Options{
			Addr: redisAddr(r), Dialer: users.DialContext, ContextTimeoutEnabled: true, MaxRetries: -1,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		users.OnClose(func() { _ = c.Close() })
		caches = append(caches, c)
	}
	get := func(ctx context.Context, region string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api."+region+"/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	var current atomic.Int32
	users.Go("monitor", func(ctx context.Context) error {
		ticker := time.NewTicker(probeEvery)
		defer ticker.Stop()
		for misses := 0; ; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticker.C:
			}
			probe, cancel := context.WithTimeout(ctx, probeTimeout)
			err := get(probe, shopRegions[current.Load()])
			cancel()
			if misses++; err == nil {
				misses = 0
			}
			if misses == probeMisses && current.CompareAndSwap(0, 1) {
				w.Mark(history.MarkDetected, "monitor", "3 probes missed")
				w.Mark(history.MarkSwitched, "monitor", "to us-west-2")
			}
		}
	})
	w.Load(drtest.Load{Name: "orders", Clients: 10, Rate: drtest.Constant(10), Timeout: 2 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
		now := current.Load()
		if err := get(ctx, shopRegions[now]); err != nil {
			return err
		}
		return caches[now].Set(ctx, op.Key(), "paid", 0).Err()
	}})
}

// simulated plays the scenario in virtual time and returns the RTO.
func simulated(t *testing.T) check.Verdict {
	t.Helper()
	var world *drtest.World
	drtest.Run(t, shopConfig(), func(_ *testing.T, w *drtest.World) {
		world = w
		addr := map[string]string{}
		for _, r := range shopRegions {
			w.Region(r).Serve("api."+r, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			addr[r] = redistest.Start(w.Region(r)).Addr()
		}
		openShop(w, func(r string) string { return addr[r] })
		w.Play(loseEast)
		w.Check(check.RTO(10 * time.Second))
	})
	return world.Report().Verdicts[0]
}

// real plays the scenario as a drill against real servers.
func real(t *testing.T, redisAt map[string]string) (v check.Verdict, late time.Duration) {
	t.Helper()
	w, err := drtest.NewReal(t.Context(), shopConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range shopRegions {
		api := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer api.Close()
		for host, target := range map[string]string{"api." + r + ":80": strings.TrimPrefix(api.URL, "http://"), "redis." + r + ":6379": redisAt[r]} {
			if err := w.Region(r).Attach(host, target); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	openShop(w, func(r string) string { return "redis." + r + ":6379" })
	lateness := watchTimers(t)
	dir := t.TempDir()
	result, err := drill.Run(t.Context(), w, drill.Config{
		Name: "lose us-east-1", Scenario: loseEast, Allow: []string{"us-east-1"}, Operators: []string{"test"}, RTO: 10 * time.Second, Longest: time.Minute,
		Lease: filepath.Join(dir, "lease"), Evidence: filepath.Join(dir, "evidence"),
	})
	late = lateness()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := drill.Verify(filepath.Join(dir, "evidence")); err != nil {
		t.Error(err)
	}
	if len(result.Attached) != 4 {
		t.Errorf("attached %v, want four real servers", result.Attached)
	}
	if result.Outcome != drill.OutcomePassed {
		t.Logf("drill %s: %s\n%s", result.Outcome, result.Reason, result.Report.Text())
	}
	return result.Report.Verdicts[0], late
}

// watchTimers returns a function that says by how much the machine was late with a timer at most.
func watchTimers(t *testing.T) func() time.Duration {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan time.Duration, 1)
	go func() {
		var most time.Duration
		for ctx.Err() == nil {
			start := time.Now()
			time.Sleep(5 * time.Millisecond)
			most = max(most, time.Since(start)-5*time.Millisecond)
		}
		done <- most
	}()
	return func() time.Duration { cancel(); return <-done }
}

const (
	agreement = 250 * time.Millisecond // of simulation and drill
	calm      = 40 * time.Millisecond  // a machine that is later than this with its timers measures itself
	patience  = 90 * time.Second       // with such a machine
)

// awaitCalm waits until the machine kept its timers for a second; false if it does not in time.
func awaitCalm(t *testing.T, until time.Time) bool {
	for time.Now().Before(until) {
		lateness := watchTimers(t)
		time.Sleep(time.Second)
		if lateness() < calm {
			return true
		}
	}
	return false
}

// The simulation predicts the drill: one scenario, one RTO, with real HTTP and Redis servers behind the network.
func TestSimulationPredictsTheDrill(t *testing.T) {
	predicted := simulated(t)
	if predicted.Seconds < 1 || !predicted.Passed() {
		t.Fatalf("simulated: %v", predicted)
	}
	for name, start := range map[string]func(t *testing.T) string{
		"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
		"redis":     func(t *testing.T) string { return servertest.Start(t, servertest.Redis).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("takes seconds of real time")
			}
			t.Parallel()
			at := map[string]string{}
			for _, r := range shopRegions {
				at[r] = start(t)
			}
			agree(t, predicted, at)
		})
	}
}

// agree plays the drill until its RTO is that of the simulation, or differs on a machine that was calm. A machine that
// never is cannot tell.
func agree(t *testing.T, predicted check.Verdict, redisAt map[string]string) {
	until := time.Now().Add(patience)
	for awaitCalm(t, until) {
		measured, late := real(t, redisAt)
		apart := time.Duration((measured.Seconds - predicted.Seconds) * float64(time.Second)).Abs()
		t.Logf("RTO simulated %.3fs, measured %.3fs, %v apart; timers up to %v late", predicted.Seconds, measured.Seconds, apart, late)
		if measured.Passed() && apart <= agreement {
			return
		}
		if late < calm {
			t.Fatalf("simulation and drill disagree:\n%v\n%v", predicted, measured)
		}
	}
	t.Skipf("inconclusive: for %v the machine was more than %v late with its timers; the comparison needs a calmer one", patience, calm)
}
