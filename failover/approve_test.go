package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// guardOf is the guard that refused, "" if err is no refusal.
func guardOf(err error) Guard {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		return ""
	}
	return refused.Guard
}

// The group asks, but can accept nothing: whoever approves accepts the loss.
func TestApproveLoss(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.lag.Store(int64(5 * time.Minute))
		f.tune = func(c *ControllerConfig) { c.Automatic = false }
		f.standard()
		f.backends[east].set(true)
		ctl := f.nodes[1].ctl
		f.until(3*time.Minute, "the group asks", func() bool { return ctl.Decision().Phase == PhaseAwaitApproval })
		id := ctl.Decision().Transition.ID
		approve := func(id string, loss time.Duration, reason, by string) error {
			_, err := ctl.ApproveLoss(t.Context(), id, AcceptLoss{Exposure: loss, Reason: reason, By: by})
			return err
		}
		_, err := ctl.Approve(t.Context(), id, "bob")
		if got := guardOf(err); got != GuardExposure {
			t.Errorf("Approve = %v, want a refusal by the exposure guard", err)
		}
		for what, err := range map[string]error{
			"no reason":       approve(id, time.Hour, " ", "bob"),
			"no name":         approve(id, time.Hour, "customers wait", ""),
			"no exposure":     approve(id, 0, "customers wait", "bob"),
			"the requester's": approve(id, time.Hour, "customers wait", ctl.Decision().Transition.By),
		} {
			if guardOf(err) != GuardRequest {
				t.Errorf("ApproveLoss with %s = %v, want a refusal of the request", what, err)
			}
		}
		if err := approve("another", time.Hour, "customers wait", "bob"); guardOf(err) != GuardPhase {
			t.Errorf("ApproveLoss of another request = %v, want a refusal by the phase guard", err)
		}
		if err := approve(id, 2*time.Minute, "customers wait", "bob"); guardOf(err) != GuardExposure {
			t.Errorf("ApproveLoss of less than is exposed = %v, want a refusal by the exposure guard", err)
		}
		if err := approve(id, time.Hour, "customers wait", "bob"); err != nil {
			t.Fatal(err)
		}
		f.until(time.Minute, "west opens", func() bool { return f.writers()[west] == 3 })
		f.until(time.Minute, "the move ends", func() bool { return ctl.Decision().Phase == PhaseSteady })
		last := ctl.Decision().Last
		if last.Second != "bob" || last.AcceptLoss == nil || last.AcceptLoss.By != "bob" {
			t.Errorf("the move was approved by %q, who accepted %+v; want bob's acceptance", last.Second, last.AcceptLoss)
		}
		if log := fmt.Sprintf("%s", ctl.Status().Log); !strings.Contains(log, "loss up to 1h0m0s accepted by bob: customers wait") {
			t.Errorf("the audit log does not say who accepted which loss: %s", log)
		}
	})
}

// A coordinator that is slow for a moment makes the votes old while the record is read. They are read again.
func TestApproveLooksAgainAtOldVotes(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		slow := &tardy{Coordinator: f.coord}
		f.tune = func(c *ControllerConfig) {
			c.Automatic = false
			if c.Instance == "w0" {
				c.Coordinator = slow
			}
		}
		f.standard()
		for _, n := range f.nodes {
			if n.ctl.cfg.Self == east {
				n.stop()
			}
		}
		f.backends[east].set(true)
		ctl := f.nodes[1].ctl
		f.until(3*time.Minute, "the group asks", func() bool { return ctl.Decision().Phase == PhaseAwaitApproval })
		time.Sleep(10 * time.Minute)
		slow.until.Store(time.Now().Add(6 * time.Second).UnixNano())
		if _, err := ctl.Approve(t.Context(), ctl.Decision().Transition.ID, "bob"); err != nil {
			t.Errorf("Approve beside a coordinator that is slow for 6 s = %v", err)
		}
	})
}

// A tardy coordinator takes 3.5 s for an answer until an instant.
type tardy struct {
	Coordinator
	until atomic.Int64
}

func (c *tardy) wait() {
	if time.Now().UnixNano() < c.until.Load() {
		time.Sleep(3500 * time.Millisecond)
	}
}

func (c *tardy) Load(ctx context.Context) (Record, error) {
	c.wait()
	return c.Coordinator.Load(ctx)
}

func (c *tardy) Votes(ctx context.Context) ([]Vote, error) {
	c.wait()
	return c.Coordinator.Votes(ctx)
}

