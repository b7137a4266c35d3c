package drtest_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A storm and what came of it.
type stormed struct {
	w *drtest.World
	s drtest.Scenario
}

// storms explores a World with a host in each of two Regions.
func storms(t *testing.T, config drtest.ExploreConfig) (all []stormed) {
	t.Helper()
	x, problems := explored(t, config, func(_ testing.TB, w *drtest.World) {
		api(w)
		w.Region("west").Serve("spare", http.HandlerFunc(hello))
		w.Region("west").Go("worker", func(ctx context.Context) error { <-ctx.Done(); return nil })
		client := w.Region("users").HTTPClient()
		w.Load(drtest.Load{Name: "gets", Clients: 3, Rate: drtest.Poisson(3), Timeout: 5 * time.Second, Do: func(ctx context.Context, _ *drtest.Op) error {
			_, err := get(ctx, client, "http://api/")
			return err
		}})
		s := w.Storm()
		all = append(all, stormed{w, s})
		w.Play(s)
	})
	if x.Finding != nil || len(problems) != 0 {
		t.Fatalf("%v %q", x, problems)
	}
	return all
}

// failedAt returns when the n-th operation had failed, 0 if not so many did.
func failedAt(h *history.History, n int) time.Duration {
	for _, op := range h.Ops() {
		if op.Outcome != history.OutcomeOK {
			if n--; n == 0 {
				return op.End
			}
		}
	}
	return 0
}

// Events that wait for a moment begin at it, and none of them outlasts the safety phase.
func TestExploreWaitsForMoments(t *testing.T) {
	config := quick(t)
	config.Seeds, config.Safety = 150, 2*time.Minute
	config.Kinds = []fault.Kind{fault.KindRegionDown, fault.KindGray, fault.KindPartition, fault.KindThrottle, fault.KindCrash}
	waited, late := 0, 0
	for _, x := range storms(t, config) {
		h := x.w.History()
		for _, f := range h.Faults() {
			e := x.s.Events[f.Event]
			if f.To > config.Safety+time.Millisecond {
				t.Errorf("%v lasts from %v to %v, want it over when all is healed at %v", f.Text, f.From, f.To, config.Safety)
			}
			if e.Cond == nil || e.Cond.Fails == 0 {
				continue
			}
			waited++
			if at := failedAt(h, e.Cond.Fails); at == 0 || f.From < at+e.Cond.After || f.From > at+e.Cond.After+time.Millisecond && f.From < at+e.Cond.After+e.Length {
				t.Errorf("%v after %d failures and %v begins at %v, want %v", f.Text, e.Cond.Fails, e.Cond.After, f.From, at+e.Cond.After)
			}
		}
		for _, m := range h.Marks() {
			if strings.Contains(m.Text, "came true too late") {
				late++
			}
		}
	}
	if waited < 5 || late == 0 {
		t.Errorf("%d events waited for failures and %d came too late, want some of both: the test shows nothing", waited, late)
	}
}

// A defect of one moment is found, and its timeline says when that was.
func TestExploreFindsADefectOfOneMoment(t *testing.T) {
	const moment, fragile = 37 * time.Second, 500 * time.Millisecond
	config := quick(t)
	config.Faults, config.Seeds, config.Safety = []fault.Fault{fault.Gray("api", 1)}, 300, 2*time.Minute
	x, _ := explored(t, config, func(t testing.TB, w *drtest.World) {
		api(w)
		w.Region("east").Go("promotion", func(ctx context.Context) error {
			time.Sleep(moment)
			for _, f := range w.History().Faults() {
				if !f.Ended {
					return nil // it is careful while something is wrong
				}
			}
			w.Mark(history.MarkPromoted, "db", "")
			time.Sleep(fragile)
			for _, f := range w.History().Faults() {
				if f.From >= moment && f.From < moment+fragile {
					t.Error("torn")
				}
			}
			return nil
		})
	})
	f := x.Finding
	if f == nil || len(f.Scenario.Events) != 1 {
		t.Fatalf("%v", x)
	}
	e := f.Scenario.Events[0]
	if e.Cond == nil && (e.Start < moment || e.Start >= moment+fragile) {
		t.Errorf("shrunk to %v", f.Scenario.Go())
	}
	t.Logf("seed %d: %s", f.Seed, f.Scenario.Go())
	again, problems := explored(t, config, func(t testing.TB, w *drtest.World) { api(w) })
	if len(problems) != 0 || !slices.Contains(again.Replayed, f.File) {
		t.Errorf("the regression: %v %q", again, problems)
	}
}

// A Region of the core is healed with all that is in it.
func TestCoreRegions(t *testing.T) {
	config := quick(t)
	config.Seeds, config.CoreRegions = 60, []string{"east", "users"}
	config.Recover = []check.RTOCheck{check.RTO(30 * time.Second)}
	host, stays := 0, 0
	for _, x := range storms(t, config) {
		for _, f := range x.w.History().Faults() {
			acts := x.s.Events[f.Event].Fault.Names()
			core := !slices.ContainsFunc(acts, func(name string) bool { return !slices.Contains([]string{"east", "users", "api"}, name) })
			switch {
			case core && f.To > config.Safety+time.Millisecond:
				t.Errorf("%v stays until %v, want it over at %v", f.Text, f.To, config.Safety)
			case core && slices.Contains(acts, "api"):
				host++
			case !core && !f.Ended:
				stays++
			}
		}
	}
	if host == 0 || stays == 0 {
		t.Errorf("%d faults of the core's host, %d others that stay, want some of both", host, stays)
	}
	config.CoreRegions = []string{"mars"}
	if _, problems := explored(t, config, func(_ testing.TB, w *drtest.World) { api(w) }); len(problems) == 0 || !strings.Contains(problems[0], `CoreRegions: the World has no Region "mars"`) {
		t.Errorf("an unknown Region: %q", problems)
	}
}
