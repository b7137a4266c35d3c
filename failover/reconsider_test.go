package failover

import (
	"strings"
	"testing"
	"time"
)

// A request by the group does not outlive its reason: it stands in the way of every other move.
func TestRequestOfTheGroupEndsWithItsReason(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.tune = func(c *ControllerConfig) { c.Automatic = false }
		f.standard()
		ctl := f.nodes[1].ctl
		f.backends[east].set(true)
		f.until(3*time.Minute, "the group asks", func() bool { return ctl.Decision().Phase == PhaseAwaitApproval })
		f.backends[east].set(false)
		f.until(10*time.Minute, "the request is gone", func() bool { return ctl.Decision().Phase == PhaseSteady })
		status := ctl.Status()
		if last := string(status.Log[len(status.Log)-1]); status.Writer != east || !strings.Contains(last, "healthy again") {
			t.Errorf("writer %q, last entry %s, want the old writer and a denial with its reason", status.Writer, last)
		}
	})
}

// A person's request stays: the group does not know its reason.
func TestRequestOfAPersonStays(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl := f.nodes[1].ctl
		if _, err := ctl.Failover(t.Context(), west, Request{Reason: "works on the mains", By: "ann", Planned: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if phase := ctl.Decision().Phase; phase != PhaseAwaitApproval {
			t.Errorf("after ten minutes the phase is %v, want the request waiting", phase)
		}
	})
}

// Without the witness the group asks a person; when the witness is back and agrees, it does not wait for that person.
func TestRequestBecomesAMoveOfTheGroup(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.tune = func(c *ControllerConfig) { c.RPO = 10 * time.Minute } // the old writer is not cut off: exposure grows while people are asked
		f.standard()
		ctl := f.nodes[1].ctl
		for _, witness := range f.nodes[6:] {
			witness.stop()
		}
		f.backends[east].set(true)
		f.until(5*time.Minute, "the group asks", func() bool { return ctl.Decision().Phase == PhaseAwaitApproval })
		f.add(f.config(central, "c2"))
		f.until(5*time.Minute, "west opens", func() bool { return f.writers()[west] > 0 })
		f.until(time.Minute, "the move ends", func() bool { return ctl.Decision().Phase == PhaseSteady })
		if last := ctl.Decision().Last; !last.Auto || last.Second != "" {
			t.Errorf("the move is %+v, want one of the group", last)
		}
	})
}
