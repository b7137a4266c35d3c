package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

// An Operator is the person who puts things right after an outage, as docs/runbooks says: a move that the group does not dare is approved when its writer is gone, a
// former writer's database becomes a copy again, and when all is well the writer goes home.
type Operator struct {
	fleet *Fleet
	rng   *rand.Rand // which disks can be read; used by one look after the other

	mu       sync.Mutex // guards the following
	lost     map[string]time.Time
	unread   []Unread
	accepted int
}

// An Unread is a former writer's database whose disk could not be read when it was rebuilt: what only it had is bounded, not listed.
type Unread struct {
	Store string
	At    time.Time
}

// operatorEvery is how often the operator looks.
const operatorEvery = 10 * time.Second

// StartOperator starts one, in the third Region.
func (f *Fleet) StartOperator() *Operator {
	o := &Operator{fleet: f, rng: f.World.Stream("operator"), lost: map[string]time.Time{}}
	f.third.Go("operator", o.run)
	return o
}

// Lost returns the orders that only a former writer's database had when it was rebuilt: the loss list.
func (o *Operator) Lost() map[string]time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]time.Time{}
	for id, at := range o.lost {
		all[id] = at
	}
	return all
}

// Exercise moves the writer as planned, as people do to know that they can. It goes home when the operator looks next.
func (o *Operator) Exercise(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, operatorEvery)
	defer cancel()
	writer := o.fleet.Writer()
	if writer == nil {
		return
	}
	if controller := writer.steady(); controller != nil {
		_, _ = controller.Failover(ctx, o.fleet.Other(writer).Name, failover.Request{Reason: "an exercise", By: "ann", Second: "bob", Planned: true}) // refused in bad weather
	}
}

// Unread returns the databases that were rebuilt unread.
func (o *Operator) Unread() []Unread {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.unread)
}

// Accepted returns how many moves the operator has approved with the loss that they bring.
func (o *Operator) Accepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted
}

func (o *Operator) run(ctx context.Context) error {
	ticker := time.NewTicker(operatorEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			o.look(ctx)
		}
	}
}

func (o *Operator) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, operatorEvery)
	defer cancel()
	o.approve(ctx)
	writer := o.fleet.Writer()
	if writer == nil {
		return
	}
	controller := writer.steady()
	if controller == nil {
		return // a move is under way
	}
	other := o.fleet.Other(writer)
	switch state, err := other.writableFrom(ctx, o.fleet.third); {
	case err != nil: // not reachable
	case state == runbook.StateDone && writer.steady() != nil: // still: it was not promoted while it was asked
		o.rebuild(other, writer)
	case state == runbook.StateDone:
	case other.Name == East:
		_, _ = controller.Failover(ctx, East, failover.Request{Reason: "home again", By: "ann", Second: "bob", Planned: true}) // refused until East is well
	}
}

// approve lets a move begin that the group has asked for and does not dare, because more may be lost than the RPO, if the writer's database is gone. The operator
// has seen how much.
func (o *Operator) approve(ctx context.Context) {
	for _, s := range o.fleet.Sites {
		for _, svc := range s.Services() {
			st := svc.Controller.Status()
			if st.Phase != failover.PhaseAwaitApproval || st.Transition == nil || !st.Transition.Group || st.Transition.To != s.Name {
				continue
			}
			if o.answers(ctx, o.fleet.Sites[st.Transition.From]) {
				return // it will be back by itself
			}
			loss := failover.AcceptLoss{Exposure: st.Exposure.Bound + operatorEvery, Reason: "the Region is gone", By: "ann"}
			if !st.Exposure.Known { // a former writer that nobody has rebuilt is refused all the same
				loss.Exposure = failover.UnknownExposure
			}
			if _, err := svc.Controller.ApproveLoss(ctx, st.Transition.ID, loss); err == nil {
				o.mu.Lock()
				o.accepted++
				o.mu.Unlock()
			}
			return
		}
	}
}

func (o *Operator) answers(ctx context.Context, s *Site) bool {
	ctx, cancel := context.WithTimeout(ctx, operatorEvery/4)
	defer cancel()
	_, err := s.writableFrom(ctx, o.fleet.third)
	return err == nil
}

// steady returns the controller of a process that may write while no move is under way, nil if there is none.
func (s *Site) steady() *failover.Controller {
	for _, svc := range s.Services() {
		if _, ok := svc.Controller.Ready(); ok && svc.Controller.Status().Phase == failover.PhaseSteady {
			return svc.Controller
		}
	}
	return nil
}

func (o *Operator) rebuild(former, writer *Site) {
	lost, err := former.Rebuild(writer)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rng.Float64() < o.fleet.Config.LostDisks {
		o.unread = append(o.unread, Unread{former.Store.Name(), time.Now()})
		return
	}
	for _, id := range lost {
		o.lost[id] = time.Now()
	}
}

// Degraded returns how many features of all processes are not at their best.
func (f *Fleet) Degraded() int { return len(f.degraded()) }

// degraded says which.
func (f *Fleet) degraded() (worse []string) {
	for _, site := range f.Sites {
		for _, svc := range site.Services() {
			for _, feature := range svc.Modes.Status().Features {
				if feature.Level != best(site.Name, feature.Name) {
					worse = append(worse, fmt.Sprintf("%s is %v in %s", feature.Name, feature.Level, site.Name))
				}
			}
		}
	}
	return worse
}

// best is the level of a feature while all is well and the writer is at home. The standby sends orders on to the writer and takes none itself.
func best(region failover.Region, feature string) degrade.Level {
	if region != East && feature == "checkout" {
		return degrade.ReadOnly
	}
	return degrade.Normal
}
