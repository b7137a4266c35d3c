package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A witness of one Region, as one Client sees it: whether its probe passes, and whether its calls do.
type view struct{ probe, calls error }

// watched runs one instance with a Client for each view of east, which call ten times a second for two minutes, and looks at it all the while.
func watched(t *testing.T, views map[string]view, tune func(name string, cfg *ClientConfig), look func(*Controller, map[string]*Client[Region])) {
	ctl, err := NewController(ControllerConfig{Regions: []Region{east, west}, Self: east, Coordinator: NewMemoryCoordinator(east, west, central)})
	if err != nil {
		t.Fatal(err)
	}
	seenAs := func(r Region, err error) error {
		if r == east {
			return err
		}
		return nil
	}
	clients := map[string]*Client[Region]{}
	for name, v := range views {
		probe := func(_ context.Context, r Region) error { return seenAs(r, v.probe) }
		cfg := ClientConfig{Name: name}
		tune(name, &cfg)
		if clients[name], err = New(ctl, []Member[Region]{{Region: east, Client: east, Probe: probe}, {Region: west, Client: west, Probe: probe}}, cfg); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ctl.Run(ctx) })
	time.Sleep(30 * time.Second)
	for range 1200 {
		for name, c := range clients {
			_ = c.Read(ctx, func(_ context.Context, r Region) error { return seenAs(r, views[name].calls) })
		}
		look(ctl, clients)
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	wg.Wait()
}

// One Client alone says nothing of a Region that others find well: its calls may be bad of themselves, and so may its probe. Two do, or one and its probe.
func TestEvidenceTakesTwoClientsOrAProbe(t *testing.T) {
	well, lost := view{}, view{errLost, errLost}
	probe, calls := view{probe: errLost}, view{calls: errLost}
	for name, tt := range map[string]struct {
		views map[string]view
		bad   bool
	}{
		"the calls of one":                  {map[string]view{"orders": calls, "users": well}, false},
		"the probe of one":                  {map[string]view{"orders": probe, "users": well}, false},
		"the calls of two":                  {map[string]view{"orders": calls, "users": calls, "stock": well}, true},
		"the probes of two":                 {map[string]view{"orders": probe, "users": probe, "stock": well}, true},
		"the calls and the probe of one":    {map[string]view{"orders": lost, "users": well}, true},
		"the calls of the only one":         {map[string]view{"orders": calls}, true},
		"the calls of one, another's probe": {map[string]view{"orders": calls, "users": probe, "stock": well}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := false // at any moment: where nobody reads, calls no longer fail, and a Region whose probes are good is healthy again
				watched(t, tt.views, func(string, *ClientConfig) {}, func(ctl *Controller, _ map[string]*Client[Region]) {
					bad = bad || ctl.Decision().Health[east] == HealthUnhealthy
				})
				if bad != tt.bad {
					t.Errorf("%s was unhealthy: %t, want %t", east, bad, tt.bad)
				}
			})
		})
	}
}

// Losing a cache is not losing the Region: an advisory Client reads elsewhere, and nobody else does.
func TestAdvisoryClientsMoveOnlyTheirOwnReads(t *testing.T) {
	for _, advisory := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			views := map[string]view{"cache": {errLost, errLost}, "orders": {}}
			moved := map[string]bool{}
			tune := func(name string, cfg *ClientConfig) { cfg.Advisory = advisory && name == "cache" }
			watched(t, views, tune, func(ctl *Controller, clients map[string]*Client[Region]) {
				moved["routes"] = moved["routes"] || ctl.Decision().Regions[0] != east || ctl.Decision().Health[east] != HealthHealthy
				for name, c := range clients {
					first := true
					_ = c.Read(t.Context(), func(_ context.Context, r Region) error {
						moved[name] = moved[name] || first && r != east
						first = false
						return nil
					})
				}
			})
			if advisory && (!moved["cache"] || moved["orders"] || moved["routes"]) || !advisory && !moved["orders"] {
				t.Errorf("advisory %t: moved %v, want the cache's own reads alone, and all of them if it is not advisory", advisory, moved)
			}
		})
	}
}

// stopEast ends the instances of east.
func (f *fleet) stopEast() {
	for _, n := range f.nodes {
		if n.ctl.cfg.Self == east {
			n.stop()
		}
	}
}

