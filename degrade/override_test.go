package degrade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// memory is a Store that can be made to fail, forget and conflict.
type memory struct {
	mu        sync.Mutex // guards the following
	set       OverrideSet
	err       error
	conflicts int
}

func (m *memory) LoadOverrides(context.Context) (OverrideSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set, m.err
}

func (m *memory) SwapOverrides(_ context.Context, old uint64, next OverrideSet) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil:
		return m.err
	case m.conflicts > 0:
		m.conflicts--
		return ErrConflict
	case m.set.Revision != old:
		return ErrConflict
	}
	m.set = next
	return nil
}

func (m *memory) do(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func override(feature string, level Level) Override {
	return Override{Feature: feature, Level: level, TTL: time.Hour, Reason: "payments are down", By: "ana"}
}

func mustOverride(t *testing.T, c *Controller, o Override) string {
	t.Helper()
	id, err := c.Override(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOverrideRefusalsAreSentencesAndAudited(t *testing.T) {
	var log bytes.Buffer
	c := build(t, Config{Audit: &log, MaxTTL: 2 * time.Hour})
	c.Feature("f", FeatureConfig{})
	c.Feature("narrow", FeatureConfig{Never: Offline, AtLeast: Limited})
	c.Dependency("db", DependencyConfig{})
	tests := []struct {
		want   string
		change func(*Override)
	}{
		{"no reason", func(o *Override) { o.Reason = " " }},
		{"nobody named", func(o *Override) { o.By = "" }},
		{"longer than", func(o *Override) { o.Reason = strings.Repeat("x", 501) }},
		{"no TTL", func(o *Override) { o.TTL = 0 }},
		{"no TTL", func(o *Override) { o.TTL = -1 }},
		{"above Config.MaxTTL", func(o *Override) { o.TTL = 3 * time.Hour }},
		{"both a TTL and UntilCleared", func(o *Override) { o.UntilCleared = true }},
		{"either a feature", func(o *Override) { o.Feature = "" }},
		{"either a feature", func(o *Override) { o.Dependency = "db" }},
		{"no feature", func(o *Override) { o.Feature = "checkuot" }},
		{"no dependency", func(o *Override) { o.Feature, o.Dependency = "", "d" }},
		{"not a level", func(o *Override) { o.Level = 8 }},
		{"would change nothing", func(o *Override) { o.Level = Normal }},
		{"would change nothing", func(o *Override) { o.AtMost, o.Unsafe, o.Level = true, true, Offline }},
		{"demands Unsafe", func(o *Override) { o.AtMost = true }},
		{"is never offline", func(o *Override) { o.Feature, o.Level = "narrow", Offline }},
		{"at least limited", func(o *Override) { o.Feature, o.Level, o.AtMost, o.Unsafe = "narrow", Normal, true, true }},
		{"announced end", func(o *Override) { o.Maintenance, o.Level = true, Limited }},
		{"State is for dependencies", func(o *Override) { o.State = StateDown }},
		{"not to unknown", func(o *Override) { o.Feature, o.Dependency = "", "db" }},
		{"demands Unsafe", func(o *Override) { o.Feature, o.Dependency, o.State = "", "db", StateOK }},
		{"are for features", func(o *Override) { o.Feature, o.Dependency, o.State = "", "db", StateDown }},
		{"needs Config.Overrides", func(o *Override) { o.Scope = ScopeFleet }},
		{"not a scope", func(o *Override) { o.Scope = 7 }},
		{"a Region with scope", func(o *Override) { o.Region = "eu" }},
	}
	for _, tt := range tests {
		o := override("f", ReadOnly)
		tt.change(&o)
		if id, err := c.Override(t.Context(), o); !errors.Is(err, ErrOverride) || !contains(err.Error(), tt.want) || id != "" {
			t.Errorf("Override(%+v) = %q, %v, want a refusal with %q", o, id, err, tt.want)
		}
	}
	if n := len(c.Overrides()); n != 0 {
		t.Errorf("%d overrides are in force", n)
	}
	if n := strings.Count(log.String(), `"refused":"degrade: override refused`); n != len(tests) {
		t.Errorf("%d refusals in the audit log, want %d", n, len(tests))
	}
	if _, err := audit.Verify(&log, audit.Head{}); err != nil {
		t.Error(err)
	}
}

// TestOverrideTimeline: set, announced at a tenth, extended, expired, back in steps.
func TestOverrideTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := start(t, Config{Audit: &log, Instance: "i-1"})
		f := c.Feature("f", FeatureConfig{})
		var events []string
		c.Subscribe(func(e Event) { events = append(events, string(e.Kind)+" "+e.From+">"+e.To) })
		begin := time.Now()
		id := mustOverride(t, c, override("f", ReadOnly))
		wantLevel(t, f, ReadOnly, "as soon as Override returns")
		time.Sleep(54*time.Minute + time.Second)
		synctest.Wait()
		if !contains(strings.Join(events, "\n"), "override expiring") {
			t.Errorf("no announcement a tenth before the end: %v", events)
		}
		if err := c.Extend(t.Context(), id, 30*time.Minute, Request{"still down", "ben"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Minute)
		wantLevel(t, f, ReadOnly, "extended")
		took := until(t, f, Normal, 3*time.Minute)
		if end := time.Since(begin); end < 84*time.Minute+49*time.Second || end > 85*time.Minute+13*time.Second {
			t.Errorf("back at Normal after %v (%v in the wait), want two steps of 30 s ± 20 %% after 84 m 1 s", end, took)
		}
		synctest.Wait()
		for _, want := range []string{"override >read-only", "level normal>read-only", "override expired read-only>automatic", "level read-only>limited", "level limited>normal"} {
			if !contains(strings.Join(events, "\n"), want) {
				t.Errorf("events lack %q: %v", want, events)
			}
		}
		for _, want := range []string{
			`"action":"degrade.override.set","subject":"feature f on instance","who":"ana","why":"payments are down","from":"normal","to":"read-only"`,
			`"action":"degrade.override.extend"`, `"action":"degrade.override.expire"`,
		} {
			if !contains(log.String(), want) {
				t.Errorf("audit log lacks %s:\n%s", want, log.String())
			}
		}
		if head, err := audit.Verify(&log, audit.Head{}); err != nil || head.Sequence != 3 {
			t.Errorf("Verify = %v, %v, want 3 records", head, err)
		}
	})
}

func TestClearIsAuditedAndGoesBackToAutomaticNotToNormal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait})
		d := c.Dependency("reco", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Optional: d})
		id := mustOverride(t, c, override(All, Offline))
		if c.Level() != Offline {
			t.Errorf("root level = %v", c.Level())
		}
		d.Report(StateDown)
		for _, by := range []Request{{"", "ana"}, {"x", ""}} {
			if err := c.Clear(t.Context(), id, by); !errors.Is(err, ErrOverride) {
				t.Errorf("Clear(%+v) = %v, want a refusal", by, err)
			}
		}
		if err := c.Clear(t.Context(), id, Request{"over", "ana"}); err != nil {
			t.Fatal(err)
		}
		wantLevel(t, f, Limited, "cleared while a dependency is down")
		if err := c.Clear(t.Context(), id, Request{"over", "ana"}); !errors.Is(err, ErrOverride) {
			t.Errorf("second Clear = %v, want a refusal", err)
		}
		if err := c.Extend(t.Context(), "nope", time.Hour, Request{"x", "y"}); !errors.Is(err, ErrOverride) {
			t.Errorf("Extend of nothing = %v, want a refusal", err)
		}
	})
}

