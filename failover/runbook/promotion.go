package runbook

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// Promotion makes a runbook the promotion of a failover controller: its result is a ControllerConfig.Promote. build returns the runbook for a
// transition; it is called again, and must return the same steps, when another instance resumes. The run's ID is the transition's, its
// requester the transition's, its mode too, its report begins with the phases before it, and it returns nil only when every step is
// done, so that the new Region opens only then.
//
// An instance that has been replaced as the executor is fenced off by the journal, which the instances must share: a [FileJournal] does
// where they run on one machine.
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
			c.Since = began(t)
		}
		c.Exposure, c.Before = failover.UnknownExposure, t.Took
		if t.Exposure.Known {
			c.Exposure = max(0, t.Exposure.Bound)
		}
		_, err = book.Run(ctx, t.ID, c)
		return err
	}
}

// began is when the outage did, as far as the transition knows: its request, or before that the fault that the group saw.
func began(t failover.Transition) (since time.Time) {
	since = t.Mark
	for _, p := range t.Took {
		since = since.Add(-p.Took)
	}
	if since.IsZero() || t.Asked.Before(since) {
		return t.Asked
	}
	return since
}
