package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// running returns a guard that runs until the end of the test, and what stops it before.
func running(t *testing.T) (g *idempotency.Guard, stop func()) {
	t.Helper()
	g = newGuard(t, newRemote(t), idempotency.Config{}).With(idempotency.Terms{MaxRun: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	synctest.Wait()
	return g, stop
}

// goroutine returns the number of the goroutine that calls it.
func goroutine() string {
	var b [64]byte
	return string(bytes.Fields(b[:runtime.Stack(b[:], false)])[1])
}

// While a guard runs, detached functions follow each other on one goroutine, and however one ends, the next is as good.
func TestDetachedFunctionsShareAGoroutine(t *testing.T) {
	bubble(t, "whatever became of the one before", func(t *testing.T) {
		g, _ := running(t)
		where := func(key string) (at string) {
			err := g.Do(t.Context(), idempotency.Key{ID: key}, func(context.Context) error { at = goroutine(); return nil })
			if err != nil {
				t.Errorf("Do(%s) = %v", key, err)
			}
			synctest.Wait()
			return at
		}
		first := where("first")
		for name, call := range map[string]func(ctx context.Context, leave func()) error{
			"it failed":       func(context.Context, func()) error { return errShop },
			"it panicked":     func(context.Context, func()) error { panic("boom") },
			"its caller left": func(_ context.Context, leave func()) error { leave(); time.Sleep(time.Second); return nil },
		} {
			ctx, leave := context.WithCancel(t.Context())
			var got any
			func() {
				defer func() { got = recover() }()
				_ = g.Do(ctx, idempotency.Key{ID: name}, func(ctx context.Context) error { return call(ctx, leave) })
			}()
			if (got == "boom") != (name == "it panicked") {
				t.Errorf("%s: recovered %v", name, got)
			}
			time.Sleep(time.Minute)
			if next := where("after " + name); next != first {
				t.Errorf("%s: the next function ran on goroutine %s, want %s", name, next, first)
			}
			leave()
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = g.Do(t.Context(), idempotency.Key{ID: "Goexit"}, func(context.Context) error { runtime.Goexit(); return nil })
			t.Error("Goexit of the function does not end its caller")
		}()
		<-done
		if where("after Goexit") == first {
			t.Errorf("a function ran on goroutine %s, which has ended", first)
		}
	})
	bubble(t, "at most one at a time", func(t *testing.T) {
		g, stop := running(t)
		var mu sync.Mutex
		at := map[string]int{}
		var calls sync.WaitGroup
		for i := range 200 { // more than are kept
			calls.Go(func() {
				v, err := idempotency.Do(t.Context(), g, idempotency.Key{ID: strconv.Itoa(i)}, func(context.Context) (int, error) {
					mu.Lock()
					at[goroutine()]++
					mu.Unlock()
					time.Sleep(time.Second)
					return i, nil
				})
				wantValue(t, v, err, i)
			})
		}
		calls.Wait()
		if len(at) != 200 {
			t.Errorf("200 functions at the same time ran on %d goroutines", len(at))
		}
		stop()
		v, err := idempotency.Do(t.Context(), g, idempotency.Key{ID: "later"}, value(1, nil))
		wantValue(t, v, err, 1)
	})
}

// Run waits for a function whose caller left, also where there is another Run.
func TestRunEndsItsGoroutines(t *testing.T) {
	bubble(t, "when their functions have ended", func(t *testing.T) {
		g, stop := running(t)
		other, cancel := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { _ = g.Run(other) })
		synctest.Wait()
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		start := time.Now()
		_, err := idempotency.Do(ctx, g, key("a"), func(context.Context) (int, error) { time.Sleep(30 * time.Second); return 1, nil })
		wantError(t, err, idempotency.ErrDetached)
		cancel()
		runs.Wait()
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("Run ended after %v, want the end of the function after 30s", took)
		}
		stop()
		if _, err := idempotency.Do(t.Context(), g, key("a"), never[int](t)); err != nil {
			t.Errorf("replay = %v", err)
		}
	})
}

// Profiles find what a detached function spends under its caller's labels.
func TestDetachedFunctionsHaveTheirCallersLabels(t *testing.T) {
	bubble(t, "while the guard runs", func(t *testing.T) {
		g, _ := running(t)
		for _, want := range []string{"orders-a", "orders-b"} {
			pprof.Do(t.Context(), pprof.Labels("operation", want), func(ctx context.Context) {
				err := g.Do(ctx, key(want), func(context.Context) error {
					var profile bytes.Buffer
					_ = pprof.Lookup("goroutine").WriteTo(&profile, 1)
					for block := range bytes.SplitSeq(profile.Bytes(), []byte("\n\n")) {
						if bytes.Contains(block, []byte("WriteTo")) && bytes.Contains(block, []byte(want)) {
							return nil
						}
					}
					return errors.New("no such label")
				})
				if err != nil {
					t.Errorf("%s: %v", want, err)
				}
			})
		}
	})
}

// A guard that runs again is as good as a new one.
func TestAGuardRunsAgain(t *testing.T) {
	run := func(t *testing.T, g *idempotency.Guard) (stop func() time.Duration) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan time.Time, 1)
		go func() {
			if err := g.Run(ctx); err != nil {
				t.Errorf("Run = %v", err)
			}
			ended <- time.Now()
		}()
		synctest.Wait()
		return func() time.Duration {
			cancel()
			stopped := time.Now()
			return (<-ended).Sub(stopped)
		}
	}
	bubble(t, "and brings results to a store that was out", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		run(t, g)()
		time.Sleep(time.Hour)
		stop := run(t, g)
		_, info, err := idempotency.DoInfo(t.Context(), g, key("a"), func(context.Context) (int, error) { s.setDown(true); return 1, nil })
		if err != nil || info.Stored {
			t.Fatalf("Do = %+v, %v, want a result that is not stored", info, err)
		}
		time.Sleep(5 * time.Second)
		s.setDown(false)
		time.Sleep(5 * time.Second)
		stop()
		v, err := idempotency.Do(t.Context(), newGuard(t, s, idempotency.Config{}), key("a"), never[int](t))
		wantValue(t, v, err, 1)
	})
	bubble(t, "and the Run before ends by itself", func(t *testing.T) {
		s := &blackHole{remote: newRemote(t)}
		g := newGuard(t, s, idempotency.Config{}).With(idempotency.Terms{MaxRun: time.Minute})
		stop := run(t, g)
		caller, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_ = g.Do(caller, key("a"), func(context.Context) error { time.Sleep(10 * time.Second); return nil })
		took := make(chan time.Duration)
		go func() { took <- stop() }()
		time.Sleep(time.Second)
		again := run(t, g)
		defer again()
		_ = g.Do(t.Context(), key("b"), func(context.Context) error { return nil }) // leaves a goroutine for the next
		if d := <-took; d != 9*time.Second {
			t.Errorf("Run ended %v after its context, want 9s: when the function it waits for has", d)
		}
	})
}
