package degrade

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/request"
)

var (
	errPrimary  = errors.New("primary failed")
	errFallback = errors.New("fallback failed")
)

// notRun and permanent are marks as other packages make them.
type notRun struct{ error }

func (notRun) NotRun() bool    { return true }
func (e notRun) Unwrap() error { return e.error }

type permanent struct{ error }

func (permanent) Permanent() bool { return true }
func (e permanent) Unwrap() error { return e.error }

func value[T any](v T, err error) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return v, err }
}

// at returns a feature held at level by an override.
func at(t *testing.T, level Level, cfg FeatureConfig) *Feature {
	t.Helper()
	c := build(t, Config{})
	f := c.Feature("f", cfg)
	if level > Normal {
		if _, err := c.Override(t.Context(), Override{Feature: "f", Level: level, TTL: time.Hour, Reason: "test", By: "ana"}); err != nil {
			t.Fatal(err)
		}
	}
	wantLevel(t, f, level, "set up")
	return f
}

// TestReadAndWriteTable is what is called and returned at each level.
func TestReadAndWriteTable(t *testing.T) {
	ok, fails := value("primary", nil), value("", errPrimary)
	back, backFails := value("fallback", nil), value("", errFallback)
	type call = func(context.Context) (string, error)
	tests := []struct {
		name     string
		level    Level
		op       Op
		primary  call
		fallback call
		want     string
		is       []error
	}{
		{"primary works", Normal, OpRead, ok, back, "primary", nil},
		{"primary works, no fallback", Limited, OpRead, ok, nil, "primary", nil},
		{"primary fails", Normal, OpRead, fails, back, "fallback", nil},
		{"primary fails at read-only", ReadOnly, OpRead, fails, back, "fallback", nil},
		{"primary fails, no fallback", Normal, OpRead, fails, nil, "", []error{errPrimary}},
		{"both fail", Limited, OpRead, fails, backFails, "", []error{errPrimary, errFallback}},
		{"permanent errors are answers", Normal, OpRead, value("", error(permanent{errPrimary})), back, "", []error{errPrimary}},
		{"offline", Offline, OpRead, ok, back, "fallback", nil},
		{"offline, no fallback", Offline, OpRead, ok, nil, "", []error{ErrOffline}},
		{"offline, fallback fails", Offline, OpRead, ok, backFails, "", []error{errFallback}},
		{"write works", Limited, OpWrite, ok, back, "primary", nil},
		{"a failed write is not done another way", Normal, OpWrite, fails, back, "", []error{errPrimary}},
		{"a lost write is not done another way", Normal, OpWrite, value("", context.DeadlineExceeded), back, "", []error{context.DeadlineExceeded}},
		{"a write that did not run is", Normal, OpWrite, value("", error(notRun{errPrimary})), back, "fallback", nil},
		{"and may fail there too", Normal, OpWrite, value("", error(notRun{errPrimary})), backFails, "", []error{errPrimary, errFallback}},
		{"write at read-only", ReadOnly, OpWrite, ok, back, "fallback", nil},
		{"write at read-only, nothing instead", ReadOnly, OpWrite, ok, nil, "", []error{ErrReadOnly}},
		{"write at offline, nothing instead", Offline, OpWrite, ok, nil, "", []error{ErrReadOnly, ErrOffline}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := at(t, tt.level, FeatureConfig{})
			do := Read[string]
			if tt.op == OpWrite {
				do = Write[string]
			}
			got, err := do(t.Context(), f, tt.primary, tt.fallback)
			if got != tt.want || (err == nil) != (tt.is == nil) {
				t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.is)
			}
			for _, target := range tt.is {
				if !errors.Is(err, target) {
					t.Errorf("error %v does not match %v", err, target)
				}
			}
		})
	}
}

func TestMethodTwins(t *testing.T) {
	fails := func(context.Context) error { return notRun{errPrimary} }
	ok := func(context.Context) error { return nil }
	f := at(t, Normal, FeatureConfig{})
	if err := f.Read(t.Context(), fails, ok); err != nil {
		t.Errorf("Read = %v, want the fallback", err)
	}
	if err := f.Read(t.Context(), fails, nil); !errors.Is(err, errPrimary) {
		t.Errorf("Read = %v, want %v", err, errPrimary)
	}
	if err := f.Write(t.Context(), fails, ok); err != nil {
		t.Errorf("Write = %v, want the other way", err)
	}
	f = at(t, Offline, FeatureConfig{})
	if err := f.Read(t.Context(), ok, nil); !errors.Is(err, ErrOffline) {
		t.Errorf("Read = %v, want ErrOffline", err)
	}
	if err := f.Write(t.Context(), ok, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Write = %v, want ErrReadOnly", err)
	}
}

