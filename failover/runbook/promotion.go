package runbook

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast/failover"
)

// Promotion makes a runbook the promotion of a failover controller: its result is a ControllerConfig.Promote. build returns the runbook for a
// transition; it is called again, and must return the same steps, when another instance resumes. The run's ID is the transition's, its
// requester the transition's, its mode too, and it returns nil only when every step is done, so that the new Region opens only then.
// An instance that has been replaced as the executor is fenced off by the journal.
func Promotion(build func(failover.Transition) (*Runbook, error), cfg Config) func(context.Context, failover.Transition) error {
	return func(ctx context.Context, t failover.Transition) error {
		book, err := build(t)
		if err != nil {
			return fmt.Errorf("runbook: promotion of %q: %w", t.To, err)
		}
		c := cfg
		c.By, c.Reason, c.Mode = t.By, t.Reason, Mode(t.Planned)
		if t.Auto {
			c.By = "auto/" + t.By
		}
		if c.Since.IsZero() {
			c.Since = t.Asked
		}
		c.Exposure = t.Exposure.Bound
		_, err = book.Run(ctx, t.ID, c)
		return err
	}
}
