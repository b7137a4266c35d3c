package steps

import (
	"context"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// MonthlySmoke is a monthly check of the standby Region that changes nothing for users: parity, a restore that is tried out, a smoke
// test, and a clean-up. restore brings a copy up and cleanup removes it, also one that is half there; restored tells whether it is there. The
// clean-up happens also when the run fails or is stopped; after a crash it happens when the run is resumed.
func MonthlySmoke(parity runbook.Step, restore, cleanup func(context.Context) error, restored func(context.Context) (bool, error), smoke runbook.Step) (*runbook.Runbook, error) {
	try := runbook.Step{Name: "restore a copy", Needs: []string{parity.Name}, Do: restore, Check: when(restored), Undo: cleanup, Once: true}
	smoke.Needs, smoke.Once = append(smoke.Needs, try.Name), true
	clean := runbook.Step{
		Name: "remove the copy", Needs: []string{smoke.Name}, Do: cleanup,
		Check: when(func(ctx context.Context) (bool, error) {
			there, err := restored(ctx)
			return !there, err
		}),
	}
	book, err := runbook.New("monthly smoke test", parity, try, smoke, clean)
	if err != nil {
		return nil, err
	}
	return book.UndoOnFailure(), nil
}

// QuarterlyFailover is a planned move there and back. there and back each begin the move and are done when it is complete, for example
// with Controller.Failover and Controller.Decision; smoke tests the Region while it is the writer.
func QuarterlyFailover(parity, there, smoke, back runbook.Step) (*runbook.Runbook, error) {
	// Once each: where the move there was made it is not made again, although the move back has taken it back.
	there.Needs, there.Once = append(there.Needs, parity.Name), true
	smoke.Needs, smoke.Once = append(smoke.Needs, there.Name), true
	back.Needs, back.Once = append(back.Needs, smoke.Name), true
	return runbook.New("quarterly failover", parity, there, smoke, back)
}
