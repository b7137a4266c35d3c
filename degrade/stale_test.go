package degrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/request"
)

// origin is what a Stale loads from.
type origin struct {
	calls atomic.Int64
	err   atomic.Pointer[error]
	delay time.Duration
}

func (o *origin) fail(err error) { o.err.Store(&err) }

func (o *origin) load(ctx context.Context, key string) (string, error) {
	n := o.calls.Add(1)
	if o.delay > 0 {
		pause(ctx, o.delay)
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err := o.err.Load(); err != nil && *err != nil {
		return "", *err
	}
	return fmt.Sprintf("%s%d", key, n), nil
}

func newStale(t *testing.T, f *Feature, o *origin, cfg StaleConfig) *Stale[string, string] {
	t.Helper()
	s, err := NewStale(f, o.load, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantGet(t *testing.T, s *Stale[string, string], value string, source Source, age time.Duration, when string) {
	t.Helper()
	r, err := s.Get(t.Context(), "k")
	if err != nil || r.Value != value || r.Source != source || r.Age != age {
		t.Errorf("%s: Get = %+v, %v, want %s from %v, %v old", when, r, err, value, source, age)
	}
}

var windows = StaleConfig{Fresh: 10 * time.Second, WhileRevalidate: 10 * time.Second, IfError: time.Minute, WhenDegraded: 5 * time.Minute, Backoff: 4 * time.Second}

func TestStaleWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, windows)
		wantGet(t, s, "k1", SourcePrimary, 0, "first")
		time.Sleep(10 * time.Second)
		wantGet(t, s, "k1", SourcePrimary, 10*time.Second, "fresh")
		time.Sleep(time.Second)
		wantGet(t, s, "k1", SourceStale, 11*time.Second, "while revalidating")
		synctest.Wait()
		wantGet(t, s, "k2", SourcePrimary, 0, "revalidated")
		time.Sleep(21 * time.Second)
		wantGet(t, s, "k3", SourcePrimary, 0, "too old to be served while loading")
		o.fail(errDown)
		time.Sleep(21 * time.Second)
		wantGet(t, s, "k3", SourceStale, 21*time.Second, "if error")
		time.Sleep(50 * time.Second)
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, errDown) {
			t.Errorf("Get = %v beyond IfError, want %v", err, errDown)
		}
	})
}

func TestStaleRefreshBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, StaleConfig{Fresh: time.Second, IfError: time.Hour, Backoff: 4 * time.Second, MaxBackoff: 16 * time.Second})
		wantGet(t, s, "k1", SourcePrimary, 0, "first")
		o.fail(errDown)
		for range 600 { // a minute, ten times a second
			time.Sleep(100 * time.Millisecond)
			if _, err := s.Get(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		if n := o.calls.Load() - 1; n < 4 || n > 8 { // after 1, 5, 13, 29, 45 s
			t.Errorf("%d loads of a failing origin in a minute, want about 5", n)
		}
		o.fail(nil)
		time.Sleep(20 * time.Second)
		if r, err := s.Get(t.Context(), "k"); err != nil || r.Source != SourcePrimary {
			t.Errorf("Get = %+v, %v after the origin is back", r, err)
		}
	})
}

func TestStaleAtEachLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		d, e := c.Dependency("reco", DependencyConfig{}), c.Dependency("db", DependencyConfig{})
		s := newStale(t, c.Feature("f", FeatureConfig{Optional: d, Reads: e}), o, windows)
		wantGet(t, s, "k1", SourcePrimary, 0, "first")
		d.Report(StateDown)
		o.fail(errDown)
		time.Sleep(4 * time.Minute)
		wantGet(t, s, "k1", SourceStale, 4*time.Minute, "limited: a longer window")
		synctest.Wait()
		e.Report(StateDown)
		before := o.calls.Load()
		time.Sleep(time.Minute)
		wantGet(t, s, "k1", SourceStale, 5*time.Minute, "offline: what any window covers")
		time.Sleep(time.Minute)
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, ErrOffline) {
			t.Errorf("Get = %v, want ErrOffline beyond all windows", err)
		}
		if _, err := s.Get(t.Context(), "other"); !errors.Is(err, ErrOffline) {
			t.Errorf("Get = %v, want ErrOffline for an unknown key", err)
		}
		if o.calls.Load() != before {
			t.Error("offline called the origin")
		}
	})
}

func TestStaleNeverServesWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, windows)
		wantGet(t, s, "k1", SourcePrimary, 0, "first")
		o.fail(permanent{errors.New("404")})
		time.Sleep(21 * time.Second)
		if _, err := s.Get(t.Context(), "k"); err == nil {
			t.Error("a deleted thing was served")
		}
		o.fail(errDown)
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, errDown) {
			t.Errorf("Get = %v, want the copy to be gone", err)
		}
	})
}

func TestStaleSharesOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{delay: time.Second}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, windows)
		var wg sync.WaitGroup
		for i := range 100 {
			ctx := t.Context()
			if i == 0 { // the one who starts the load gives up: the others still get it
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
			}
			wg.Go(func() {
				r, err := s.Get(ctx, "k")
				if gaveUp := errors.Is(err, context.DeadlineExceeded); (i == 0) != gaveUp || !gaveUp && r.Value != "k1" {
					t.Errorf("Get %d = %+v, %v", i, r, err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		wg.Wait()
		if n := o.calls.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

func TestStaleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, StaleConfig{IfError: time.Hour, Max: 3})
		for _, key := range []string{"a", "b", "c", "a", "d", "a"} {
			if _, err := s.Get(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if n := o.calls.Load(); n != 4 || len(s.entries) != 3 || s.order.Len() != 3 || s.entries["b"] != nil {
			t.Errorf("%d loads, %d entries, b kept: %t; want 4, 3, false", n, len(s.entries), s.entries["b"] != nil)
		}
		s.Forget("a")
		s.Forget("nothing")
		if s.entries["a"] != nil {
			t.Error("a is still there")
		}
	})
}

func TestStaleLoadThatPanicsHangsOrExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		f := c.Feature("f", FeatureConfig{})
		for name, load := range map[string]func(context.Context, int) (int, error){
			"panic":  func(context.Context, int) (int, error) { panic("boom") },
			"hang":   func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
			"goexit": func(context.Context, int) (int, error) { t.Log("exits"); goexit(); return 0, nil },
		} {
			s, err := NewStale(f, load, StaleConfig{IfError: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if _, err := s.Get(t.Context(), 1); err == nil || time.Since(begin) > 10*time.Second {
				t.Errorf("%s: Get = %v after %v", name, err, time.Since(begin))
			}
		}
	})
}

func TestRunWaitsForLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := build(t, Config{})
		stop := run(t, c)
		o := &origin{delay: time.Hour}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, StaleConfig{IfError: time.Hour, LoadTimeout: 2 * time.Hour})
		errs := make(chan error, 1)
		go func() { _, err := s.Get(t.Context(), "k"); errs <- err }()
		synctest.Wait()
		begin := time.Now()
		stop()
		if err := <-errs; !errors.Is(err, context.Canceled) || time.Since(begin) != 0 {
			t.Errorf("Get = %v, %v after the stop", err, time.Since(begin))
		}
		o.delay = 0
		if r, err := s.Get(t.Context(), "k"); err != nil || r.Value != "k2" {
			t.Errorf("Get = %+v, %v after Run has ended, want a load by the caller", r, err)
		}
	})
}

func TestStaleAsAFallbackTellsItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		f := c.Feature("f", FeatureConfig{})
		s := newStale(t, f, o, windows)
		wantGet(t, s, "k1", SourcePrimary, 0, "first")
		o.fail(errDown)
		time.Sleep(25 * time.Second)
		r, err := ReadResult(t.Context(), f, value("", errPrimary), func(ctx context.Context) (string, error) {
			r, err := s.Get(ctx, "k")
			return r.Value, err
		})
		if err != nil || r.Value != "k1" || r.Source != SourceStale || r.Age != 25*time.Second {
			t.Errorf("ReadResult = %+v, %v", r, err)
		}
	})
}

func TestStaleConfigIsChecked(t *testing.T) {
	f := build(t, Config{}).Feature("f", FeatureConfig{})
	for want, cfg := range map[string]StaleConfig{"none of": {}, "Fresh": {Fresh: -1, IfError: 1}, "Max": {IfError: 1, Max: -1}} {
		if _, err := NewStale(f, (&origin{}).load, cfg); err == nil || !contains(err.Error(), want) {
			t.Errorf("NewStale = %v, want an error with %q", err, want)
		}
	}
	if _, err := NewStale[string, string](f, nil, StaleConfig{IfError: 1}); err == nil {
		t.Error("a nil load was accepted")
	}
}

