package runbook

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A planned run waits for a primary that dies meanwhile.
func TestUnplanLeavesThePlannedStepsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j, begin := newWorld(), NewMemoryJournal(), time.Now()
		wait := Step{
			Name: "wait for the last write", Only: OnlyPlanned, Timeout: 24 * time.Hour,
			Check:  func(context.Context) (State, error) { return StateNeeded, nil },
			Verify: func(context.Context) (State, error) { return StateBlocked, errors.New("connection refused") },
		}
		fence := w.step("fence")
		fence.Only = OnlyUnplanned
		promote := gated(w, "promote", "wait for the last write", "fence")
		r := must(t, "book", wait, fence, promote)
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann", Mode: Planned, ApprovalTTL: time.Second}); err != nil {
			t.Log(err)
		}
		result := make(chan error, 1)
		go func() {
			_, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann", Mode: Planned})
			result <- err
		}()
		time.Sleep(time.Second)
		approve := func(mode Mode) error {
			return r.Approve(t.Context(), j, "run", "promote", "bob", r.hash(mode), 0)
		}
		if err := approve(Planned); err != nil {
			t.Fatal(err)
		}
		for _, reason := range []string{" ", "the primary died", "twice"} {
			if err := r.Unplan(t.Context(), j, "run", "bob", reason); (err == nil) != (reason == "the primary died") {
				t.Errorf("Unplan because %q = %v", reason, err)
			}
		}
		time.Sleep(time.Minute)
		if !slices.Equal(w.order, []string{"fence"}) {
			t.Errorf("did %v, want the fence alone: the approval was of the planned plan", w.order)
		}
		if err := approve(Planned); !errors.Is(err, ErrRefused) {
			t.Errorf("approval of the planned plan = %v, want ErrRefused", err)
		}
		if err := approve(Unplanned); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil || w.did["promote"] != 1 {
			t.Errorf("Run = %v after %d promotions, want nil after 1", err, w.did["promote"])
		}
		if took := time.Since(begin); took > 24*time.Hour+5*time.Minute {
			t.Errorf("took %v", took)
		}
		rep, err := r.Report(t.Context(), "run", j)
		if err != nil || rep.Planned || rep.Outcome != "finished" {
			t.Errorf("report: planned %t, %s, %v", rep.Planned, rep.Outcome, err)
		}
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann", Mode: Planned}); err != nil {
			t.Errorf("resumed with its first mode = %v, want nil", err)
		}
	})
}

func TestReportSaysWhatWasReachedAndWhatWasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		slow := func(name, phase string, took time.Duration, needs ...string) Step {
			s := w.step(name, needs...)
			s.Phase, s.Do = phase, func(context.Context) error { time.Sleep(took); w.apply(name); return nil }
			return s
		}
		planned := w.step("planned")
		planned.Only = OnlyPlanned
		r := must(t, "book", planned, slow("a", "promote", time.Minute), slow("b", "promote", time.Minute, "a"), slow("c", "validate", time.Second, "b"))
		since := time.Now().Add(-time.Minute)
		cfg := Config{
			Journal: j, By: "ann", Since: since, RTO: 10 * time.Minute, RPO: time.Minute, Exposure: time.Second,
			Before: phases("detect", 10*time.Second),
		}
		var delivered Report
		cfg.OnReport = func(_ context.Context, rep Report) error { delivered = rep; return errors.New("disk full") }
		rep, err := r.Run(t.Context(), "run", cfg)
		if err != nil || !rep.Met() || rep.Took != 3*time.Minute+time.Second || delivered.Run != "run" {
			t.Errorf("Run = %v, met %t, took %v, delivered %q", err, rep.Met(), rep.Took, delivered.Run)
		}
		var got []string
		for _, p := range rep.Phases {
			got = append(got, p.Phase+" "+p.Took.String())
		}
		if want := []string{"detect 10s", "promote 2m0s", "validate 1s"}; !slices.Equal(got, want) {
			t.Errorf("phases %v, want %v", got, want)
		}
		if rep.Steps[0].State != "left out" {
			t.Errorf("the planned step is %q, want left out", rep.Steps[0].State)
		}
		again, err := r.Report(t.Context(), "run", j) // by another process
		if err != nil || again.RTO != rep.RTO || again.RPO != rep.RPO || again.Exposure != rep.Exposure || !again.Since.Equal(rep.Since) {
			t.Errorf("report from the journal alone: %+v, %v", again, err)
		}
	})
}

func TestReportOfAStoppedRunSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), NewMemoryJournal()
		s := gated(w, "promote")
		r := must(t, "book", s)
		rep, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann", ApprovalTTL: time.Minute, Exposure: 1<<63 - 1})
		if !errors.Is(err, ErrBlocked) || rep.Outcome != "stopped" || !strings.Contains(rep.Markdown(), "0 of 1 approvals") {
			t.Errorf("Run = %v, outcome %s, report\n%s", err, rep.Outcome, rep.Markdown())
		}
		if !strings.Contains(rep.Markdown(), "| none | unknown |") {
			t.Errorf("an unknown exposure is shown as\n%s", rep.Markdown())
		}
		time.Sleep(time.Hour)
		if err := r.Approve(t.Context(), j, "run", "promote", "bob", r.hash(Unplanned), 0); err != nil {
			t.Fatal(err)
		}
		later, err := r.Report(t.Context(), "run", j)
		if err != nil || later.Outcome != "stopped" || !later.Ended.Equal(rep.Ended) {
			t.Errorf("after an approval: %s at %v, %v; want stopped, as before", later.Outcome, later.Ended, err)
		}
	})
}

func TestPlanAsksWhatWouldHurt(t *testing.T) {
	gate := Step{Name: "gate", Approve: 1, Only: OnlyPlanned}
	scale := Step{
		Name: "scale", Needs: []string{"gate"}, ControlPlane: true, Preflight: func(context.Context) error { return errors.New("not authorized") },
		Check: func(context.Context) (State, error) { return StateNeeded, nil },
	}
	r := must(t, "book", gate, scale)
	planned, unplanned := r.Plan(t.Context(), Planned), r.Plan(t.Context(), Unplanned)
	if len(planned.Problems) != 1 || !strings.Contains(planned.Problems[0], "not authorized") || planned.Ready() {
		t.Errorf("planned: problems %q, want the preflight's", planned.Problems)
	}
	if len(unplanned.Problems) != 2 || !strings.Contains(unplanned.Problems[0], "without a person") {
		t.Errorf("unplanned: problems %q; the gate is not of this mode", unplanned.Problems)
	}
	if planned.Hash == unplanned.Hash {
		t.Error("both modes have one hash")
	}
	scale.Timeout = time.Minute
	if must(t, "book", gate, scale).hash(Planned) == planned.Hash {
		t.Error("a changed step has the same hash")
	}
}
