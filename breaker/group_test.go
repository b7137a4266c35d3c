package breaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func inGroup(t *testing.T, cfg Config, group GroupConfig, f func(t *testing.T, g *Group)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, must(NewGroup(cfg, group))) })
}

// keysOf lists the keys g holds.
func keysOf(g *Group) []string {
	return slices.Sorted(maps.Keys(maps.Collect(g.All())))
}

func TestGroupKeepsABreakerPerKey(t *testing.T) {
	inGroup(t, quick, GroupConfig{}, func(t *testing.T, g *Group) {
		if err := g.Do(t.Context(), "a", fail); err != errBoom {
			t.Fatalf("Do = %v, want the call's error", err)
		}
		err := g.Do(t.Context(), "a", ok)
		open, _ := errors.AsType[*OpenError](err)
		if open == nil || open.Key != "a" || !strings.HasPrefix(err.Error(), `breaker "quick", key "a": open`) {
			t.Errorf("rejected with %v, want the key", err)
		}
		if err := g.Do(t.Context(), "b", ok); err != nil {
			t.Errorf("another key: %v", err)
		}
		first := g.Get("a")
		for range 5 {
			if again := g.Get("a"); again.State() != StateOpen || again != first {
				t.Error("Get makes another breaker for the same key")
			}
		}
		if got := fmt.Sprint(keysOf(g)); got != "[a b]" {
			t.Errorf("All yields %s, want [a b]", got)
		}
		for range g.All() {
			break // a walk may end early
		}
	})
}