// MinVoters holds for what is left when a Region is gone, and Lint says in peace time whether it would.
func TestMinVotersAreThoseThatAreLeft(t *testing.T) {
	for _, tt := range []struct {
		voters int
		moves  bool
	}{{5, true}, {6, false}} { // three in each Region and two witnesses: without a Region five
		inFleet(t, func(t *testing.T, f *fleet) {
			f.tune = func(c *ControllerConfig) { c.MinVoters = tt.voters }
			f.standard()
			ctl := f.nodes[1].ctl
			warned := slices.ContainsFunc(ctl.Lint(), func(p Problem) bool {
				return p.Field == "MinVoters" && strings.Contains(p.What, `without "`+east+`" 5 of 8`)
			})
			if warned == tt.moves {
				t.Errorf("MinVoters %d: Lint = %v", tt.voters, ctl.Lint())
			}
			f.stopEast()
			time.Sleep(time.Minute) // their votes are old
			f.backends[east].set(true)
			time.Sleep(5 * time.Minute)
			if moved := f.writers()[west] != 0; moved != tt.moves {
				t.Errorf("MinVoters %d and five left: moved %t, want %t", tt.voters, moved, tt.moves)
			}
		})
	}
}

// Without leases the new Region opens once the old side is fenced, or a person has answered for it; under leases an old side that cannot be
// reached is recorded and passed over, for its leases have ended.
func TestTheOldSideIsFencedOrAnsweredFor(t *testing.T) {
	for name, tt := range map[string]struct {
		fence FenceMode
		then  func(t *testing.T, ctl *Controller, id string, reachable *atomic.Bool)
		want  string
	}{
		"a token, and it is reached": {FenceToken, func(_ *testing.T, _ *Controller, _ string, reachable *atomic.Bool) { reachable.Store(true) }, "done"},
		"a token, and somebody answers": {FenceToken, func(t *testing.T, ctl *Controller, id string, _ *atomic.Bool) {
			if err := ctl.WaiveFence(t.Context(), id, "ann", "it is switched off"); err != nil {
				t.Error(err)
			}
		}, "waived by ann: it is switched off"},
		"a lease": {FenceLease, nil, "waived by policy: out of reach"},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, f *fleet) {
				var reachable atomic.Bool
				f.tune = func(c *ControllerConfig) {
					c.Fence, c.Automatic = tt.fence, false
					c.FenceOld = func(context.Context, Transition) error {
						if reachable.Load() {
							return nil
						}
						return errors.New("out of reach")
					}
				}
				f.standard()
				ctl := f.nodes[1].ctl
				tr, err := ctl.Failover(t.Context(), west, Request{Reason: "drill", By: "ann", Second: "bob"})
				if err != nil {
					t.Fatal(err)
				}
				if tt.then != nil {
					time.Sleep(10 * time.Minute)
					if d := ctl.Decision(); d.Phase != PhaseFenced || d.Writer != "" {
						t.Fatalf("while the old side is out of reach: phase %v, writer %q, want fenced and none", d.Phase, d.Writer)
					}
					tt.then(t, ctl, tr.ID, &reachable)
				}
				f.until(2*time.Minute, "west opens", func() bool { return ctl.Decision().Writer == west })
				f.until(time.Minute, "the move ends", func() bool { return ctl.Decision().Phase == PhaseSteady })
				if got := ctl.Decision().Last.OldSide; got != tt.want {
					t.Errorf("old side: %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// What a move may lose grows while the old Region renews its leases. It grows no further once that has stopped, however long people think about it.
func TestExposureEndsWithTheLastLease(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.tune = func(c *ControllerConfig) { c.Automatic = false }
		f.standard()
		ctl := f.nodes[1].ctl
		bound := func() time.Duration {
			least := UnknownExposure
			for range 100 { // where votes are older than a poll, Status supposes that a lease was renewed meanwhile
				e := ctl.Status().Exposure
				if !e.Known {
					t.Fatalf("exposure %+v, want a known one", e)
				}
				least = min(least, e.Bound)
				time.Sleep(50 * time.Millisecond)
			}
			return least
		}
		f.backends[east].set(true) // replication stops; the writers' instances live and renew
		f.until(3*time.Minute, "the group asks", func() bool { return ctl.Decision().Phase == PhaseAwaitApproval })
		first, start := bound(), time.Now()
		time.Sleep(10 * time.Minute)
		if grown, took := bound()-first, time.Since(start); grown < took-10*time.Second || grown > took+10*time.Second {
			t.Errorf("exposure grew by %v in %v with a writer that renews, want as much", grown, took)
		}
		f.stopEast()
		lease := time.Duration(float64(ctl.cfg.LeaseTTL) / (1 - ctl.cfg.ClockRate))
		stopped := bound() + ctl.cfg.PollEvery // a renewal may have been stored that nobody has seen yet
		time.Sleep(lease)
		after := bound()
		for range 20 {
			time.Sleep(time.Minute)
			if got := bound(); got != after || got > stopped+lease {
				t.Fatalf("exposure %v a while after the last lease, then %v; want it to stay, at most %v", after, got, stopped+lease)
			}
		}
		loss := AcceptLoss{Exposure: after, Reason: "customers wait", By: "bob"}
		if _, err := ctl.ApproveLoss(t.Context(), ctl.Decision().Transition.ID, loss); err != nil {
			t.Fatalf("ApproveLoss of %v, which was printed = %v", after, err)
		}
		f.until(2*time.Minute, "the move ends", func() bool { d := ctl.Decision(); return d.Writer == west && d.Phase == PhaseSteady })
		got := ctl.Decision().Last.Exposure // by the executor, which may have seen another sample of the copy last
		if !got.Known || got.Bound > after+ctl.cfg.PollEvery || got.Bound < after-ctl.cfg.PollEvery {
			t.Errorf("exposure at the switch %+v, want the %v that was accepted", got, after)
		}
		if log := fmt.Sprintf("%s", ctl.Status().Log); !strings.Contains(log, fmt.Sprintf("exposure: %v (known: true)", got.Bound)) {
			t.Errorf("the audit log does not print the exposure %v", got.Bound)
		}
	})
}

// An instance that died long ago says nothing of when the others of its Region acknowledged last: their leases ended with the move, not its own. A move that is planned waits for what they wrote.
func TestADeadInstanceEndsNoExposure(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		f.nodes[0].stop() // of east; its last vote asked for a lease and is kept for a day
		time.Sleep(10 * time.Minute)
		tr, err := f.nodes[1].ctl.Failover(t.Context(), west, Request{Planned: true, Reason: "drill", By: "ann", Second: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		var last time.Time // when east could write last
		f.until(5*time.Minute, "west writes", func() bool {
			w := f.writers()
			if w[east] != 0 {
				last = time.Now()
			}
			return w[west] != 0
		})
		f.until(10*time.Minute, "the move ends", func() bool { l := f.nodes[1].ctl.Decision().Last; return l != nil && l.ID == tr.ID })
		if got := f.nodes[1].ctl.Decision().Last.Exposure; got.AcknowledgedUntil.Before(last) {
			t.Errorf("the exposure of move %q ends at %v, %v before east could write last", tr.ID, got.AcknowledgedUntil, last.Sub(got.AcknowledgedUntil))
		}
	})
}

// What an instance asked for last is remembered over the votes with which it asks for nothing, and what may have been missed counts as asked for.
func TestLeasesOutliveTheVotesAfter(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(100+n), 0) }
	for name, tt := range map[string]struct {
		numbers []uint64
		epochs  []uint64
		asked   int // the vote
		under   uint64
	}{
		"it asks":                         {[]uint64{1, 2, 3}, []uint64{1, 1, 1}, 2, 1},
		"it asks no more":                 {[]uint64{1, 2, 3}, []uint64{1, 0, 0}, 0, 1},
		"it asks no more, and was missed": {[]uint64{1, 3, 4}, []uint64{1, 0, 0}, 1, 0},
		"it has never asked":              {[]uint64{1, 2, 3}, []uint64{0, 0, 0}, 0, 0},
		"it asks again":                   {[]uint64{1, 2, 3}, []uint64{1, 0, 4}, 2, 4},
	} {
		c := &Controller{votes: map[string]seenVote{}, cfg: ControllerConfig{Instance: "w"}}
		for i, number := range tt.numbers {
			c.countVotes([]Vote{{Instance: "e", Region: east, Number: number, Epoch: tt.epochs[i], At: at(i)}}, at(i))
		}
		if got := c.votes["e"]; !got.asked.Equal(at(tt.asked)) || got.askedFor != tt.under {
			t.Errorf("%s: asked at %v under %d, want at %v under %d", name, got.asked, got.askedFor, at(tt.asked), tt.under)
		}
	}
}
