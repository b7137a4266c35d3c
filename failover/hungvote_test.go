package failover

import (
	"context"
	"testing"
	"time"
)

// mute is a coordinator whose votes hang.
type mute struct{ Coordinator }

func (mute) Vote(ctx context.Context, _ Vote) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// An instance whose votes hang follows the decisions of others: a vote must not take the time of the poll alone.
func TestHungVotesDoNotHideDecisions(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		cfg := f.config(west, "west-mute")
		cfg.Coordinator = mute{f.coord}
		n := f.add(cfg)
		f.until(time.Minute, "the decision is known", func() bool { return n.ctl.Decision().Writer == east })
		f.backends[east].set(true)
		f.until(3*time.Minute, "west opens", func() bool { return f.writers()[west] != 0 })
		f.until(10*time.Second, "the new decision is known", func() bool { return n.ctl.Decision().Writer == west })
	})
}
