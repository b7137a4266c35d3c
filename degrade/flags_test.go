package degrade

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// backend is a Provider that says what it is told to.
type backend struct {
	mu      sync.Mutex // guards the following
	set     FlagSet
	err     error
	loads   int
	asked   []string
	changed func()
}

func (b *backend) Load(_ context.Context, features []string) (FlagSet, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads, b.asked = b.loads+1, features
	return b.set, b.err
}

func (b *backend) say(levels map[string]Level, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set, b.err = FlagSet{Version: b.set.Version + "+", Levels: levels}, err
}

// watched is a backend that announces changes.
type watched struct{ backend }

func (w *watched) Watch(ctx context.Context, changed func()) error {
	w.mu.Lock()
	w.changed = changed
	w.mu.Unlock()
	<-ctx.Done()
	return nil
}

func TestParseFlags(t *testing.T) {
	good := map[string]map[string]Level{
		`{"levels":{}}`: {},
		`{"version":"7","levels":{"checkout":"read-only","*":"limited"},"confirm":true}`: {"checkout": ReadOnly, All: Limited},
	}
	for text, want := range good {
		if set, err := ParseFlags([]byte(text)); err != nil || !maps.Equal(set.Levels, want) {
			t.Errorf("ParseFlags(%s) = %v, %v, want %v", text, set, err, want)
		}
	}
	bad := []string{
		``, `null`, `{}`, `[]`, `7`, `{"levels":null}`, `{"version":"7"}`, `{"levels":{"a":"Offline"}}`, `{"levels":{"a":3}}`, `{"levels":{"a":null}}`, `{"version":null,"levels":{}}`, `{"levels":{"A":"offline"}}`,
		`{"levels":{"a":"offline","a":"normal"}}`, `{"levels":{},"levels":{}}`, `{"levels":{},"extra":1}`, `{"levels":{}} {}`, `{"levels":{}`,
		`{"levels":{"a":"offl`, `{"Levels":{}}`, `{"levels":{"":"offline"}}`, `{"levels":{},"confirm":"yes"}`, `{"levels":{"a":{"b":"offline"}}}`, `{"levels":["offline"]}`,
		`{"version":{"a":1},"levels":{}}`, strings.Repeat(" ", maxFlags+1),
	}
	for _, text := range bad {
		if set, err := ParseFlags([]byte(text)); err == nil {
			t.Errorf("ParseFlags(%.60s) = %v, want an error", text, set)
		}
	}
}

