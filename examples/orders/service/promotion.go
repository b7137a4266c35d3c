package service

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// promotion is the runbook of a move: the controller has fenced the old writer and, when the move is planned, waited until everything acknowledged is on
// the target. Every key must be there as well before anybody repeats a request there.
func (s *Service) promotion(t failover.Transition) (*runbook.Runbook, error) {
	keys := steps.SyncKeys("copy the idempotency keys", s.Keys.Resync, s.unsynced)
	keys.Only = runbook.OnlyPlanned // else the old Region cannot be asked; what is missing there is copied when it is back
	return runbook.New("make "+t.To+" the writer", append(s.parts.Promote(t), keys)...)
}

// unsynced counts what Resync has to do: it knows only that there is something.
func (s *Service) unsynced(context.Context) (int, error) {
	if s.Keys.UnprotectedSince().IsZero() {
		return 0, nil
	}
	return 1, nil
}

func (s Settings) rto() time.Duration {
	if s.RTO == 0 {
		return 15 * time.Minute
	}
	return s.RTO
}
