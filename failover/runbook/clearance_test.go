package runbook

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// started runs the book as "run" and returns its result.
func started(t *testing.T, r *Runbook, cfg Config) chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := r.Run(t.Context(), "run", cfg)
		result <- err
	}()
	time.Sleep(time.Second)
	return result
}

// gated is a step that waits for one approval.
func gated(w *world, name string, needs ...string) Step {
	s := w.step(name, needs...)
	s.Approve = 1
	return s
}

func TestAnApprovedStepWaitsForTheEndOfThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		r := must(t, "book", gated(w, "promote"))
		result := started(t, r, Config{Journal: j, By: "ann"})
		if err := Pause(t.Context(), j, "run", "bob", "look first"); err != nil {
			t.Fatal(err)
		}
		if err := r.Approve(t.Context(), j, "run", "promote", "bob", r.hash(Unplanned), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if w.did["promote"] != 0 {
			t.Fatal("Do ran while the run was paused")
		}
		if err := Continue(t.Context(), j, "run", "bob"); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil || w.did["promote"] != 1 {
			t.Errorf("Run = %v after %d Do, want nil after 1", err, w.did["promote"])
		}
	})
}

// The run is cancelled while Check runs, between two looks at the journal.
func TestNothingStartsAfterACancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		s := w.step("promote")
		s.Check = func(context.Context) (State, error) { time.Sleep(1500 * time.Millisecond); return w.look("promote") }
		result := started(t, must(t, "book", s), Config{Journal: j, By: "ann"})
		if err := Cancel(t.Context(), j, "run", "bob", "wrong Region"); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !errors.Is(err, ErrCancelled) || w.did["promote"] != 0 {
			t.Errorf("Run = %v after %d Do, want ErrCancelled after none", err, w.did["promote"])
		}
	})
}

// A person who cancels, skips or whose sibling step fails does not wait for a step that only waits.
func TestWaitsEndWithTheRun(t *testing.T) {
	wait := Step{
		Name: "wait", Waive: true, Timeout: 24 * time.Hour,
		Check:  func(context.Context) (State, error) { return StateNeeded, nil },
		Verify: func(context.Context) (State, error) { return StateBlocked, nil },
	}
	failing := Step{Name: "failing", Check: func(context.Context) (State, error) {
		time.Sleep(time.Minute)
		return StateNeeded, errors.New("no")
	}}
	tests := []struct {
		name  string
		steps []Step
		do    func(*testing.T, *Runbook, Journal) error
		want  string
	}{
		{"cancelled", []Step{wait}, func(t *testing.T, _ *Runbook, j Journal) error {
			return Cancel(t.Context(), j, "run", "bob", "enough")
		}, "cancelled by bob: enough"},
		{"skipped", []Step{wait}, func(t *testing.T, r *Runbook, j Journal) error {
			return r.Skip(t.Context(), j, "run", "wait", "bob", "dark Region")
		}, ""},
		{"another step failed", []Step{wait, failing}, func(*testing.T, *Runbook, Journal) error { return nil }, `"failing" stopped at check`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, j := time.Now(), NewMemoryJournal()
				r := must(t, "book", tt.steps...)
				result := started(t, r, Config{Journal: j, By: "ann"})
				if err := tt.do(t, r, j); err != nil {
					t.Fatal(err)
				}
				err := <-result
				if took := time.Since(begin); took > 2*time.Minute {
					t.Errorf("Run returned after %v", took)
				}
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Run = %v, want %q", err, tt.want)
				}
			})
		})
	}
}

func TestApproversAreDistinctPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		s := gated(w, "promote")
		s.Approve = 2
		r := must(t, "book", s)
		result := started(t, r, Config{Journal: j, By: "ann"})
		approve := func(by string) error { return r.Approve(t.Context(), j, "run", "promote", by, r.hash(Unplanned), 0) }
		for _, by := range []string{"Ann", " ann ", "auto/i-1", "auto"} {
			if err := approve(by); !errors.Is(err, ErrRefused) {
				t.Errorf("approval by %q = %v, want ErrRefused", by, err)
			}
		}
		for _, by := range []string{"bob", "BOB", "bob "} {
			if err := approve(by); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if w.did["promote"] != 0 {
			t.Error("Do ran with one approver of two under three spellings")
		}
		if err := approve("cid"); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		if rep, err := r.Report(t.Context(), "run", j); err != nil || len(rep.Steps[0].Approvers) != 2 {
			t.Errorf("approvers in the report: %v, %v, want two", rep.Steps[0].Approvers, err)
		}
	})
}

func TestWhatIsOverStaysAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		s := gated(w, "promote")
		s.Waive = true
		r := must(t, "book", w.step("a"))
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"pause":  Pause(t.Context(), j, "run", "bob", "x"),
			"cancel": Cancel(t.Context(), j, "run", "bob", "x"),
			"unplan": r.Unplan(t.Context(), j, "run", "bob", "x"),
		} {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s of a finished run = %v, want ErrRefused", name, err)
			}
		}
		other := must(t, "other book", s)
		if err := other.Skip(t.Context(), j, "run", "promote", "bob", "x"); !errors.Is(err, ErrRefused) {
			t.Errorf("Skip in a run of another runbook = %v, want ErrRefused", err)
		}
		if _, err := other.Report(t.Context(), "run", j); !errors.Is(err, ErrRefused) {
			t.Errorf("Report of a run of another runbook = %v, want ErrRefused", err)
		}
		if err := Pause(t.Context(), nil, "run", "bob", "x"); !errors.Is(err, ErrRefused) {
			t.Errorf("Pause without a journal = %v, want ErrRefused", err)
		}
		if _, err := r.Report(t.Context(), "run", nil); !errors.Is(err, ErrRefused) {
			t.Errorf("Report without a journal = %v, want ErrRefused", err)
		}
	})
}

func TestAloneRefusesASecondRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		failing := w.step("a")
		failing.Do = func(context.Context) error { return errors.New("no") }
		if _, err := must(t, "book", failing).Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err == nil {
			t.Fatal("Run = nil, want the step's error")
		}
		r := must(t, "book", w.step("a"))
		if _, err := r.Run(t.Context(), "second", Config{Journal: j, By: "ann", Alone: true}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `"run" is not over`) {
			t.Errorf("second run = %v, want ErrRefused that names the first", err)
		}
		if err := Cancel(t.Context(), j, "run", "bob", "begin again"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Run(t.Context(), "second", Config{Journal: j, By: "ann", Alone: true}); err != nil {
			t.Errorf("second run after the first was cancelled = %v, want nil", err)
		}
	})
}

func TestAStepThatMayFailHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		page := w.step("page")
		page.MayFail, page.Do = true, func(context.Context) error { return errors.New("status 503") }
		blocked := Step{Name: "blocked", MayFail: true, Check: func(context.Context) (State, error) { return StateBlocked, errors.New("who knows") }}
		r := must(t, "book", page, blocked, w.step("promote", "page", "blocked"))
		rep, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"})
		if err != nil || w.did["promote"] != 1 || rep.Steps[0].State != "failed" || rep.Steps[1].State != "failed" || rep.Steps[1].Reason != "who knows" {
			t.Errorf("Run = %v, steps %+v; want nil and two failed ones", err, rep.Steps)
		}
	})
}
