package runbook

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// cli runs one command and returns its exit code and what it printed.
func cli(t *testing.T, book *Runbook, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	if len(args) > 0 && args[0] != "plan" {
		args = append(args, "-journal", dir)
	}
	var o, e bytes.Buffer
	code = command(t.Context(), nil, book, args, &o, &e)
	return code, o.String(), e.String()
}

func TestMainFromPlanToAudit(t *testing.T) {
	w := newWorld()
	s := w.step("promote", "check")
	s.Approve = 1
	book, dir := must(t, "book", w.step("check"), s), t.TempDir()
	code, out, _ := cli(t, book, dir, "plan")
	var plan Plan
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != ExitOK || len(plan.Steps) != 2 {
		t.Fatalf("plan = %d %s, %v", code, out, err)
	}
	if len(w.order) != 0 {
		t.Error("plan changed something")
	}
	if code, out, _ := cli(t, book, dir, "plan", "-text"); code != ExitOK || !strings.Contains(out, "+ promote (1 to approve)") {
		t.Errorf("plan -text = %d %s", code, out)
	}

	ended := make(chan int, 1)
	go func() {
		var o, e bytes.Buffer
		ended <- command(t.Context(), nil, book, []string{"run", "-run", "r1", "-by", "ann", "-journal", dir}, &o, &e)
	}()
	for code != ExitOK || !strings.Contains(out, `"started"`) && !strings.Contains(out, `"done"`) { // until the run exists and its first step is done
		code, out, _ = cli(t, book, dir, "status", "-run", "r1")
	}
	if code, _, errs := cli(t, book, dir, "approve", "-run", "r1", "-step", "promote", "-by", "ann", "-plan", plan.Hash); code != ExitRefused {
		t.Errorf("approve by the requester = %d %s, want %d", code, errs, ExitRefused)
	}
	if code, _, errs := cli(t, book, dir, "approve", "-run", "r1", "-step", "promote", "-by", "bob", "-plan", plan.Hash); code != ExitOK {
		t.Errorf("approve = %d %s", code, errs)
	}
	if code := <-ended; code != ExitOK {
		t.Errorf("run = %d, want 0", code)
	}
	if code, out, _ := cli(t, book, dir, "status", "-run", "r1", "-text"); code != ExitOK || !strings.Contains(out, "# book: finished") || !strings.Contains(out, "bob") {
		t.Errorf("status -text = %d %s", code, out)
	}
	if code, _, errs := cli(t, book, dir, "verify-audit", "-run", "r1"); code != ExitOK {
		t.Errorf("verify-audit = %d %s", code, errs)
	}
	path := dir + "/r1.jsonl"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("bob"), []byte("eve"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := cli(t, book, dir, "verify-audit", "-run", "r1"); code != ExitFailed || !strings.Contains(errs, "entry ") {
		t.Errorf("verify-audit of an edited journal = %d %s, want a failure that names the entry", code, errs)
	}
}

func TestMainUsage(t *testing.T) {
	w := newWorld()
	book, dir := must(t, "book", w.step("a")), t.TempDir()
	for name, args := range map[string][]string{
		"nothing": nil, "unknown command": {"x", "-run", "r"}, "unknown flag": {"run", "-x"}, "no run": {"run"}, "extra": {"run", "-run", "r", "x"},
	} {
		var o, e bytes.Buffer
		if code := command(t.Context(), nil, book, args, &o, &e); code != ExitUsage || e.Len() == 0 {
			t.Errorf("%s: exit %d, %q, want %d and a text", name, code, e.String(), ExitUsage)
		}
	}
	if code, _, _ := cli(t, book, dir, "status", "-run", "none"); code != ExitRefused {
		t.Errorf("status of an unknown run = %d, want %d", code, ExitRefused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var o, e bytes.Buffer
	if code := command(ctx, nil, book, []string{"run", "-run", "r", "-by", "ann", "-journal", dir}, &o, &e); code != ExitBlocked {
		t.Errorf("interrupted run = %d %s, want %d", code, e.String(), ExitBlocked)
	}
}

func TestMainHoldsOnToItsRules(t *testing.T) {
	w := newWorld()
	blocked := true
	s := w.step("promote")
	s.Check = func(context.Context) (State, error) {
		if blocked {
			return StateBlocked, nil
		}
		return w.look("promote")
	}
	book, dir, reports := must(t, "book", s), t.TempDir(), t.TempDir()
	expect := func(what string, want int, args ...string) {
		t.Helper()
		if code, _, errs := cli(t, book, dir, args...); code != want {
			t.Errorf("%s = %d %s, want %d", what, code, errs, want)
		}
	}
	expect("a plan that is not ready", ExitBlocked, "plan")
	expect("resume of a run that is not there", ExitRefused, "resume", "-run", "r1", "-by", "ann")
	expect("an instant that is none", ExitUsage, "run", "-run", "r1", "-by", "ann", "-since", "noon")
	expect("a run without a name", ExitRefused, "run", "-run", "r1")
	expect("help of a command", ExitOK, "run", "-h")
	expect("a blocked run", ExitBlocked, "run", "-run", "r1", "-by", "ann", "-planned", "-rto", "1h", "-reports", reports)
	expect("a second run beside it", ExitRefused, "run", "-run", "r2", "-by", "ann")
	expect("unplan without a reason", ExitRefused, "unplan", "-run", "r1", "-by", "bob")
	blocked = false
	expect("resume in the run's own mode", ExitOK, "resume", "-run", "r1", "-by", "ann", "-reports", reports)
	expect("pause of what is over", ExitRefused, "pause", "-run", "r1", "-by", "bob")
	if _, err := os.Stat(reports + "/r1.json"); err != nil {
		t.Error(err)
	}
	expect("a plan that is ready", ExitOK, "plan")
	expect("a missed target", ExitFailed, "run", "-run", "r3", "-by", "ann", "-rto", "1h", "-since", "2020-01-01T00:00:00Z")

	var out, errs bytes.Buffer
	j := NewMemoryJournal()
	if code := command(t.Context(), j, book, []string{"run", "-run", "m1", "-by", "ann"}, &out, &errs); code != ExitOK {
		t.Errorf("a run in a journal of one's own = %d %s", code, errs.String())
	}
	if h := loadRun(t, j, "m1"); !h.finished {
		t.Error("the run is not in the journal that was given")
	}
}

func loadRun(t *testing.T, j Journal, run string) history {
	t.Helper()
	entries, err := j.Load(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	return read(entries)
}
