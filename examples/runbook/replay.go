package main

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// A deadLetterQueue is what the replay needs of the queue's client.
type deadLetterQueue struct {
	stranded   func(context.Context) (int, error)  // calls in queues that were left behind
	dryRun     func(context.Context) error         // counts and lists what would be redriven
	redrive    func(context.Context) error         // at a rate that the handler has to spare
	left       func(context.Context) (int, error)  // dead calls that the filter selects
	accountFor func(context.Context) (bool, error) // every accepted call is done, dead, dropped, expired, queued or spooled
}

// queueReplay brings dead calls back.
func queueReplay(q deadLetterQueue) (*runbook.Runbook, error) {
	look := steps.SmokeTest("dry run", q.dryRun)
	look.Phase, look.Once = "assess", true
	redrive := runbook.Step{Name: "redrive", Phase: "replay", Approve: 1, Do: q.redrive, Check: question(func(ctx context.Context) (bool, error) {
		n, err := q.left(ctx)
		return n == 0, err
	})}
	ledger := steps.SmokeTest("close the ledger", closed(q.accountFor))
	return inOrder("queue replay", steps.DrainStranded("drain the stranded queues", q.stranded), look, redrive, ledger)
}

// A feature is what an override needs of the degradation modes.
type feature struct {
	whatIf   func(context.Context) error         // prints what the override would do
	override func(context.Context) error         // with a reason, a name and an end
	set      func(context.Context) (bool, error) // the override is in force
	clear    func(context.Context) error
}

// flagOverride degrades a feature by hand for as long as its cause lasts.
func flagOverride(f feature, recovered func(context.Context) error) (*runbook.Runbook, error) {
	look := steps.SmokeTest("what if", f.whatIf)
	look.Phase, look.Once = "assess", true
	override := runbook.Step{Name: "override", Phase: "degrade", Do: f.override, Check: question(f.set), Undo: f.clear, Once: true}
	wait := steps.SmokeTest("wait for the dependency", recovered)
	wait.Once = true
	clear := runbook.Step{Name: "clear the override", Phase: "restore", Do: f.clear, Check: question(func(ctx context.Context) (bool, error) {
		set, err := f.set(ctx)
		return !set, err
	})}
	return inOrder("flag override", look, override, wait, clear)
}

var errOpen = errors.New("some calls are unaccounted for")

// closed makes a test of a question.
func closed(yes func(context.Context) (bool, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		ok, err := yes(ctx)
		if err == nil && !ok {
			err = errOpen
		}
		return err
	}
}
