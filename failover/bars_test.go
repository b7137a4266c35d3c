package failover

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// A failing share of calls, with good probes, seen second by second by one instance that makes ten calls a second.
func grayRun(seed uint64, share float64, d time.Duration) (suspect, moved time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 1))
	src := newSource("db", false, []Region{east, west})
	here := src.regions[east]
	here.probes.add(true)
	h := &regionHealth{pace: pace{30 * time.Second, time.Minute, 30 * time.Second}, share: 100}
	start := time.Now()
	second := func(share float64, now time.Time) {
		for range 10 {
			if rng.Float64() < share {
				here.counts.add(effectBad)
			} else {
				here.counts.add(effectGood)
			}
		}
		here.window.tick(&here.counts)
		h.step(now, gather([]*source{src}, east), true)
	}
	for i := range longRateWindow {
		second(0, start.Add(time.Duration(i-longRateWindow)*time.Second))
	}
	for at := time.Second; at <= d; at += time.Second {
		second(share, start.Add(at))
		if h.state == HealthSuspect && suspect == 0 {
			suspect = at
		}
		if h.state == HealthUnhealthy {
			return suspect, at
		}
	}
	return suspect, 0
}

func TestGrayFailureBars(t *testing.T) {
	const seeds = 1000
	late := 0
	for seed := range uint64(seeds) {
		suspect, moved := grayRun(seed, 0.40, 2*time.Minute)
		if suspect == 0 || suspect > 10*time.Second || moved == 0 || moved > 45*time.Second {
			late++
		}
	}
	if late > seeds/100 {
		t.Errorf("at 40 %% errors %d of %d runs were later than 10s to suspect or 45s to move reads, want at most 1 %%", late, seeds)
	}
	t.Logf("at 40 %%: %d of %d late", late, seeds)
	for seed := range uint64(seeds) {
		if _, moved := grayRun(seed, 0.05, 30*time.Minute); moved != 0 {
			t.Fatalf("seed %d: at 5 %% errors reads moved after %v, want never", seed, moved)
		}
	}
}

// The longest time until a dead Region is unhealthy: three probes, each at most 1.2 intervals after the last, and the last one's time-out.
func TestDetectionBar(t *testing.T) {
	const every, timeout = 5 * time.Second, 2 * time.Second
	seeds := 300
	if raceEnabled {
		seeds = 60
	}
	longest := time.Duration(0)
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 2))
			ctl, err := NewController(ControllerConfig{Regions: []Region{east, west}, Self: east, Coordinator: NewMemoryCoordinator(east, west)})
			if err != nil {
				t.Fatal(err)
			}
			dead := make(chan struct{})
			probe := func(ctx context.Context, r Region) error {
				select {
				case <-dead:
				default:
					return nil
				}
				if r == west {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
			_, err = New(ctl, []Member[Region]{{Region: east, Client: east, Probe: probe}, {Region: west, Client: west, Probe: probe}},
				ClientConfig{ProbeEvery: every, ProbeTimeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = ctl.Run(ctx) }()
			time.Sleep(20*time.Second + time.Duration(rng.Float64()*float64(10*time.Second)))
			close(dead)
			lost := time.Now()
			for d := range ctl.Watch(ctx) {
				if d.Health[east] == HealthUnhealthy {
					longest = max(longest, time.Since(lost))
					break
				}
			}
			stop()
			<-done
		})
	}
	if limit := 3*every*12/10 + timeout; longest > limit {
		t.Errorf("a dead Region was seen after %v, want at most %v", longest, limit)
	}
	t.Logf("longest of %d seeds: %v", seeds, longest)
}

func TestRoutesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl, client := f.nodes[0].ctl, f.nodes[0].client
		ctx := t.Context()
		read := func(context.Context, *backend) (int, error) { return 1, nil }
		for name, route := range map[string]func(){
			"Route":    func() { ctl.Route() },
			"Epoch":    func() { ctl.Epoch() },
			"Ready":    func() { ctl.Ready() },
			"Decision": func() { ctl.Decision() },
			"Read":     func() { _, _ = Read(ctx, client, read) },
			"fence":    func() { _, _, _, _ = client.fence() },
		} {
			if n := testing.AllocsPerRun(100, route); n != 0 {
				t.Errorf("%s allocates %v times, want 0", name, n)
			}
		}
	})
}

// A write costs the context that ends it: the flight, and of the standard library a context that can be cancelled with its function.
func TestWriteAllocatesItsContext(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctx, client := t.Context(), f.nodes[0].client
		write := func(context.Context, *backend, Fence) (int, error) { return 1, nil }
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Write(ctx, client, write, Idempotent(Replicated)); err != nil {
				t.Fatal(err)
			}
		}); n > 3 {
			t.Errorf("Write allocates %v times, want 3", n)
		}
	})
}