// An approver who accepts less than the requester did is the one who counts.
func TestApproveLossTakesThePlaceOfTheRequests(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.lag.Store(int64(5 * time.Minute))
		f.standard()
		ctl := f.nodes[1].ctl
		tr, err := ctl.Failover(t.Context(), west, Request{Reason: "drill", By: "ann", AcceptLoss: &AcceptLoss{Exposure: time.Hour, Reason: "any", By: "ann"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ctl.ApproveLoss(t.Context(), tr.ID, AcceptLoss{Exposure: 2 * time.Minute, Reason: "not so much", By: "bob"}); guardOf(err) != GuardExposure {
			t.Errorf("ApproveLoss = %v, want a refusal by the exposure guard", err)
		}
	})
}

// A planned move that may lose nothing is not begun when it would only cut the writer and go back.
func TestPlannedMoveThatIsTooFarBehindNeverCutsTheWriter(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl := f.nodes[0].ctl
		planned := Request{Reason: "drill", By: "ann", Second: "bob", Planned: true}
		if _, err := ctl.Failover(t.Context(), west, planned); err != nil {
			t.Fatal(err)
		}
		f.lag.Store(int64(10 * time.Minute)) // replication stalls while reads drain: the newest sample grows old
		f.until(4*time.Minute, "it goes back", func() bool { return ctl.Decision().Phase == PhaseSteady })
		if d := ctl.Decision(); d.Epoch != 1 || d.Writer != east {
			t.Errorf("writer %q at epoch %d, want %q at 1: the writer was cut for nothing", d.Writer, d.Epoch, east)
		}
		if _, err := ctl.Failover(t.Context(), west, planned); guardOf(err) != GuardExposure {
			t.Errorf("Failover = %v, want a refusal by the exposure guard", err)
		}
	})
}

// What is accepted of a planned move is a limit too.
func TestPlannedMoveLosesAtMostWhatWasAccepted(t *testing.T) {
	for _, c := range []struct {
		accept time.Duration
		writer Region
	}{{time.Minute, east}, {20 * time.Minute, west}} {
		inFleet(t, func(t *testing.T, f *fleet) {
			f.lag.Store(int64(10 * time.Minute))
			f.standard()
			ctl := f.nodes[0].ctl
			_, err := ctl.Failover(t.Context(), west, Request{
				Reason: "evacuate", By: "ann", Second: "bob", Planned: true,
				AcceptLoss: &AcceptLoss{Exposure: c.accept, Reason: "it is copied later", By: "ann"},
			})
			if err != nil {
				t.Fatal(err)
			}
			f.until(10*time.Minute, "it ends", func() bool { return ctl.Decision().Phase == PhaseSteady })
			if got := ctl.Decision().Writer; got != c.writer {
				t.Errorf("with %v accepted and 10m lag the writer is %q, want %q", c.accept, got, c.writer)
			}
		})
	}
}

// The group moves the writer and, an hour after the Region has healed, back. Neither may happen twice within six hours.
func TestAutomaticFailbackHasABudgetOfItsOwn(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.tune = func(c *ControllerConfig) { c.Failback = FailbackAfterStable }
		f.standard()
		ctl := f.nodes[0].ctl
		at := func(writer Region) func() bool {
			return func() bool { d := ctl.Decision(); return d.Phase == PhaseSteady && d.Writer == writer }
		}
		f.backends[east].set(true)
		f.until(3*time.Minute, "the group moves", at(west))
		f.backends[east].set(false)
		took := f.until(2*time.Hour, "it moves back", at(east))
		if took < time.Hour {
			t.Errorf("back after %v, want not before an hour of health", took)
		}
		if last := ctl.Decision().Last; !last.Auto || !last.Planned {
			t.Errorf("the way back was %+v, want automatic and planned", last)
		}
		time.Sleep(40 * time.Minute) // past the cooldown
		f.backends[east].set(true)
		time.Sleep(20 * time.Minute)
		if w := f.writers(); w[west] != 0 {
			t.Errorf("writers %v: a second automatic move within six hours", w)
		}
		if status := f.nodes[1].ctl.Status(); !strings.Contains(status.Refused, string(GuardBudget)) {
			t.Errorf("Status().Refused = %q, want the budget guard's refusal", status.Refused)
		}
		_, err := f.nodes[1].ctl.Failover(t.Context(), west, Request{
			Reason: "a person decides", By: "ann", Second: "bob", AcceptLoss: &AcceptLoss{Exposure: UnknownExposure, Reason: "customers wait", By: "ann"},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.until(2*time.Minute, "a person moves it", at(west))
		f.backends[east].set(false)
		time.Sleep(2 * time.Hour) // healthy for longer than FailbackAfter
		if !at(west)() {
			t.Errorf("decision %+v: a second automatic failback within six hours", ctl.Decision())
		}
		f.until(4*time.Hour, "it moves back when the budget allows", at(east))
	})
}

// Two databases: one copy is fine, of the other nobody has ever heard.
func TestOneCopyOfUnknownAgeIsEnoughToRefuse(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl := f.nodes[1].ctl
		var members []Member[*backend]
		for _, r := range []Region{east, west} {
			members = append(members, Member[*backend]{
				Region: r, Client: f.backends[r], Probe: func(ctx context.Context, b *backend) error { return b.probe(ctx) },
				Lag: func(context.Context, *backend) (LagSample, error) { return LagSample{}, errors.New("no heartbeat") },
			})
		}
		if _, err := New(ctl, members, ClientConfig{Name: "billing"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if _, err := ctl.Failover(t.Context(), west, Request{Reason: "drill", By: "ann", Second: "bob"}); guardOf(err) != GuardExposure {
			t.Errorf("Failover = %v, want a refusal by the exposure guard", err)
		}
		if status := ctl.Status(); status.Exposure.Known {
			t.Errorf("Status().Exposure = %+v, want unknown", status.Exposure)
		}
		if !strings.Contains(fmt.Sprint(ctl.Lint()), "Member.Lag") {
			t.Errorf("Lint() = %v, want the copy without a sample", ctl.Lint())
		}
	})
}

