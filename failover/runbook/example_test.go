package runbook_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

// A lamp is what the examples switch.
type lamp struct{ on bool }

func (l *lamp) step(name string, needs ...string) runbook.Step {
	return runbook.Step{
		Name: name, Needs: needs,
		Check: func(context.Context) (runbook.State, error) {
			if l.on {
				return runbook.StateDone, nil
			}
			return runbook.StateNeeded, nil
		},
		Do:   func(context.Context) error { l.on = true; return nil },
		Undo: func(context.Context) error { l.on = false; return nil },
	}
}

// outcome runs book with a fresh journal and prints how it ended.
func outcome(book *runbook.Runbook, cfg runbook.Config) runbook.Report {
	if cfg.Journal == nil {
		cfg.Journal = runbook.NewMemoryJournal()
	}
	cfg.By, cfg.PollEvery = "ann", 10*time.Millisecond
	report, err := book.Run(context.Background(), "run-1", cfg)
	fmt.Println(report.Outcome, err)
	return report
}

func ExampleNew() {
	var a, b lamp
	_, err := runbook.New("circle", a.step("a", "b"), b.step("b", "a"))
	fmt.Println(err)
	// Output: runbook "circle": steps need each other in a circle: a, b
}

func ExampleRunbook_Plan() {
	var standby, primary lamp
	standby.on = true
	promote := primary.step("promote", "scale")
	promote.Approve = 1
	book, _ := runbook.New("promote us-west-2", standby.step("scale"), promote)
	plan := book.Plan(context.Background(), runbook.Unplanned)
	for _, s := range plan.Steps {
		fmt.Println(s.Name, s.State, s.Approve)
	}
	fmt.Println(plan.Ready(), primary.on)
	// Output:
	// scale done 0
	// promote needed 1
	// true false
}

func ExampleRunbook_Run() {
	var a, b lamp
	book, _ := runbook.New("book", a.step("a"), b.step("b", "a"))
	for _, s := range outcome(book, runbook.Config{}).Steps {
		fmt.Println(s.Name, s.State)
	}
	// Output:
	// finished <nil>
	// a done
	// b done
}

// The reply of a promotion is lost. Verify sees that it happened; Do does not run again.
func ExampleRunbook_Run_lostReply() {
	var primary lamp
	promote := primary.step("promote")
	promote.Do = func(context.Context) error {
		primary.on = true
		return errors.New("connection reset")
	}
	book, _ := runbook.New("book", promote)
	fmt.Println(outcome(book, runbook.Config{}).Steps[0].Reason)
	// Output:
	// finished <nil>
	// Do failed and has taken effect: connection reset
}

func ExampleRunbook_Approve() {
	var primary lamp
	promote := primary.step("promote")
	promote.Approve = 1
	book, _ := runbook.New("book", promote)
	ctx, journal := context.Background(), runbook.NewMemoryJournal()
	outcome(book, runbook.Config{Journal: journal, ApprovalTTL: time.Millisecond})
	plan := book.Plan(ctx, runbook.Unplanned)
	fmt.Println(book.Approve(ctx, journal, "run-1", "promote", "ann", plan.Hash, 0))
	fmt.Println(book.Approve(ctx, journal, "run-1", "promote", "bob", plan.Hash, 0))
	report := outcome(book, runbook.Config{Journal: journal}) // the run is resumed
	fmt.Println(report.Steps[0].Approvers)
	// Output:
	// stopped runbook "book": step "promote" stopped at approve: runbook: blocked: 0 of 1 approvals within 1ms
	// runbook: refused: ann asked for run "run-1" and cannot approve its steps
	// <nil>
	// finished <nil>
	// [bob]
}

func ExampleRunbook_Skip() {
	dark := runbook.Step{Name: "fence the old side", Waive: true, Check: func(context.Context) (runbook.State, error) {
		return runbook.StateBlocked, errors.New("no route to host")
	}}
	book, _ := runbook.New("book", dark)
	journal := runbook.NewMemoryJournal()
	outcome(book, runbook.Config{Journal: journal})
	fmt.Println(book.Skip(context.Background(), journal, "run-1", "fence the old side", "bob", "the Region is dark"))
	step := outcome(book, runbook.Config{Journal: journal}).Steps[0]
	fmt.Println(step.State, step.By, step.Reason)
	// Output:
	// stopped runbook "book": step "fence the old side" stopped at check: no route to host
	// <nil>
	// finished <nil>
	// skipped bob the Region is dark
}

func ExampleRunbook_Undo() {
	var a lamp
	failing := runbook.Step{Name: "b", Needs: []string{"a"}, Check: func(context.Context) (runbook.State, error) {
		return runbook.StateBlocked, errors.New("quota")
	}}
	book, _ := runbook.New("book", a.step("a"), failing)
	journal := runbook.NewMemoryJournal()
	outcome(book, runbook.Config{Journal: journal})
	report, err := book.Undo(context.Background(), "run-1", runbook.Config{Journal: journal, By: "ann"})
	fmt.Println(report.Outcome, err, a.on)
	// Output:
	// stopped runbook "book": step "b" stopped at check: quota
	// undone <nil> false
}

