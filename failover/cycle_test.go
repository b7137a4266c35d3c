package failover

import (
	"testing"
	"time"
)

func TestDefaultTimes(t *testing.T) {
	for _, c := range []struct {
		name                   string
		cfg                    ControllerConfig
		poll, hold, heal, step time.Duration
	}{
		{"none set", ControllerConfig{}, 5 * time.Second, 30 * time.Second, time.Minute, 30 * time.Second},
		{"a long lease", ControllerConfig{LeaseTTL: time.Minute}, 5 * time.Second, 30 * time.Second, time.Minute, 30 * time.Second},
		{"a short lease", ControllerConfig{LeaseTTL: 2 * time.Second}, 500 * time.Millisecond, 3 * time.Second, 6 * time.Second, 3 * time.Second},
		{"a short poll", ControllerConfig{PollEvery: time.Second}, time.Second, 6 * time.Second, 12 * time.Second, 6 * time.Second},
		{"each set", ControllerConfig{PollEvery: time.Second, HoldFor: 2 * time.Second, HealFor: 3 * time.Second, RampStep: 4 * time.Second}, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second},
	} {
		c.cfg.Regions, c.cfg.Self = []Region{east}, east
		ctl, err := NewController(c.cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := ctl.cfg; got.PollEvery != c.poll || got.HoldFor != c.hold || got.HealFor != c.heal || got.RampStep != c.step {
			t.Errorf("%s: PollEvery, HoldFor, HealFor, RampStep = %v, %v, %v, %v, want %v, %v, %v, %v", c.name,
				got.PollEvery, got.HoldFor, got.HealFor, got.RampStep, c.poll, c.hold, c.heal, c.step)
		}
	}
}

// A demo, a drill on real time: the Region is lost, the group moves the writer, the Region heals, people move it back.
func TestTheWholeCycleScalesWithTheLease(t *testing.T) {
	for _, c := range []struct {
		name  string
		tune  func(*ControllerConfig)
		limit time.Duration
	}{
		{"lease 2 s", func(*ControllerConfig) {}, 45 * time.Second},
		{"and polls of 250 ms", func(c *ControllerConfig) { c.PollEvery = 250 * time.Millisecond }, 45 * time.Second},
		{"and ramps of 1 s", func(c *ControllerConfig) { c.RampStep = time.Second }, 45 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, f *fleet) {
				f.probe = 200 * time.Millisecond
				f.tune = func(cfg *ControllerConfig) {
					cfg.LeaseTTL, cfg.MaxFlight = 2*time.Second, time.Second
					c.tune(cfg)
				}
				f.standard()
				lost := time.Now()
				f.backends[east].set(true)
				f.until(c.limit, "the group moves to west", func() bool { return f.agree(PhaseSteady, 3) })
				moved := time.Since(lost)
				f.backends[east].set(false)
				ctl := f.nodes[0].ctl
				f.until(c.limit, "east heals", func() bool { return ctl.Decision().Health[east] == HealthHealthy })
				healed := time.Since(lost)
				if _, err := ctl.Failover(t.Context(), east, Request{Reason: "back home", By: "ann", Second: "bob", Planned: true}); err != nil {
					t.Fatal(err)
				}
				f.until(c.limit, "back in east", func() bool {
					return f.agree(PhaseSteady, 5) && ctl.Decision().Writer == east && ctl.current.Load().homeShare == 100
				})
				took := time.Since(lost)
				t.Logf("moved after %v, healed after %v, back after %v", moved, healed, took)
				if took > c.limit {
					t.Errorf("the whole cycle took %v, want at most %v", took, c.limit)
				}
			})
		})
	}
}
