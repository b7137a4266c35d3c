package degrade

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

var errDown = errors.New("down")

// start returns a Controller whose Run ends with the test.
func start(t *testing.T, cfg Config) *Controller {
	t.Helper()
	c := build(t, cfg)
	run(t, c)
	return c
}

func build(t *testing.T, cfg Config) *Controller {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs c until the test ends, or until the returned func is called.
func run(t *testing.T, c *Controller) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// wantLevel checks a feature's level.
func wantLevel(t *testing.T, f *Feature, want Level, when string) {
	t.Helper()
	if got := f.Level(); got != want {
		t.Errorf("%s: level of %s = %v, want %v", when, f.Name(), got, want)
	}
}

// until waits until f is at level and returns how long that took; it gives up after limit.
func until(t *testing.T, f *Feature, level Level, limit time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	for f.Level() != level {
		if time.Since(begin) > limit {
			t.Fatalf("%s is at %v after %v, want %v", f.Name(), f.Level(), limit, level)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// wantPanic checks that registering panics with a sentence that contains text.
func wantPanic(t *testing.T, text string, register func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !contains(got, text) {
			t.Errorf("panic = %q, want one with %q", got, text)
		}
	}()
	register()
}

func goexit() { runtime.Goexit() }
