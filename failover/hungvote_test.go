package failover

import (
	"context"
	"sync/atomic"
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

// deaf is a coordinator that, once it is, says nothing of votes.
type deaf struct {
	Coordinator
	now atomic.Bool
}

func (d *deaf) Votes(ctx context.Context) ([]Vote, error) {
	if d.now.Load() {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return d.Coordinator.Votes(ctx)
}

// Without leases what the old side acknowledged until it was fenced counts, however long nobody says who votes.
func TestHungVotesDoNotAddToTheExposureOfATokenFence(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		d := &deaf{Coordinator: f.coord}
		f.coord = d
		fenced := make(chan time.Time, 1)
		f.tune = func(c *ControllerConfig) {
			c.Fence, c.Automatic = FenceToken, false
			c.FenceOld = func(context.Context, Transition) error {
				d.now.Store(true)
				time.Sleep(10 * time.Second) // the votes are old then
				fenced <- time.Now()
				return nil
			}
		}
		f.standard()
		ctl := f.nodes[1].ctl
		if _, err := ctl.Failover(t.Context(), west, Request{Reason: "drill", By: "ann", Second: "bob"}); err != nil {
			t.Fatal(err)
		}
		at := <-fenced
		f.until(time.Minute, "the move ends", func() bool { return ctl.Decision().Phase == PhaseSteady })
		if over := ctl.Decision().Last.Exposure.AcknowledgedUntil.Sub(at) - ctl.cfg.MaxFlight; over > time.Second {
			t.Errorf("the exposure counts what was acknowledged until %v after the fence, want none", over)
		}
	})
}
