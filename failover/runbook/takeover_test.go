package runbook

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// overlap is a Do that takes a minute and notes if two of it run at once. It stops when it is told to.
type overlap struct{ running, most atomic.Int64 }

func (o *overlap) do(w *world, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		o.most.Store(max(o.most.Load(), o.running.Add(1)))
		defer o.running.Add(-1)
		if err := sleep(ctx, time.Minute); err != nil {
			return err
		}
		w.apply(name)
		return nil
	}
}

// The second runner must not believe Verify's "needed" while the first one's Do still runs.
func TestATakeoverDoesNotOverlapALivingDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		var o overlap
		s := w.step("rebuild")
		s.Timeout, s.Do = 5*time.Minute, o.do(w, "rebuild")
		r := must(t, "book", s)
		first := started(t, r, Config{Journal: j, By: "ann"})
		_, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"})
		if err != nil || o.most.Load() != 1 || w.did["rebuild"] != 1 {
			t.Errorf("second runner = %v, %d Do at once, %d effects; want nil, 1, 1", err, o.most.Load(), w.did["rebuild"])
		}
		if err := <-first; !errors.Is(err, ErrFenced) {
			t.Errorf("first runner = %v, want ErrFenced", err)
		}
	})
}

// A flakyJournal cannot be reached while down.
type flakyJournal struct {
	Journal
	down atomic.Bool
}

var errDown = errors.New("journal down")

func (j *flakyJournal) Load(ctx context.Context, run string) ([]Entry, error) {
	if j.down.Load() {
		return nil, errDown
	}
	return j.Journal.Load(ctx, run)
}

func (j *flakyJournal) Append(ctx context.Context, e Entry) error {
	if j.down.Load() {
		return errDown
	}
	return j.Journal.Append(ctx, e)
}

// A runner that is cut off from the journal stops its Do before another one may start it.
func TestACutOffRunnerStopsItsDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, base := newWorld(), NewMemoryJournal()
		j := &flakyJournal{Journal: base}
		var o overlap
		s := w.step("rebuild")
		s.Timeout, s.Do = 5*time.Minute, o.do(w, "rebuild")
		r := must(t, "book", s)
		first := started(t, r, Config{Journal: j, By: "ann"})
		j.down.Store(true)
		_, err := r.Run(t.Context(), "run", Config{Journal: base, By: "ann"})
		if err != nil || o.most.Load() != 1 {
			t.Errorf("second runner = %v, %d Do at once; want nil, 1", err, o.most.Load())
		}
		if err := <-first; !errors.Is(err, errDown) {
			t.Errorf("first runner = %v, want the journal's error", err)
		}
	})
}

func TestABlinkOfTheJournalStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		j := &flakyJournal{Journal: NewMemoryJournal()}
		var o overlap
		s := w.step("rebuild")
		s.Timeout, s.Do = 5*time.Minute, o.do(w, "rebuild")
		result := started(t, must(t, "book", s), Config{Journal: j, By: "ann"})
		j.down.Store(true)
		time.Sleep(2 * time.Second)
		j.down.Store(false)
		if err := <-result; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// The end of a run's context is heard once: the steps in flight get their time without a busy loop over the journal.
func TestAnEndedRunDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := &countingJournal{Journal: NewMemoryJournal()}
		s := Step{
			Name: "slow", Check: func(context.Context) (State, error) { return StateNeeded, nil },
			Do: func(ctx context.Context) error { <-ctx.Done(); time.Sleep(3 * time.Second); return ctx.Err() },
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := must(t, "book", s).Run(ctx, "run", Config{Journal: loads, By: "ann"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v, want the end of its context", err)
		}
		if n := loads.n.Load(); n > 10 {
			t.Errorf("the journal was read %d times in 4 s", n)
		}
	})
}

type countingJournal struct {
	Journal
	n atomic.Int64
}

func (j *countingJournal) Load(ctx context.Context, run string) ([]Entry, error) {
	if j.n.Add(1) > 1000 {
		panic("the run spins")
	}
	return j.Journal.Load(ctx, run)
}

func TestAHangingStepEndsTheRun(t *testing.T) {
	for at, hangs := range map[string]func(*Step, func()){
		"check": func(s *Step, hang func()) {
			s.Check = func(context.Context) (State, error) { hang(); return StateDone, nil }
		},
		"do": func(s *Step, hang func()) { s.Do = func(context.Context) error { hang(); return nil } },
		"verify": func(s *Step, hang func()) {
			s.Verify = func(context.Context) (State, error) { hang(); return StateDone, nil }
		},
	} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j, begin := newWorld(), NewMemoryJournal(), time.Now()
				release := make(chan struct{})
				s := w.step("s")
				hangs(&s, func() { <-release })
				_, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: j, By: "ann"})
				step, ok := errors.AsType[*StepError](err)
				if !ok || !errors.Is(err, ErrHung) || step.At != at || time.Since(begin) != time.Minute+patience {
					t.Errorf("Run = %v after %v, want ErrHung at %s after %v", err, time.Since(begin), at, time.Minute+patience)
				}
				if h := load(t, j); at == "do" && !h.open("s") {
					t.Error("the Do that hangs is not open in the journal")
				}
				close(release)
			})
		})
	}
}

func load(t *testing.T, j Journal) history {
	t.Helper()
	return loadRun(t, j, "run")
}

func TestAStepThatEndsItsGoroutineIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.step("s")
		s.Do = func(context.Context) error { new(testing.T).FailNow(); return nil }
		if _, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: NewMemoryJournal(), By: "ann"}); err == nil {
			t.Error("Run = nil, want an error")
		}
	})
}

func TestOnceIsNotCheckedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		there := w.step("there")
		there.Once = true
		back := w.step("back", "there")
		var mu sync.Mutex
		fail := true
		back.Do = func(context.Context) error {
			w.mu.Lock()
			delete(w.effects, "there") // the way back takes the way there back
			w.mu.Unlock()
			mu.Lock()
			defer mu.Unlock()
			if fail {
				return errors.New("no")
			}
			w.apply("back")
			return nil
		}
		r := must(t, "book", there, back)
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err == nil {
			t.Fatal("Run = nil, want the failing step's error")
		}
		mu.Lock()
		fail = false
		mu.Unlock()
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err != nil || w.did["there"] != 1 {
			t.Errorf("resumed Run = %v, there and there again %d times; want nil, once", err, w.did["there"])
		}
	})
}