func TestExtendChecksItsTTL(t *testing.T) {
	c := build(t, Config{})
	c.Feature("f", FeatureConfig{})
	o := override("f", ReadOnly)
	o.TTL, o.UntilCleared = 0, true
	id := mustOverride(t, c, o)
	for _, ttl := range []time.Duration{0, -1, 25 * time.Hour} {
		if err := c.Extend(t.Context(), id, ttl, Request{"x", "y"}); !errors.Is(err, ErrOverride) {
			t.Errorf("Extend(%v) = %v, want a refusal", ttl, err)
		}
	}
	if c.Overrides()[0].Until != nil {
		t.Error("a refused Extend gave it an end")
	}
}

func TestAtMostKeepsAFeatureBetterThanItsNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Reads: d})
		d.Report(StateDown)
		o := override("f", Limited)
		o.AtMost, o.Unsafe = true, true
		mustOverride(t, c, o)
		wantLevel(t, f, Limited, "at most Limited")
		time.Sleep(time.Hour + time.Second)
		wantLevel(t, f, Offline, "after its end")
	})
}

func TestDependencyOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Hold: NoWait, Region: "eu"})
		d := c.Dependency("pay", DependencyConfig{Home: "eu", Stubbed: true})
		plain := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Writes: AllOf(d, plain)})
		strict := c.Feature("strict", FeatureConfig{Writes: d, NoStub: true})
		stub := NewStub(d, "real", "stub")
		if got := stub.Pick(t.Context()); got != "real" {
			t.Errorf("Pick = %q at home", got)
		}
		d.Report(StateDown)
		wantLevel(t, f, ReadOnly, "down at home: no stub without an override")
		id := mustOverride(t, c, Override{Dependency: "pay", State: StateDown, TTL: time.Hour, Reason: "use the stub", By: "ana"})
		if got := stub.Pick(t.Context()); got != "stub" {
			t.Errorf("Pick = %q with the override", got)
		}
		wantLevel(t, f, Limited, "stubbed")
		wantLevel(t, strict, ReadOnly, "stubbed, but takes no stub")
		if err := c.Clear(t.Context(), id, Request{"x", "y"}); err != nil {
			t.Fatal(err)
		}
		d.Report(StateOK)
		mustOverride(t, c, Override{Dependency: "db", State: StateOK, Unsafe: true, TTL: time.Hour, Reason: "its check is broken", By: "ana"})
		plain.Report(StateDown)
		wantLevel(t, f, Normal, "forced ok")
		time.Sleep(time.Hour + time.Second)
		wantLevel(t, f, ReadOnly, "believed again")
	})
}

