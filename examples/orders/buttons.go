package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
)

// actions are the page's buttons.
func (l *live) actions() []page.Action {
	actions := l.moves()
	for _, name := range []string{embedded.East, embedded.West} {
		actions = append(actions, l.regionFaults(l.fleet.Sites[name])...)
	}
	return append(actions,
		l.injects("payments", "Payments", "", "Payments answer 503: charges are deferred.", fault.Gray("payments.internal", 1).WithStatus(503)),
		l.injects("replication", "Replication lag", "", "The standby's copy falls a minute behind: an unplanned move is refused above the RPO.", fault.ReplicationLag("orders-west", time.Minute)),
		page.Action{ID: "heal", Label: "Heal all", Group: "Faults", Help: "Ends every fault.", Tone: page.ToneGood, Do: func(context.Context, page.Action, string) error {
			l.faults.Heal()
			return nil
		}})
}

func (l *live) regionFaults(site *embedded.Site) []page.Action {
	short := strings.ReplaceAll(site.Name, "_", "-")
	redis := page.Action{ID: "redis-" + short, Label: "Redis", Group: "Faults", Region: site.Name, Help: "The Region's key store freezes."}
	sqs := page.Action{ID: "sqs-" + short, Label: "SQS", Group: "Faults", Region: site.Name, Help: "The Region's SQS refuses every request."}
	return []page.Action{
		l.injects("refuse-"+short, "Down: refuse", site.Name, "Machines are up, processes gone: connections are refused.", fault.RegionDown(site.Name, fault.ModeRefuse)),
		l.injects("blackhole-"+short, "Down: black hole", site.Name, "Power or network is gone: silence.", fault.RegionDown(site.Name, fault.ModeBlackhole)),
		l.injects("gray-"+short, "Gray", site.Name, "Four requests in ten fail.", fault.Gray("orders."+site.Name+".internal", .4)),
		l.injects("slow-"+short, "Slow", site.Name, "Everything to and from the Region takes 300 ms more.", fault.Latency(site.Name, fault.Others, 300*time.Millisecond)),
		l.faults.Action(redis, func(context.Context) (func(), error) { return site.Redis.Pause(), nil }),
		l.faults.Action(sqs, func(context.Context) (func(), error) {
			return site.SQS.Inject(sqstest.Fault{Code: "InternalFailure"}), nil
		}),
		{
			ID: "rebuild-" + short, Label: "Rebuild", Group: "Move", Region: site.Name, Help: "Makes the database of this Region a copy of the writer's again, after an outage.",
			Confirm: "What only this copy has is lost. Rebuild?", Do: func(context.Context, page.Action, string) error { return l.rebuild(site) },
		},
	}
}

// injects is a button that injects a fault of the World.
func (l *live) injects(id, label string, region failover.Region, help string, f fault.Fault) page.Action {
	return l.faults.Action(page.Action{ID: id, Label: label, Group: "Faults", Region: region, Help: help},
		func(context.Context) (func(), error) { return l.fleet.World.Inject(f) })
}

func (l *live) rebuild(site *embedded.Site) error {
	writer := l.fleet.Writer()
	if writer == nil || writer == site {
		return errors.New("there must be a writer, and it must be the other Region")
	}
	lost, err := site.Rebuild(writer)
	if err == nil && len(lost) > 0 {
		l.log.Add(page.Event{Kind: page.KindDecision, Tone: page.ToneBad, Region: site.Name, Text: fmt.Sprintf("%d orders were lost with %s", len(lost), site.Name), Detail: strings.Join(lost, ", ")})
	}
	return err
}

var errNobody = errors.New("no process runs")

// moves are the buttons that move the writer. Another person than who asked approves.
func (l *live) moves() []page.Action {
	ask := func(to failover.Region, planned bool) func(context.Context, page.Action, string) error {
		return l.ask(func(ctx context.Context, ctl *failover.Controller, by string) error {
			_, err := ctl.Failover(ctx, to, failover.Request{Reason: "by hand, on the page", By: by, Planned: planned})
			return err
		})
	}
	var actions []page.Action
	for _, to := range []string{embedded.East, embedded.West} {
		here := func(s page.State) string {
			if s.Decision.Writer == to {
				return to + " is the writer"
			}
			return ""
		}
		actions = append(actions,
			page.Action{ID: "failover-" + to, Label: "Fail over to here", Group: "Move", Region: to, Help: "At once: what is not replicated is lost, within the exposure.", Unavailable: here, Do: ask(to, false)},
			page.Action{ID: "move-" + to, Label: "Move here as planned", Group: "Move", Region: to, Help: "Without loss: reads first, then a pause of writes. A failback is such a move.", Unavailable: here, Do: ask(to, true)})
	}
	return append(actions,
		page.Action{
			ID: "approve", Label: "Approve", Group: "Move", Pending: true, Tone: page.ToneGood, Help: "Another person than who asked.",
			Do: func(ctx context.Context, a page.Action, by string) error {
				return l.ask(func(ctx context.Context, ctl *failover.Controller, by string) error {
					_, err := ctl.Approve(ctx, a.Move, by)
					return err
				})(ctx, a, by)
			},
		},
		page.Action{
			ID: "deny", Label: "Deny", Group: "Move", Pending: true, Tone: page.ToneBad, Help: "Ends the move.",
			Do: func(ctx context.Context, a page.Action, by string) error {
				return l.ask(func(ctx context.Context, ctl *failover.Controller, by string) error {
					return ctl.Deny(ctx, a.Move, by, "on the page")
				})(ctx, a, by)
			},
		})
}

// ask does something with the controller that has seen most.
func (l *live) ask(do func(context.Context, *failover.Controller, string) error) func(context.Context, page.Action, string) error {
	return func(ctx context.Context, _ page.Action, by string) error {
		svc := l.newest()
		if svc == nil {
			return errNobody
		}
		return do(ctx, svc.Controller, by)
	}
}