func TestGroupPerKey(t *testing.T) {
	var log bytes.Buffer
	base := with(quick, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	perKey := func(key string, base Config) Config {
		switch key {
		case "patient":
			base.ConsecutiveFailures = 3
		case "wrong":
			base.Window = 1
		}
		base.Name = "ignored"
		return base
	}
	inGroup(t, base, GroupConfig{PerKey: perKey}, func(t *testing.T, g *Group) {
		for key, failures := range map[string]int{"patient": 3, "wrong": 1, "other": 1} {
			times(failures-1, g.Get(key), errBoom)
			wantState(t, g.Get(key), StateClosed)
			times(1, g.Get(key), errBoom)
			wantState(t, g.Get(key), StateOpen)
		}
		if got := g.Get("patient").cfg.Name; got != "quick" {
			t.Errorf("name %q, want the group's", got)
		}
	})
	if !strings.Contains(log.String(), `Config.Window: 1ns is below`) {
		t.Errorf("a wrong Config of PerKey is not logged: %s", log.String())
	}
}

func TestGroupDropsIdleBreakers(t *testing.T) {
	inGroup(t, quick, GroupConfig{Idle: time.Minute}, func(t *testing.T, g *Group) {
		g.Get("idle")
		mustForce(t, g.Get("forced"), operator(ModeOpen, time.Hour))
		for range 20 {
			g.Get("busy")
			time.Sleep(5 * time.Second)
		}
		if got := fmt.Sprint(keysOf(g)); got != "[busy forced]" {
			t.Errorf("after 100 s: %s, want [busy forced]", got)
		}
		time.Sleep(2 * time.Hour)
		if got := fmt.Sprint(keysOf(g)); got != "[]" {
			t.Errorf("after two hours: %s, want none", got)
		}
		times(1, g.Get("idle"), errBoom) // made anew, and its sweep with it
		wantState(t, g.Get("idle"), StateOpen)
		time.Sleep(2 * time.Minute)
		if got := len(keysOf(g)); got != 0 {
			t.Errorf("%d breakers after another rest, want 0", got)
		}
	})
}

func TestGroupNeverIdle(t *testing.T) {
	inGroup(t, quick, GroupConfig{Idle: Off}, func(t *testing.T, g *Group) {
		g.Get("a")
		time.Sleep(1000 * time.Hour)
		if got := len(keysOf(g)); got != 1 {
			t.Errorf("%d breakers, want 1", got)
		}
	})
}

func TestGroupIsBounded(t *testing.T) {
	inGroup(t, quick, GroupConfig{Max: 10}, func(t *testing.T, g *Group) {
		times(1, g.Get("open"), errBoom)
		mustForce(t, g.Get("forced"), operator(ModeClosed, time.Hour))
		for i := range 10_000 {
			g.Get(fmt.Sprint("key", i))
			if n := len(g.members); n > 10 {
				t.Fatalf("%d breakers, want 10 at most", n)
			}
		}
		keys := keysOf(g)
		if !slices.Contains(keys, "open") || !slices.Contains(keys, "forced") {
			t.Errorf("%v: an open or forced breaker was dropped before a closed one", keys)
		}
	})
}

func TestMaxOpenShare(t *testing.T) {
	inGroup(t, quick, GroupConfig{MaxOpenShare: 0.3}, func(t *testing.T, g *Group) {
		for i := range 10 {
			g.Get(fmt.Sprint(i))
		}
		openKeys := func() (n int) {
			for _, b := range g.All() {
				if b.State() != StateClosed {
					n++
				}
			}
			return n
		}
		for _, b := range g.All() {
			times(2, b, errBoom)
		}
		if got := openKeys(); got != 3 {
			t.Errorf("%d of 10 open, want 3", got)
		}
		time.Sleep(time.Second + time.Millisecond)
		if got := openKeys(); got != 3 {
			t.Errorf("%d of 10 open or half-open, want 3", got)
		}
		for _, b := range g.All() {
			times(1, b, nil) // three recover, and give their places back
		}
		if got := openKeys(); got != 0 {
			t.Fatalf("%d still open", got)
		}
		for _, b := range g.All() {
			times(1, b, errBoom)
		}
		if got := openKeys(); got != 3 {
			t.Errorf("%d of 10 open the second time, want 3", got)
		}
		for _, b := range g.All() { // an operator is not bound
			if b.State() == StateClosed {
				mustForce(t, b, operator(ModeOpen, time.Minute))
			}
		}
		if got := openKeys(); got != 10 {
			t.Errorf("%d of 10 open by force, want all", got)
		}
		time.Sleep(time.Hour) // idle: all are dropped
		if got := g.pool.open.Load(); got != 0 {
			t.Errorf("%d places of the share are lost", got)
		}
	})
}

func TestMaxOpenShareAlwaysAllowsOne(t *testing.T) {
	inGroup(t, quick, GroupConfig{MaxOpenShare: 0.01}, func(t *testing.T, g *Group) {
		times(1, g.Get("a"), errBoom)
		wantState(t, g.Get("a"), StateOpen)
		times(1, g.Get("b"), errBoom)
		wantState(t, g.Get("b"), StateClosed)
		if got := g.Get("b").Stats().Held; got != 1 {
			t.Errorf("held %d times, want 1", got)
		}
	})
}

func TestGroupConcurrently(t *testing.T) {
	g := must(NewGroup(quick, GroupConfig{Max: 20, MaxOpenShare: 0.5}))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 2000 {
				key := fmt.Sprint("key", (i*n)%40)
				result := error(nil)
				if n%3 == 0 {
					result = errBoom
				}
				_ = g.Do(context.Background(), key, func(context.Context) error { return result })
				if n%100 == 0 {
					keysOf(g)
					g.tally()
				}
			}
		})
	}
	wg.Wait()
	if n := len(keysOf(g)); n > 20 {
		t.Errorf("%d breakers, want 20 at most", n)
	}
}

func TestGroupDoAllocatesNothing(t *testing.T) {
	g := must(NewGroup(Config{}, GroupConfig{}))
	ctx := context.Background()
	if got := testing.AllocsPerRun(200, func() { _ = g.Do(ctx, "eu-west-1", ok) }); got != 0 {
		t.Errorf("Do allocates %v times, want 0", got)
	}
}

// A share of the breakers that can be met exactly is, though 0.29 × 100 is less than 29 in floating point.
func TestMaxOpenShareIsExact(t *testing.T) {
	for percent := 1; percent <= 100; percent++ {
		p := openPool{share: float64(percent) / 100}
		p.size.Store(100)
		for p.open.Load() <= 100 && p.enter() {
		}
		if got := p.open.Load(); got != int64(percent) {
			t.Errorf("%d of 100 may be open, want %d", got, percent)
		}
	}
}

// A flood of keys that are used once must not keep a busy breaker from seeing that its dependency is down.
func TestFloodOfKeysKeepsBusyBreakers(t *testing.T) {
	inGroup(t, Config{}, GroupConfig{Max: 20}, func(t *testing.T, g *Group) {
		for i := range 1000 {
			times(1, g.Get("busy"), errBoom)
			for j := range 10 {
				times(1, g.Get(fmt.Sprint(i, j)), nil)
			}
			if g.Get("busy").State() == StateOpen {
				return
			}
		}
		t.Error("the busy breaker has been dropped again and again and never opened")
	})
}