// fleet returns two instances that share a store.
func fleet(t *testing.T, m *memory) (a, b *Controller, fa, fb *Feature) {
	a = start(t, Config{Overrides: m, Region: "eu", Hold: NoWait, Instance: "a"})
	b = start(t, Config{Overrides: m, Region: "us", Hold: NoWait, Instance: "b"})
	return a, b, a.Feature("f", FeatureConfig{}), b.Feature("f", FeatureConfig{})
}

func TestFleetAndRegionOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a, b, fa, fb := fleet(t, m)
		o := override("f", ReadOnly)
		o.Scope = ScopeFleet
		m.do(func() { m.conflicts = 3 })
		id := mustOverride(t, a, o)
		wantLevel(t, fa, ReadOnly, "where it was set")
		time.Sleep(13 * time.Second)
		wantLevel(t, fb, ReadOnly, "elsewhere after RefreshEvery")
		if err := b.Clear(t.Context(), id, Request{"over", "ben"}); err != nil {
			t.Fatal(err)
		}
		wantLevel(t, fb, Normal, "where it was cleared")
		time.Sleep(13 * time.Second)
		wantLevel(t, fa, Normal, "elsewhere")
		o.Scope = ScopeRegion
		mustOverride(t, a, o)
		time.Sleep(13 * time.Second)
		wantLevel(t, fa, ReadOnly, "in the Region")
		wantLevel(t, fb, Normal, "in another Region")
	})
}

// TestUnreachableStoreCancelsNothing: what is in force lives until its own end; nothing new is applied.
func TestUnreachableStoreCancelsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a, b, fa, fb := fleet(t, m)
		o := override("f", ReadOnly)
		o.Scope = ScopeFleet
		mustOverride(t, a, o)
		time.Sleep(13 * time.Second)
		m.do(func() { m.err = errDown })
		time.Sleep(30 * time.Minute)
		wantLevel(t, fa, ReadOnly, "store unreachable")
		wantLevel(t, fb, ReadOnly, "store unreachable")
		if s := b.Status(); !contains(s.OverrideError, "down") {
			t.Errorf("status says %q of the store", s.OverrideError)
		}
		o.Level = Offline
		if _, err := a.Override(t.Context(), o); !errors.Is(err, errDown) || errors.Is(err, ErrOverride) {
			t.Errorf("Override = %v, want the store's error", err)
		}
		wantLevel(t, fa, ReadOnly, "nothing new is applied")
		o.Scope = ScopeInstance
		mustOverride(t, a, o)
		wantLevel(t, fa, Offline, "this instance alone can be overridden")
		time.Sleep(time.Hour)
		wantLevel(t, fb, Normal, "after its own end")
	})
}

func TestStoreThatForgetsCancelsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a, _, fa, fb := fleet(t, m)
		o := override("f", ReadOnly)
		o.Scope = ScopeFleet
		mustOverride(t, a, o)
		time.Sleep(13 * time.Second)
		m.do(func() { m.set, m.conflicts = OverrideSet{}, 1000 }) // nor does it take anything
		time.Sleep(time.Minute)
		wantLevel(t, fa, ReadOnly, "store forgot")
		if s := a.Status(); !contains(s.OverrideError, "lost data") {
			t.Errorf("status says %q of the store", s.OverrideError)
		}
		m.do(func() { m.conflicts = 0 })
		second := override(All, Limited)
		second.Scope = ScopeFleet
		mustOverride(t, a, second) // puts back what was lost
		time.Sleep(13 * time.Second)
		wantLevel(t, fb, ReadOnly, "healed by the next change")
		m.do(func() {
			if len(m.set.Overrides) != 2 || m.set.Revision != 2 {
				t.Errorf("store holds %+v, want both overrides at revision 2", m.set)
			}
		})
	})
}

func TestConflictsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{conflicts: 1000}
		a, _, _, _ := fleet(t, m)
		o := override("f", ReadOnly)
		o.Scope = ScopeFleet
		if _, err := a.Override(t.Context(), o); !errors.Is(err, ErrConflict) {
			t.Errorf("Override = %v, want ErrConflict", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Override(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("Override = %v, want the caller's end", err)
		}
	})
}

func TestInsaneStoreContentIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{set: OverrideSet{Revision: 1, Overrides: []Override{
			{ID: "1", Feature: "f", Level: 9, UntilCleared: true, Reason: "r", By: "b"},
			{ID: "2", Feature: "f", Level: Offline, Reason: "r", By: "b"},
			{Feature: "f", Level: Offline, UntilCleared: true, Reason: "r", By: "b"},
			{ID: "3", Feature: "f", Level: Offline, Until: new(time.Now().Add(-time.Hour)), Reason: "r", By: "b"},
			{ID: "4", Feature: "f", Level: Limited, UntilCleared: true, Reason: "r", By: "b"},
			{ID: "5", Feature: "f", Level: Offline, UntilCleared: true, By: "b"},
			{ID: "6", Feature: "f", Level: Offline, UntilCleared: true, Reason: "r"},
			{ID: "7", Feature: "f", Level: Normal, AtMost: true, UntilCleared: true, Reason: "r", By: "b"},
			{ID: "8", Dependency: "db", State: StateOK, UntilCleared: true, Reason: "r", By: "b"},
		}}}
		a, _, fa, _ := fleet(t, m)
		time.Sleep(time.Second)
		wantLevel(t, fa, Limited, "the one sane override")
		if n := len(a.Overrides()); n != 1 {
			t.Errorf("%d overrides in force, want 1", n)
		}
	})
}

func TestOverridesAndAuditChainSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := &memory{}
		cfg := Config{LastKnownGood: filepath.Join(t.TempDir(), "state"), Audit: &log, Overrides: m, Hold: NoWait}
		c := build(t, cfg)
		stop := run(t, c)
		c.Feature("f", FeatureConfig{})
		mustOverride(t, c, override("f", ReadOnly))
		o := override("f", Limited)
		o.Scope, o.TTL = ScopeFleet, 2*time.Hour
		mustOverride(t, c, o)
		stop()
		m.do(func() { m.err = errDown })

		again := start(t, cfg)
		f := again.Feature("f", FeatureConfig{})
		wantLevel(t, f, ReadOnly, "after a restart, store unreachable")
		time.Sleep(time.Hour + time.Second)
		wantLevel(t, f, Limited, "the local one has ended, the shared one has not")
		time.Sleep(time.Hour)
		wantLevel(t, f, Normal, "both have ended")
		mustOverride(t, again, override("f", Offline))
		if head, err := audit.Verify(bytes.NewReader(log.Bytes()), audit.Head{}); err != nil || head.Sequence != 5 {
			t.Errorf("Verify = %v, %v, want one chain of 5 records over the restart:\n%s", head, err, log.String())
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errDown }

func TestFullAuditDiskStopsNoOperator(t *testing.T) {
	c := build(t, Config{Audit: brokenWriter{}})
	f := c.Feature("f", FeatureConfig{})
	mustOverride(t, c, override("f", ReadOnly))
	wantLevel(t, f, ReadOnly, "audit broken")
	if n := c.Status().Audit.Failed; n != 1 {
		t.Errorf("%d failed records, want 1", n)
	}
}

func TestOverrideJSONRoundTrip(t *testing.T) {
	c := build(t, Config{})
	c.Feature("f", FeatureConfig{})
	mustOverride(t, c, override("f", ReadOnly))
	want := c.Overrides()
	text, err := json.Marshal(want)
	var got []Override
	if err != nil || json.Unmarshal(text, &got) != nil || got[0].ID != want[0].ID || !got[0].Until.Equal(*want[0].Until) || got[0].Level != ReadOnly {
		t.Errorf("%s became %+v (%v)", text, got, err)
	}
}