func TestStubOnlyAwayFromHome(t *testing.T) {
	for region, want := range map[string]string{"eu": "real", "us": "stub"} {
		c := build(t, Config{Region: region})
		d := c.Dependency("pay", DependencyConfig{Home: "eu", Stubbed: true})
		f := c.Feature("f", FeatureConfig{Optional: d})
		s := NewStub(d, "real", "stub")
		r, err := ReadResult(t.Context(), f, value("", errPrimary), func(ctx context.Context) (string, error) { return s.Pick(ctx), nil })
		if err != nil || r.Value != want || (r.Source == SourceStub) != (want == "stub") || d.Stubbing() != (want == "stub") {
			t.Errorf("in %s: %+v, %v, want %s", region, r, err, want)
		}
	}
	c := build(t, Config{})
	wantPanic(t, "not Stubbed", func() { NewStub(c.Dependency("db", DependencyConfig{}), 1, 2) })
}

// TestCopiesOfStubsAreLabelled: what a load was answered with is told to everybody who gets the copy, and by no other goroutine than theirs.
func TestCopiesOfStubsAreLabelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Region: "b"})
		d := c.Dependency("fraud", DependencyConfig{Home: "a", Stubbed: true})
		f := c.Feature("f", FeatureConfig{})
		s, err := NewStale(f, func(ctx context.Context, key string) (string, error) {
			d.NoteStub(ctx)
			return key, nil
		}, StaleConfig{Fresh: 10 * time.Second, WhileRevalidate: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for when, want := range []Source{SourceStub, SourceStub, SourceStale} { // loaded, fresh, stale
			pinned := c.Pin(t.Context())
			r, err := ReadResult(pinned, f, value("", errPrimary), func(ctx context.Context) (string, error) {
				r, err := s.Get(ctx, "k")
				return r.Value, err
			})
			if err != nil || r.Value != "k" || r.Source != want {
				t.Errorf("%d: ReadResult = %+v, %v, want a value from %v", when, r, err, want)
			}
			if notes := request.From(pinned).Notes(); !slices.ContainsFunc(notes, func(n request.Note) bool { return n.Name == "fraud" && n.Source == "stub" }) {
				t.Errorf("%d: notes = %+v, want one of the stub", when, notes)
			}
			time.Sleep(6 * time.Second)
		}
	})
}

// TestOneLoadForAKeyHoweverManyKeys: a load under way is shared also if there is no room for its copy yet.
func TestOneLoadForAKeyHoweverManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{delay: time.Second}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, StaleConfig{Max: 1, IfError: time.Minute})
		for range 3 {
			for _, key := range []string{"a", "b", "c"} {
				go s.Get(t.Context(), key)
			}
			synctest.Wait()
		}
		if n := o.calls.Load(); n != 3 {
			t.Errorf("%d loads of 3 keys at once", n)
		}
		time.Sleep(time.Minute)
	})
}

// TestForgetAlsoMeansTheLoadUnderWay: it may have read what was there before the write.
func TestForgetAlsoMeansTheLoadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{delay: time.Second}
		s := newStale(t, c.Feature("f", FeatureConfig{}), o, windows)
		go s.Get(t.Context(), "k")
		synctest.Wait()
		s.Forget("k")
		time.Sleep(500 * time.Millisecond)
		go s.Get(t.Context(), "k")
		time.Sleep(600 * time.Millisecond) // the first has landed, the second has not
		wantGet(t, s, "k2", SourcePrimary, 0, "joins the load after Forget")
		if n := o.calls.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
	})
}

// TestEligibleMayUseTheStale: it is called without the lock, and its panic harms nobody who waits.
func TestEligibleMayUseTheStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		o := &origin{}
		o.fail(errDown)
		cfg := windows
		var s *Stale[string, string]
		calls := 0
		cfg.Eligible = func(error) bool {
			s.Forget("other")
			if calls++; calls > 1 {
				panic("boom")
			}
			return true
		}
		s = newStale(t, c.Feature("f", FeatureConfig{}), o, cfg)
		for range 2 {
			if _, err := s.Get(t.Context(), "k"); !errors.Is(err, errDown) {
				t.Errorf("Get = %v, want %v", err, errDown)
			}
		}
	})
}