func FuzzParseFlags(f *testing.F) {
	for _, seed := range []string{`{"version":"7","levels":{"checkout":"read-only","*":"limited"},"confirm":true}`, `{"levels":{"a":"offline","a":"normal"}}`, `{"levels":{}} 1`, `[{}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseFlags(data)
		if err != nil {
			return
		}
		for name, level := range set.Levels {
			if level > Offline || name != All && !validName.MatchString(name) {
				t.Errorf("%q was accepted with %q at %v", data, name, level)
			}
		}
		text, err := json.Marshal(set)
		if err != nil {
			t.Fatalf("an accepted set does not marshal: %v", err)
		}
		if again, err := ParseFlags(text); err != nil || !again.equal(&set) {
			t.Errorf("%q became %s, which became %v (%v)", data, text, again, err)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	good, _ := encodeState(&state{Flags: &FlagSet{Levels: map[string]Level{"a": Offline}}, Local: []Override{{ID: "1", Feature: "a", UntilCleared: true}}})
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"sha256":"","state":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeState(data)
		if err == nil && s.Flags != nil && s.Flags.check() != nil {
			t.Errorf("%q was accepted", data)
		}
	})
}

func TestFlagsMoveFeatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.say(map[string]Level{}, nil)
		c := start(t, Config{Provider: b, Hold: NoWait})
		one, two, three := c.Feature("one", FeatureConfig{}), c.Feature("two", FeatureConfig{}), c.Feature("three", FeatureConfig{Never: ReadOnly})
		time.Sleep(time.Second)
		b.say(map[string]Level{"one": ReadOnly, All: Limited, "three": ReadOnly, "elsewhere": Offline}, nil)
		time.Sleep(13 * time.Second)
		wantLevel(t, one, ReadOnly, "flag")
		wantLevel(t, two, Limited, "flag for all")
		wantLevel(t, three, Limited, "flag beyond Never")
		if s := c.Status(); !slices.Equal(s.Flags.Unknown, []string{"elsewhere"}) || s.Flags.Source != sourceBackend || s.Level != Limited {
			t.Errorf("status = %+v", s.Flags)
		}
		b.mu.Lock()
		if !slices.Equal(b.asked, []string{"one", "three", "two"}) {
			t.Errorf("provider was asked for %v", b.asked)
		}
		b.mu.Unlock()
		b.say(map[string]Level{}, nil)
		time.Sleep(13 * time.Second)
		wantLevel(t, one, Normal, "flag gone")
	})
}

// TestBadSetsLeaveTheLastGoodOneWhole covers errors, panics, malformed sets and the blast guard.
func TestBadSetsLeaveTheLastGoodOneWhole(t *testing.T) {
	bad := map[string]func(*backend){
		"error":         func(b *backend) { b.say(nil, errDown) },
		"no levels":     func(b *backend) { b.say(nil, nil) },
		"no level":      func(b *backend) { b.say(map[string]Level{"b": Offline, "a": 9}, nil) },
		"bad name":      func(b *backend) { b.say(map[string]Level{"b": ReadOnly, "A": ReadOnly}, nil) },
		"half of all":   func(b *backend) { b.say(map[string]Level{"b": Offline, "c": Offline}, nil) },
		"everything":    func(b *backend) { b.say(map[string]Level{All: Offline}, nil) },
		"all but named": func(b *backend) { b.say(map[string]Level{All: Offline, "a": Limited}, nil) },
	}
	for name, spoil := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.say(map[string]Level{"a": Limited}, nil)
				c := start(t, Config{Provider: b})
				var features []*Feature
				for _, n := range []string{"a", "b", "c", "d"} {
					features = append(features, c.Feature(n, FeatureConfig{}))
				}
				time.Sleep(13 * time.Second)
				spoil(b)
				time.Sleep(time.Minute)
				wantLevel(t, features[0], Limited, "last good")
				for _, f := range features[1:] {
					wantLevel(t, f, Normal, "bad set")
				}
				s := c.Status()
				if s.Flags.Error == "" || time.Since(*s.Flags.Fetched) < 48*time.Second {
					t.Errorf("status = %+v, want the error and an age", s.Flags)
				}
				rejected := 0
				for _, e := range s.Recent {
					if e.Kind == EventFlagsRejected {
						rejected++
					}
				}
				if rejected != 1 || c.refusedSets.Load() < 4 {
					t.Errorf("%d events and %d counted, want one event for one reason and every load counted", rejected, c.refusedSets.Load())
				}
				b.say(map[string]Level{"b": ReadOnly}, nil)
				time.Sleep(13 * time.Second)
				wantLevel(t, features[1], ReadOnly, "good again")
				if s := c.Status(); s.Flags.Error != "" {
					t.Errorf("error %q stays", s.Flags.Error)
				}
			})
		})
	}
}

func TestBlastGuardLetsConfirmedAndUnchangedSetsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{set: FlagSet{Levels: map[string]Level{All: Offline}, Confirm: true}}
		c := start(t, Config{Provider: b})
		f := c.Feature("a", FeatureConfig{})
		time.Sleep(13 * time.Second)
		wantLevel(t, f, Offline, "confirmed")
		b.say(map[string]Level{"a": Offline}, nil) // no longer confirmed, but moves nothing
		time.Sleep(13 * time.Second)
		if s := c.Status(); s.Flags.Error != "" || s.Flags.Version != "+" {
			t.Errorf("status = %+v, want the new set", s.Flags)
		}
	})
}

func TestPanickingProviderAndWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Provider: panicking{}})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Reads: d})
		time.Sleep(time.Minute)
		if s := c.Status(); !contains(s.Flags.Error, "panicked: boom") {
			t.Errorf("status = %+v", s.Flags)
		}
		d.Report(StateDown)
		wantLevel(t, f, Offline, "the rest works")
	})
}

type panicking struct{}

func (panicking) Load(context.Context, []string) (FlagSet, error) { panic("boom") }
func (panicking) Watch(context.Context, func()) error             { panic("boom") }

func TestWatchHintsAreUsedAndCannotFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &watched{}
		b.say(map[string]Level{}, nil)
		c := start(t, Config{Provider: b})
		f := c.Feature("f", FeatureConfig{})
		time.Sleep(time.Second)
		b.say(map[string]Level{"f": Limited}, nil)
		b.changed()
		time.Sleep(hintSpacing)
		synctest.Wait()
		wantLevel(t, f, Limited, "right after a hint")
		before := b.loads
		for range 1000 {
			b.changed()
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := b.loads - before; n < 5 || n > 11 {
			t.Errorf("a second of hints led to %d loads, want about 10", n)
		}
	})
}

func TestStaggerDelaysEachInstanceDifferently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.say(map[string]Level{"f": Limited}, nil)
		var took []time.Duration
		for range 5 {
			c := start(t, Config{Provider: b, Stagger: time.Minute})
			took = append(took, until(t, c.Feature("f", FeatureConfig{}), Limited, time.Minute))
		}
		if slices.Max(took)-slices.Min(took) < time.Second {
			t.Errorf("all instances took %v", took)
		}
	})
}

// TestBootOrder: fresh, else last known good, else Config.Boot.
func TestBootOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lkg")
		b := &backend{}
		b.say(nil, errDown)
		cfg := Config{Provider: b, LastKnownGood: path, Boot: ReadOnly, Hold: NoWait}
		boot := func() (*Controller, *Feature, func()) {
			c := build(t, cfg)
			f := c.Feature("f", FeatureConfig{})
			return c, f, run(t, c)
		}
		c, f, stop := boot()
		wantLevel(t, f, ReadOnly, "neither backend nor file")
		if s := c.Status().Features[0]; s.Cause != CauseBoot {
			t.Errorf("cause = %q, want %q", s.Cause, CauseBoot)
		}
		time.Sleep(time.Minute)
		wantLevel(t, f, ReadOnly, "still neither")
		b.say(map[string]Level{"f": Limited}, nil)
		time.Sleep(13 * time.Second)
		wantLevel(t, f, Limited, "fresh")
		stop()

		b.say(nil, errDown)
		time.Sleep(time.Hour)
		c, f, stop = boot()
		wantLevel(t, f, Limited, "last known good, before Run has loaded anything")
		if s := c.Status().Flags; s.Source != sourceFile || time.Since(*s.Fetched) < time.Hour {
			t.Errorf("status = %+v, want an age from before the restart", s)
		}
		b.say(map[string]Level{}, nil)
		time.Sleep(13 * time.Second)
		wantLevel(t, f, Normal, "fresh wins over the file")
		stop()
	})
}

// TestDamagedStateFileIsReportedAndNotUsed cuts and changes the file at every byte.
func TestDamagedStateFileIsReportedAndNotUsed(t *testing.T) {
	whole, err := encodeState(&state{Flags: &FlagSet{Version: "7", Levels: map[string]Level{"f": Offline}}, Fetched: time.Unix(1, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "lkg")
	for i := range whole {
		for _, damaged := range [][]byte{whole[:i], append(append(slices.Clone(whole[:i]), whole[i]^1), whole[i+1:]...)} {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			c := build(t, Config{Provider: &backend{}, LastKnownGood: path})
			f := c.Feature("f", FeatureConfig{})
			if f.Level() == Normal && len(c.Status().Notes) == 2 {
				continue
			}
			if s, err := decodeState(damaged); err == nil && s.Flags.equal(&FlagSet{Version: "7", Levels: map[string]Level{"f": Offline}}) {
				continue // the same in other bytes, such as a field's name in other case
			}
			t.Fatalf("%s was used: %v, %v", damaged, f.Level(), c.Status().Notes)
		}
	}
}

func TestStateFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lkg")
	if err := replaceFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("two")); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if got, err := os.ReadFile(path); string(got) != "two" || err != nil || len(entries) != 1 {
		t.Errorf("file = %q, %v, %d files in the folder", got, err, len(entries))
	}
	if err := replaceFile(filepath.Join(dir, "missing", "lkg"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("replaceFile = %v, want ErrNotExist", err)
	}
	if err := replaceFile(dir, []byte("x")); err == nil { // cannot rename over a folder
		t.Error("a folder was replaced")
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
		t.Errorf("a temporary file is left: %v", entries)
	}
}

func TestUnwritableStateFileStopsNothing(t *testing.T) {
	c := build(t, Config{LastKnownGood: filepath.Join(t.TempDir(), "missing", "lkg")})
	f := c.Feature("f", FeatureConfig{})
	mustOverride(t, c, override("f", Limited))
	wantLevel(t, f, Limited, "file cannot be written")
}

func TestFlagsFromTheFutureAreNotYoung(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lkg")
	data, _ := encodeState(&state{Flags: &FlagSet{Levels: map[string]Level{}}, Fetched: time.Now().Add(time.Hour)})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if at := build(t, Config{Provider: &backend{}, LastKnownGood: path}).Status().Flags.Fetched; time.Until(*at) > 0 {
		t.Errorf("fetched %v, in the future", at)
	}
}

// TestWithdrawnSetIsNotUsedAfterItsStagger: that is what staggering is for.
func TestWithdrawnSetIsNotUsedAfterItsStagger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.say(map[string]Level{}, nil)
		c := start(t, Config{Provider: b, Stagger: time.Hour})
		f := c.Feature("f", FeatureConfig{})
		time.Sleep(3 * time.Hour)
		b.say(map[string]Level{"f": ReadOnly}, nil)
		time.Sleep(15 * time.Second)
		b.say(map[string]Level{}, nil)
		time.Sleep(3 * time.Hour)
		wantLevel(t, f, Normal, "the set was withdrawn")
		for _, e := range c.Status().Recent {
			if e.Kind == EventLevel {
				t.Errorf("the withdrawn set was used: %+v", e)
			}
		}
	})
}

func TestBlastGuardKnowsFeaturesThatAreStillToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.say(map[string]Level{All: Offline}, nil)
		c := start(t, Config{Provider: b})
		time.Sleep(time.Second)
		wantLevel(t, c.Feature("late", FeatureConfig{}), Normal, "registered after the bad set was loaded")
		if s := c.Status().Flags; !contains(s.Error, "confirm") {
			t.Errorf("status says %q of the set", s.Error)
		}
	})
}