func TestRefusalSaysEverything(t *testing.T) {
	f := at(t, ReadOnly, FeatureConfig{})
	_, err := Write(t.Context(), f, value(1, nil), nil)
	e, ok := errors.AsType[*RefusedError](err)
	if !ok {
		t.Fatalf("Write = %v, want a RefusedError", err)
	}
	if !e.NotRun() || e.OutcomeUnknown() || e.Name != "f" || e.Op != OpWrite || e.Level != ReadOnly || e.Cause != CauseOverride {
		t.Errorf("refusal = %+v", e)
	}
	if w := e.RetryAfter(); w < minWait || w > 12*time.Minute+time.Second {
		t.Errorf("RetryAfter = %v", w)
	}
	if errors.Is(err, ErrOffline) || errors.Is(err, ErrShed) {
		t.Errorf("%v matches too much", err)
	}
}

func TestMaintenanceTellsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := build(t, Config{})
		f := c.Feature("f", FeatureConfig{})
		_, err := c.Override(t.Context(), Override{Feature: All, Level: Offline, TTL: 2 * time.Hour, Maintenance: true, Reason: "migration", By: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		e, _ := errors.AsType[*RefusedError](f.Allow(t.Context(), OpRead))
		if e == nil || e.Cause != CauseMaintenance || e.Wait < time.Hour || e.Wait > 72*time.Minute {
			t.Errorf("Allow = %+v, want maintenance for an hour and up to a fifth more", e)
		}
	})
}

func TestAllow(t *testing.T) {
	for level, want := range map[Level][3]bool{
		Normal: {true, true, true}, Limited: {true, true, false}, ReadOnly: {true, false, false}, Offline: {false, false, false},
	} {
		f := at(t, level, FeatureConfig{})
		for op := OpRead; op <= OpOptional; op++ {
			if err := f.Allow(t.Context(), op); (err == nil) != want[op] {
				t.Errorf("Allow(%v) at %v = %v, want allowed: %t", op, level, err, want[op])
			}
		}
	}
}

func TestCancelledCallersGetNoFallback(t *testing.T) {
	for _, level := range []Level{Normal, Offline} {
		f := at(t, level, FeatureConfig{})
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		ran := false
		_, err := Read(ctx, f, func(ctx context.Context) (int, error) { cancel(gone); return 0, ctx.Err() },
			func(context.Context) (int, error) { ran = true; return 1, nil })
		if level == Offline {
			cancel(gone)
			ran = false
			_, err = Read(ctx, f, value(0, nil), func(context.Context) (int, error) { ran = true; return 1, nil })
		}
		if ran || !errors.Is(err, context.Canceled) && !errors.Is(err, gone) {
			t.Errorf("at %v: Read = %v, fallback ran: %t", level, err, ran)
		}
	}
}

func TestReserveLeavesTimeForTheFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := at(t, Normal, FeatureConfig{Reserve: 200 * time.Millisecond})
		hangs := func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		fallback := func(ctx context.Context) (string, error) {
			time.Sleep(150 * time.Millisecond)
			return "fallback", ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		got, err := Read(ctx, f, hangs, fallback)
		if got != "fallback" || err != nil || time.Since(begin) != 950*time.Millisecond {
			t.Errorf("Read = %q, %v after %v", got, err, time.Since(begin))
		}
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // too short to take 200 ms off
		defer cancel()
		if _, err := Read(short, f, hangs, fallback); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read = %v, want the caller's deadline", err)
		}
	})
}

func TestFallbacksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := at(t, Offline, FeatureConfig{MaxFallbacks: 3})
		var wg sync.WaitGroup
		errs := make([]error, 5)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = Read(t.Context(), f, value(0, nil), func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil })
			})
		}
		wg.Wait()
		shed := 0
		for _, err := range errs {
			if errors.Is(err, ErrShed) {
				shed++
			}
		}
		if shed != 2 {
			t.Errorf("%d of 5 were refused at a limit of 3: %v", shed, errs)
		}
		if _, err := Read(t.Context(), f, value(0, nil), value(1, nil)); err != nil {
			t.Errorf("Read = %v after the others ended", err)
		}
	})
}

func TestPanickingFallbackGivesItsPlaceBack(t *testing.T) {
	f := at(t, Offline, FeatureConfig{MaxFallbacks: 1})
	for range 3 {
		func() {
			defer func() { _ = recover() }()
			_, err := Read(t.Context(), f, value(0, nil), func(context.Context) (int, error) { panic("boom") })
			t.Errorf("Read returned %v", err)
		}()
	}
	if f.stats.running.Load() != 0 {
		t.Errorf("%d places are taken", f.stats.running.Load())
	}
}

func TestExerciseProvesTheFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := build(t, Config{})
		f := c.Feature("f", FeatureConfig{Exercise: 1, Fallback: AllOf(), Compare: func(a, b any) bool { return a == b }})
		fallback := value("same", nil)
		read := func() {
			if got, err := Read(t.Context(), f, value("same", nil), fallback); got != "same" || err != nil {
				t.Errorf("Read = %q, %v", got, err)
			}
		}
		time.Sleep(time.Minute)
		read()
		if at := c.Status().Features[0].Proven; at == nil || !at.Equal(time.Now()) {
			t.Errorf("proven at %v, want now", at)
		}
		fallback = value("other", nil)
		read()
		fallback = value("same", errFallback)
		read()
		fallback = func(context.Context) (string, error) { panic("boom") }
		read()
		fallback = func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		begin := time.Now()
		read()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("a hanging fallback cost the caller %v, want ExerciseTimeout", took)
		}
		if m, n := f.stats.mismatches.Load(), f.stats.failed.Load(); m != 1 || n != 3 {
			t.Errorf("%d mismatches and %d failures, want 1 and 3", m, n)
		}
		if _, err := c.Override(t.Context(), Override{Feature: "f", Level: Limited, TTL: time.Hour, Reason: "r", By: "b"}); err != nil {
			t.Fatal(err)
		}
		fallback = func(context.Context) (string, error) { t.Error("exercised at Limited"); return "", nil }
		read()
	})
}