// A database that lost the writer and that nobody has rebuilt is no target, whatever loss is accepted: it takes writes already, so that nothing
// would promote it, and lacks all that was acknowledged since.
func TestFormerWriterIsNoTarget(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		f.backends[east].set(true)
		f.until(3*time.Minute, "west opens", func() bool { return f.writers()[west] == 3 })
		f.epochs.Store(east, uint64(1))
		f.backends[east].set(false)
		ctl := f.nodes[0].ctl
		f.until(10*time.Minute, "east is well", func() bool { return ctl.Decision().Health[east] == HealthHealthy })

		anyLoss := AcceptLoss{Exposure: UnknownExposure, Reason: "customers wait", By: "bob"}
		home := Request{Reason: "home", By: "ann", Second: "bob"}
		unplanned, planned := home, home
		unplanned.AcceptLoss, planned.Planned = &anyLoss, true
		for what, q := range map[string]Request{"planned": planned, "unplanned, with any loss accepted": unplanned} {
			_, err := ctl.Failover(t.Context(), east, q)
			if guardOf(err) != GuardFormerWriter || !strings.Contains(err.Error(), `rebuild it from "`+west+`", or accept the loss with FormerWriter`) {
				t.Errorf("a move that is %s = %v, want a refusal that says what to do", what, err)
			}
		}
		if lint := fmt.Sprint(ctl.Lint()); !strings.Contains(lint, "must be rebuilt before a move there") {
			t.Errorf("Lint() = %s, want the former writer", lint)
		}
		tr, err := ctl.Failover(t.Context(), east, Request{Reason: "home", By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ctl.ApproveLoss(t.Context(), tr.ID, anyLoss); guardOf(err) != GuardFormerWriter {
			t.Errorf("ApproveLoss = %v, want a refusal by the guard against former writers", err)
		}
		bounded := AcceptLoss{Exposure: time.Hour, Reason: "customers wait", By: "bob", FormerWriter: true}
		if _, err := ctl.ApproveLoss(t.Context(), tr.ID, bounded); guardOf(err) != GuardExposure {
			t.Errorf("ApproveLoss of a former writer within an hour = %v, want a refusal by the exposure guard", err)
		}
		asItIs := anyLoss
		asItIs.FormerWriter = true
		if _, err := ctl.ApproveLoss(t.Context(), tr.ID, asItIs); err != nil {
			t.Fatalf("ApproveLoss of a former writer as it is = %v", err)
		}
		f.until(time.Minute, "east opens", func() bool { return f.writers()[east] == 5 })
		if log := fmt.Sprintf("%s", ctl.Status().Log); !strings.Contains(log, "any loss, and a former writer's data, accepted by bob: customers wait") {
			t.Errorf("the audit log does not say what was accepted: %s", log)
		}
	})
}

// Once its data know the epoch of the takeover they are a copy of the new writer's. Who has seen none of them since its start does not know.
func TestFormerWriterIsATargetOnceRebuilt(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		f.backends[east].set(true)
		f.until(3*time.Minute, "west opens", func() bool { return f.writers()[west] == 3 })
		f.epochs.Store(east, uint64(2)) // FenceOld has taught it the cut
		f.backends[east].set(false)
		f.lag.Store(-1)
		ctl, started := f.nodes[0].ctl, f.add(f.config(east, "e3")).ctl
		f.until(10*time.Minute, "east is well", func() bool {
			return ctl.Decision().Health[east] == HealthHealthy && started.Decision().Health[east] == HealthHealthy
		})
		asksAgain := Request{Reason: "home", By: "ann", Second: "bob", AcceptLoss: &AcceptLoss{Exposure: UnknownExposure, Reason: "customers wait", By: "ann"}}
		if _, err := started.Failover(t.Context(), east, asksAgain); guardOf(err) != GuardFormerWriter {
			t.Errorf("Failover by who has seen none of the target's data = %v, want a refusal by the guard against former writers", err)
		}
		f.lag.Store(int64(200 * time.Millisecond))
		time.Sleep(3 * time.Second)
		if _, err := ctl.Failover(t.Context(), east, asksAgain); guardOf(err) != GuardFormerWriter {
			t.Errorf("Failover before the rebuild = %v, want a refusal by the guard against former writers", err)
		}
		f.epochs.Store(east, uint64(3))
		time.Sleep(3 * time.Second)
		if _, err := ctl.Failover(t.Context(), east, Request{Reason: "home", By: "ann", Second: "bob", Planned: true}); err != nil {
			t.Errorf("Failover after the rebuild = %v", err)
		}
	})
}
