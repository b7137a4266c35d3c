package degrade

import (
	"testing"
	"testing/synctest"
)

// TestDerivedLevels reports states and checks the level each combination leads to, at once.
func TestDerivedLevels(t *testing.T) {
	type states = map[string]State
	tests := []struct {
		name string
		say  states
		want Level
	}{
		{"nothing reported", nil, Normal},
		{"one of two read paths is enough", states{"db": StateOK, "replica": StateDown}, Normal},
		{"the other of two", states{"replica": StateOK, "db": StateDown}, ReadOnly},
		{"no read path", states{"db": StateDown, "replica": StateDown}, Offline},
		{"an optional one missing", states{"reco": StateDown}, Limited},
		{"worst wins", states{"reco": StateDown, "db": StateDown}, ReadOnly},
		{"one of all the writes need", states{"queue": StateDown}, ReadOnly},
		{"impaired write path", states{"queue": StateImpaired}, Limited},
		{"impaired optional", states{"reco": StateImpaired}, Limited},
		{"the best read path is impaired", states{"db": StateImpaired, "replica": StateDown}, Limited},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := build(t, Config{})
			dependencies := map[string]*Dependency{}
			for _, name := range []string{"db", "replica", "queue", "reco"} {
				dependencies[name] = c.Dependency(name, DependencyConfig{ImpairedAfter: NoWait})
			}
			d := func(name string) Need { return dependencies[name] }
			f := c.Feature("checkout", FeatureConfig{
				Reads: AnyOf(d("db"), d("replica")), Writes: AllOf(d("db"), d("queue")), Optional: d("reco"),
			})
			for name, s := range tt.say {
				dependencies[name].Report(s)
			}
			wantLevel(t, f, tt.want, tt.name)
		})
	}
}

func TestFeaturesNeedFeatures(t *testing.T) {
	tests := []struct {
		state State
		reads bool
		want  Level
	}{
		{StateDown, true, Offline},
		{StateImpaired, true, Limited},
		{StateOK, true, Normal},
	}
	for _, tt := range tests {
		c := build(t, Config{})
		d := c.Dependency("db", DependencyConfig{ImpairedAfter: NoWait})
		base := c.Feature("base", FeatureConfig{Reads: d})
		f := c.Feature("above", FeatureConfig{Reads: base})
		d.Report(tt.state)
		wantLevel(t, f, tt.want, tt.state.String())
	}
	c := build(t, Config{})
	d := c.Dependency("db", DependencyConfig{})
	base := c.Feature("base", FeatureConfig{Writes: d})
	reader, writer := c.Feature("reader", FeatureConfig{Reads: base}), c.Feature("writer", FeatureConfig{Writes: base})
	d.Report(StateDown)
	wantLevel(t, base, ReadOnly, "writes down")
	wantLevel(t, reader, Limited, "a read-only feature still serves readers")
	wantLevel(t, writer, ReadOnly, "a read-only feature serves no writer")
}

func TestClamps(t *testing.T) {
	c := build(t, Config{})
	d := c.Dependency("db", DependencyConfig{})
	never := c.Feature("never-offline", FeatureConfig{Reads: d, Never: Offline})
	atLeast := c.Feature("at-least-limited", FeatureConfig{AtLeast: Limited})
	d.Report(StateDown)
	wantLevel(t, never, ReadOnly, "Never Offline")
	wantLevel(t, atLeast, Limited, "AtLeast Limited")
	if s := c.Status().Features[1]; s.Cause != CauseDesign {
		t.Errorf("cause = %q, want %q", s.Cause, CauseDesign)
	}
}

func TestRegistrationRefusesWithASentence(t *testing.T) {
	c := build(t, Config{})
	other := build(t, Config{}).Dependency("foreign", DependencyConfig{})
	otherFeature := other.c.Feature("foreign", FeatureConfig{})
	db, cache := c.Dependency("db", DependencyConfig{}), c.Dependency("cache", DependencyConfig{})
	c.Feature("taken", FeatureConfig{})
	var cycle *Feature
	tests := []struct {
		name, want string
		cfg        FeatureConfig
	}{
		{"taken", "registered twice", FeatureConfig{}},
		{"Upper", "lower-case", FeatureConfig{}},
		{"", "lower-case", FeatureConfig{}},
		{"a cycle", "lower-case", FeatureConfig{}},
		{"cycle", "cannot need each other in a circle", FeatureConfig{Reads: cycle}},
		{"nil-dependency", "nil *Dependency", FeatureConfig{Reads: (*Dependency)(nil)}},
		{"nil-in-list", "nil Need", FeatureConfig{Writes: AllOf(db, nil)}},
		{"any-of-nothing", "can never be met", FeatureConfig{Optional: AllOf(AnyOf())}},
		{"foreign", "another Controller", FeatureConfig{Reads: AnyOf(db, other)}},
		{"foreign-feature", "another Controller", FeatureConfig{Reads: otherFeature}},
		{"same-fallback", `needs "db", which the primary read needs too`, FeatureConfig{Reads: AnyOf(cache, db), Fallback: AllOf(db)}},
		{"clamps", "forbidden by Never", FeatureConfig{AtLeast: ReadOnly, Never: ReadOnly}},
		{"no-level", "not a level", FeatureConfig{Never: 9}},
		{"hold", "negative", FeatureConfig{Hold: -2}},
		{"share", "between 0 and 1", FeatureConfig{Exercise: 1.5, Fallback: AllOf()}},
		{"exercise", "without Fallback", FeatureConfig{Exercise: 0.5}},
		{"fallbacks", "MaxFallbacks", FeatureConfig{MaxFallbacks: -5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantPanic(t, tt.want, func() { c.Feature(tt.name, tt.cfg) }) })
	}
	wantPanic(t, "registered twice", func() { c.Dependency("db", DependencyConfig{}) })
	wantPanic(t, "lower-case", func() { c.Dependency("9", DependencyConfig{}) })
	wantPanic(t, "negative", func() { c.Dependency("x", DependencyConfig{MaxAge: -1}) })
	wantPanic(t, "not NoWait", func() { c.Dependency("x", DependencyConfig{ImpairedAfter: -7}) })
	wantPanic(t, "without Home", func() { c.Dependency("x", DependencyConfig{Stubbed: true}) })
	wantPanic(t, "one source only", func() {
		c.Dependency("x", DependencyConfig{Ready: readyWhen(nil), Poll: pollOK})
	})
}

func TestConfigIsCheckedByField(t *testing.T) {
	tests := map[string]Config{
		"Config.Hold":         {Hold: -2},
		"Config.FlapWindow":   {FlapWindow: -1},
		"Config.PollEvery":    {PollEvery: 1},
		"Config.RefreshEvery": {RefreshEvery: -1},
		"Config.BlastShare":   {BlastShare: 2},
		"Config.Boot: level":  {Boot: 7},
		"Config.Boot: of":     {Boot: Offline},
	}
	for want, cfg := range tests {
		if _, err := New(cfg); err == nil || !contains(err.Error(), want) {
			t.Errorf("New = %v, want an error with %q", err, want)
		}
	}
}

func TestBubbleClean(t *testing.T) {
	for range 2 { // two bubbles in one process
		synctest.Test(t, func(t *testing.T) {
			c := start(t, Config{})
			d := c.Dependency("db", DependencyConfig{Poll: pollOK})
			f := c.Feature("f", FeatureConfig{Reads: d})
			synctest.Wait()
			wantLevel(t, f, Normal, "at start")
		})
	}
}