// TestStoreThatForgotIsPutRight: by whoever notices first, and without losing what was set there since.
func TestStoreThatForgotIsPutRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a, _, fa, _ := fleet(t, m)
		for range 5 {
			o := override("f", ReadOnly)
			o.Scope = ScopeFleet
			mustOverride(t, a, o)
		}
		m.do(func() { m.set = OverrideSet{} })
		time.Sleep(time.Millisecond)
		fresh := start(t, Config{Overrides: m}) // knows nothing of what was
		fc := fresh.Feature("f", FeatureConfig{})
		o := override(All, Limited)
		o.Scope, o.By = ScopeFleet, "ben"
		mustOverride(t, fresh, o)
		time.Sleep(30 * time.Second)
		wantLevel(t, fa, ReadOnly, "what was in force stays")
		wantLevel(t, fc, ReadOnly, "and reaches those who came later")
		for name, c := range map[string]*Controller{"a": a, "fresh": fresh} {
			if s := c.Status(); len(s.Overrides) != 6 || s.OverrideError != "" {
				t.Errorf("%s: %d overrides, error %q, want 6 and none", name, len(s.Overrides), s.OverrideError)
			}
		}
	})
}

// TestStoreThatWentBackDoesNotBringBackWhatWasCleared: a fail-over may lose the clearing.
func TestStoreThatWentBackDoesNotBringBackWhatWasCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a, _, _, _ := fleet(t, m)
		o := override("f", ReadOnly)
		o.Scope = ScopeFleet
		id := mustOverride(t, a, o)
		var old OverrideSet
		m.do(func() { old = m.set })
		time.Sleep(time.Minute)
		if err := a.Clear(t.Context(), id, Request{"over", "ana"}); err != nil {
			t.Fatal(err)
		}
		m.do(func() { m.set = old })
		time.Sleep(30 * time.Second)
		if all := a.Overrides(); len(all) != 0 {
			t.Errorf("in force: %+v, want none", all)
		}
	})
}

func TestOverridesThatEndedMeanwhileAreToldAsExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := Config{LastKnownGood: filepath.Join(t.TempDir(), "state"), Audit: &log}
		c := build(t, cfg)
		c.Feature("f", FeatureConfig{})
		mustOverride(t, c, override("f", ReadOnly))
		time.Sleep(2 * time.Hour) // the process is down
		again := start(t, cfg)
		wantLevel(t, again.Feature("f", FeatureConfig{}), Normal, "it has ended")
		time.Sleep(time.Second)
		synctest.Wait()
		if !contains(log.String(), `"action":"degrade.override.expire","subject":"feature f on instance"`) {
			t.Errorf("its end is not in the audit log:\n%s", log.String())
		}
	})
}

// TestPullAtTheEndOfAnOverride: the store may be asked before the control loop has noticed.
func TestPullAtTheEndOfAnOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		c := build(t, Config{Overrides: m}) // without Run, which would notice
		c.Feature("f", FeatureConfig{})
		o := override("f", ReadOnly)
		o.Scope = ScopeFleet
		mustOverride(t, c, o)
		time.Sleep(2 * time.Hour)
		c.pullOverrides(t.Context())
		if e := c.Status().Recent; e[len(e)-1].Kind != EventLevel && e[len(e)-1].Kind != EventOverrideExpired || slices.ContainsFunc(e, func(e Event) bool { return e.Kind == EventOverrideCleared }) {
			t.Errorf("events = %+v, want the override expired and not cleared", e)
		}
	})
}

func TestAuditChainSurvivesACrashAfterARefusal(t *testing.T) {
	var log bytes.Buffer
	cfg := Config{LastKnownGood: filepath.Join(t.TempDir(), "state"), Audit: &log}
	for range 2 { // Run never ends: the process crashes
		c := build(t, cfg)
		c.Feature("f", FeatureConfig{})
		mustOverride(t, c, override("f", ReadOnly))
		if _, err := c.Override(t.Context(), override("g", ReadOnly)); err == nil {
			t.Fatal("an override of nothing was set")
		}
	}
	if head, err := audit.Verify(&log, audit.Head{}); err != nil || head.Sequence != 4 {
		t.Errorf("Verify = %v, %v, want one chain of 4 records", head, err)
	}
}

func TestReliefNamesItsOwnEnd(t *testing.T) {
	c := build(t, Config{})
	c.Feature("f", FeatureConfig{})
	mustOverride(t, c, override("f", Offline))
	o := override("f", Limited)
	o.AtMost, o.Unsafe, o.TTL = true, true, time.Minute
	mustOverride(t, c, o)
	if s := c.Status().Features[0]; s.Level != Limited || s.Until == nil || time.Until(*s.Until) > time.Minute {
		t.Errorf("status = %+v, want limited until the end of what relieves it", s)
	}
}
