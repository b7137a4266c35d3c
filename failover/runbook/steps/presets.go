package steps

import (
	"context"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// MonthlySmoke is a monthly check of the standby Region that changes nothing for users: parity, a restore that is tried out, a smoke
// test, and a clean-up. restore brings a copy up and cleanup removes it; restored tells whether it is there. Run it with RunOrUndo, so
// that the clean-up happens in any case.
func MonthlySmoke(parity runbook.Step, restore, cleanup func(context.Context) error, restored func(context.Context) (bool, error), smoke runbook.Step) (*runbook.Runbook, error) {
	try := runbook.Step{Name: "restore a copy", Needs: []string{parity.Name}, Do: restore, Check: when(restored), Undo: cleanup}
	smoke.Needs = append(smoke.Needs, try.Name)
	clean := runbook.Step{
		Name: "remove the copy", Needs: []string{smoke.Name}, Do: cleanup,
		Check: when(func(ctx context.Context) (bool, error) {
			there, err := restored(ctx)
			return !there, err
		}),
	}
	return runbook.New("monthly smoke test", parity, try, smoke, clean)
}

// QuarterlyFailover is a planned move there and back. there and back each begin the move and are done when it is complete, for example
// with Controller.Failover and Controller.Decision; smoke tests the Region while it is the writer.
func QuarterlyFailover(parity, there, smoke, back runbook.Step) (*runbook.Runbook, error) {
	there.Needs = append(there.Needs, parity.Name)
	smoke.Needs = append(smoke.Needs, there.Name)
	back.Needs = append(back.Needs, smoke.Name)
	return runbook.New("quarterly failover", parity, there, smoke, back)
}