func ExampleRunbook_UndoOnFailure() {
	var copied lamp
	smoke := runbook.Step{Name: "smoke", Needs: []string{"restore"}, Check: func(context.Context) (runbook.State, error) {
		return runbook.StateBlocked, errors.New("no orders in the copy")
	}}
	book, _ := runbook.New("monthly", copied.step("restore"), smoke)
	outcome(book.UndoOnFailure(), runbook.Config{})
	fmt.Println(copied.on)
	// Output:
	// undone runbook "monthly": step "smoke" stopped at check: no orders in the copy
	// false
}

func ExampleRunbook_Unplan() {
	wait := runbook.Step{Name: "wait for the last write", Only: runbook.OnlyPlanned, Check: func(context.Context) (runbook.State, error) {
		return runbook.StateBlocked, errors.New("the primary is gone")
	}}
	var primary lamp
	book, _ := runbook.New("book", wait, primary.step("promote", wait.Name))
	journal := runbook.NewMemoryJournal()
	outcome(book, runbook.Config{Journal: journal, Mode: runbook.Planned})
	fmt.Println(book.Unplan(context.Background(), journal, "run-1", "bob", "the Region was lost on the way"))
	report := outcome(book, runbook.Config{Journal: journal, Mode: runbook.Planned})
	fmt.Println(report.Planned, report.Steps[0].State)
	// Output:
	// stopped runbook "book": step "wait for the last write" stopped at check: the primary is gone
	// <nil>
	// finished <nil>
	// false left out
}

func ExamplePause() {
	full := runbook.Step{Name: "scale", Check: func(context.Context) (runbook.State, error) { return runbook.StateBlocked, errors.New("quota") }}
	book, _ := runbook.New("book", full)
	ctx, journal := context.Background(), runbook.NewMemoryJournal()
	outcome(book, runbook.Config{Journal: journal})
	fmt.Println(runbook.Pause(ctx, journal, "run-1", "bob", "look first"))
	fmt.Println(runbook.Continue(ctx, journal, "run-1", "bob"))
	fmt.Println(runbook.Cancel(ctx, journal, "run-1", "bob", "the Region is back"))
	_, err := book.Run(ctx, "run-1", runbook.Config{Journal: journal, By: "ann"})
	fmt.Println(err)
	// Output:
	// stopped runbook "book": step "scale" stopped at check: quota
	// <nil>
	// <nil>
	// <nil>
	// runbook: refused: run "run-1" was cancelled by bob: the Region is back
}

func ExampleToken() {
	s := runbook.Step{Name: "scale", Once: true, Check: func(ctx context.Context) (runbook.State, error) {
		fmt.Println(runbook.RunID(ctx), runbook.Token(ctx))
		return runbook.StateDone, nil
	}}
	book, _ := runbook.New("book", s)
	outcome(book, runbook.Config{})
	// Output:
	// run-1 276ff2218d1d7e8c02eba96903a00993
	// finished <nil>
}

func ExampleRunbook_Markdown() {
	var a, b lamp
	promote := b.step("promote", "fence")
	promote.Undo, promote.PointOfNoReturn, promote.Approve = nil, true, 2
	book, _ := runbook.New("book", a.step("fence"), promote)
	fmt.Print(book.Markdown())
	// Output:
	// 1. **fence**: can be undone
	// 2. **promote**: 2 to approve; point of no return; after fence
}

func ExamplePromotion() {
	var primary lamp
	promote := runbook.Promotion(func(t failover.Transition) (*runbook.Runbook, error) {
		return runbook.New("promote "+t.To, primary.step("promote the database"))
	}, runbook.Config{Journal: runbook.NewMemoryJournal(), RTO: 15 * time.Minute})
	fmt.Println(promote(context.Background(), failover.Transition{ID: "move-1", To: "us-west-2", By: "ann", Reason: "drill"}), primary.on)
	// Output: <nil> true
}

func ExampleWriteReports() {
	dir, err := os.MkdirTemp("", "reports")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var a lamp
	book, _ := runbook.New("book", a.step("a"))
	outcome(book, runbook.Config{OnReport: runbook.WriteReports(dir)})
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		fmt.Println(f.Name())
	}
	// Output:
	// finished <nil>
	// run-1.json
	// run-1.md
}

func ExampleVerifyChain() {
	var a lamp
	book, _ := runbook.New("book", a.step("a"))
	journal := runbook.NewMemoryJournal()
	outcome(book, runbook.Config{Journal: journal})
	entries, _ := journal.Load(context.Background(), "run-1")
	fmt.Println(runbook.VerifyChain(entries))
	entries[1].By = "eve"
	fmt.Println(runbook.VerifyChain(entries))
	// Output:
	// finished <nil>
	// <nil>
	// runbook: journal broken: run "run-1": entry 3 does not continue the one before it
}