func TestEligibleDecides(t *testing.T) {
	f := at(t, Normal, FeatureConfig{Eligible: func(err error) bool { return errors.Is(err, errPrimary) }})
	if got, err := Read(t.Context(), f, value(0, fmt.Errorf("x: %w", errPrimary)), value(1, nil)); got != 1 || err != nil {
		t.Errorf("Read = %v, %v", got, err)
	}
	if _, err := Read(t.Context(), f, value(0, errDown), value(1, nil)); err != errDown {
		t.Errorf("Read = %v, want %v", err, errDown)
	}
}

func TestFallbackErrorOutcome(t *testing.T) {
	tests := []struct {
		primary, fallback error
		notRun, unknown   bool
	}{
		{notRun{errPrimary}, notRun{errFallback}, true, false},
		{notRun{errPrimary}, errFallback, false, false},
		{notRun{errPrimary}, context.DeadlineExceeded, false, true},
		{nil, notRun{errFallback}, true, false},
	}
	for _, tt := range tests {
		e := &FallbackError{Name: "f", Primary: tt.primary, Fallback: tt.fallback}
		if e.NotRun() != tt.notRun || e.OutcomeUnknown() != tt.unknown || e.Error() == "" {
			t.Errorf("%v: NotRun %t, OutcomeUnknown %t", e, e.NotRun(), e.OutcomeUnknown())
		}
	}
}

func TestPinnedRequestSeesOneLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{})
		d := c.Dependency("db", DependencyConfig{})
		f := c.Feature("f", FeatureConfig{Writes: d})
		other := build(t, Config{})
		before := c.Pin(t.Context())
		if c.Pin(before) != before {
			t.Error("a pinned context is pinned again")
		}
		d.Report(StateDown)
		after := c.Pin(t.Context())
		both := other.Pin(before)
		for ctx, want := range map[context.Context]Level{before: Normal, after: ReadOnly, t.Context(): ReadOnly, both: Normal} {
			if got := f.LevelIn(ctx); got != want {
				t.Errorf("LevelIn = %v, want %v", got, want)
			}
		}
		if err := f.Allow(before, OpWrite); err != nil {
			t.Errorf("Allow = %v for a request that began at Normal", err)
		}
		if got, err := Write(before, f, value(1, nil), value(2, nil)); got != 1 || err != nil {
			t.Errorf("Write = %v, %v, want the primary", got, err)
		}
		time.Sleep(59 * time.Second)
		if got := f.LevelIn(before); got != Normal {
			t.Errorf("LevelIn = %v after 59 s, want Normal", got)
		}
		time.Sleep(2 * time.Second)
		if got := f.LevelIn(before); got != ReadOnly {
			t.Errorf("LevelIn = %v after PinFor, want ReadOnly", got)
		}
	})
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	f := at(t, Normal, FeatureConfig{})
	ctx := t.Context()
	n := 0
	primary := func(context.Context) (int, error) { n++; return n, nil }
	paths := map[string]func(){
		"Level":   func() { _ = f.Level() },
		"LevelIn": func() { _ = f.LevelIn(ctx) },
		"Allow":   func() { _ = f.Allow(ctx, OpWrite) },
		"Read":    func() { _, _ = Read(ctx, f, primary, primary) },
		"Write":   func() { _, _ = Write(ctx, f, primary, nil) },
		"f.Read":  func() { _ = f.Read(ctx, func(context.Context) error { n++; return nil }, nil) },
		"f.Write": func() { _ = f.Write(ctx, func(context.Context) error { n++; return nil }, nil) },
		"capturing": func() {
			local := n
			_, _ = Read(ctx, f, func(context.Context) (int, error) { local++; return local, nil }, func(context.Context) (int, error) { return local, nil })
		},
	}
	for name, call := range paths {
		if got := testing.AllocsPerRun(100, call); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
}

// TestPinInTheMiddleOfARequest: others may be reading the request's Context already. Run it with -race.
func TestPinInTheMiddleOfARequest(t *testing.T) {
	one, other := build(t, Config{}), build(t, Config{})
	f := other.Feature("f", FeatureConfig{})
	shadow := request.Shadow(one.Pin(t.Context()))
	for name, ctx := range map[string]context.Context{"pinned": shadow, "not pinned": request.Shadow(t.Context())} {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if pinned := other.Pin(ctx); pinned == ctx || request.From(pinned).Of(other) == nil {
					t.Errorf("%s: Pin = %v, want a context of its own", name, pinned)
				}
				f.LevelIn(ctx)
			})
		}
		wg.Wait()
	}
}
