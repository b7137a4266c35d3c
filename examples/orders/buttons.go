package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
)

// How bad the faults with a degree are.
const (
	grayShare = 0.3                    // of requests
	slowBy    = 300 * time.Millisecond // each way
	lagBy     = 90 * time.Second       // above the exposure that is accepted
)

var errNobody = errors.New("no Region writes now")

// actions are the buttons.
func (l *live) actions() (all []page.Action) {
	for _, r := range l.regions {
		all = append(all, l.breaking(r)...)
		all = append(all, page.Action{
			ID: "rebuild-" + r.site.Name, Region: r.site.Name, Group: "Repair", Label: "Rebuild the database",
			Help:    "Makes a former writer's database a copy of the writer's. Orders that only it had go on the loss list.",
			Confirm: "Orders that only this database has are lost, and listed. Rebuild it as a copy of the writer's?", Do: l.rebuild(r), Unavailable: func(page.State) string { return r.whole() },
		})
	}
	for _, to := range []failover.Region{embedded.West, embedded.East} {
		all = append(all, page.Action{
			ID: "fail-over-" + to, Group: "Move the writer", Label: "Fail over to " + to, Tone: page.ToneBad,
			Help:    "Asks for a move at once; what is not replicated may be lost. Another person approves.",
			Confirm: "Writes stop until " + to + " is promoted, and what is not replicated may be lost. Another person has to approve.",
			Do:      l.move(to, false), Unavailable: already(to),
		})
	}
	return append(all,
		page.Action{
			ID: "fail-back", Group: "Move the writer", Label: "Fail back to " + embedded.East, Help: "Asks for a planned move, without loss. Another person approves.",
			Do: l.move(embedded.East, true), Unavailable: already(embedded.East),
		},
		page.Action{ID: "approve", Pending: true, Label: "Approve", Tone: page.ToneGood, Do: l.asked(func(ctx context.Context, c *failover.Controller, a page.Action, by string) error {
			_, err := c.Approve(ctx, a.Move, by)
			return err
		})},
		page.Action{ID: "deny", Pending: true, Label: "Deny", Do: l.asked(func(ctx context.Context, c *failover.Controller, a page.Action, by string) error {
			return c.Deny(ctx, a.Move, by, "denied on the page")
		})},
		page.Action{
			ID: "heal", Group: "Faults", Label: "Heal everything", Tone: page.ToneGood, Help: "Ends all faults. What they left is repaired by the service, and a former writer's database by you.",
			Do: func(context.Context, page.Action, string) error { l.faults.Heal(); return nil },
		})
}

// breaking are the faults of one Region.
func (l *live) breaking(r *watched) (all []page.Action) {
	name := r.site.Name
	add := func(id, group, label, help string, inject func() (func(), error)) {
		all = append(all, l.faults.Action(page.Action{ID: id + "-" + name, Region: name, Group: group, Label: label, Help: help, Tone: page.ToneBad},
			func(context.Context) (func(), error) { return inject() }))
	}
	inject := func(f fault.Fault) func() (func(), error) {
		return func() (func(), error) { return l.world.Inject(f) }
	}
	add("refuse", "Region down", "Refuse", "Processes are gone; connections are refused.", inject(fault.RegionDown(name, fault.ModeRefuse)))
	add("blackhole", "Region down", "Black hole", "The network is gone: silence.", inject(fault.RegionDown(name, fault.ModeBlackhole)))
	add("gray", "Region down", "Gray", "Three of ten requests of users fail; health checks may not see it.", inject(fault.Gray(r.site.Host(), grayShare)))
	add("slow", "Region down", "Slow", "All that goes in or out takes 300 ms longer each way.", inject(fault.Latency(name, fault.Others, slowBy)))
	add("redis", "Parts", "Redis", "The key store hangs.", func() (func(), error) { return r.site.Redis.Pause(), nil })
	add("sqs", "Parts", "SQS", "Every request fails.", func() (func(), error) { return r.site.SQS.Inject(sqstest.Fault{Code: "InternalFailure"}), nil })
	if name == embedded.East {
		add("payments", "Parts", "Payments", "They answer 503. They exist in this Region only.", inject(fault.Gray(embedded.PaymentsHost, 1).WithStatus(503)))
	}
	add("lag", "Parts", "Replication lag", "The copy here falls 90 s behind.", inject(fault.ReplicationLag(r.site.Store.Name(), lagBy)))
	all[len(all)-1].Unavailable = func(s page.State) string {
		if s.Decision.Writer == name {
			return name + " is the writer; the copy is in the other Region"
		}
		return ""
	}
	return all
}

// already refuses a move to where the writer is.
func already(to failover.Region) func(page.State) string {
	return func(s page.State) string {
		switch {
		case s.Decision.Phase != failover.PhaseSteady:
			return "another move is under way"
		case s.Decision.Writer == to:
			return to + " is the writer already"
		}
		return ""
	}
}

// asked makes an action of what a controller is asked.
func (l *live) asked(do func(context.Context, *failover.Controller, page.Action, string) error) func(context.Context, page.Action, string) error {
	return func(ctx context.Context, a page.Action, by string) error {
		c := l.best()
		if c == nil {
			return errors.New("no process runs")
		}
		return do(ctx, c, a, by)
	}
}

func (l *live) move(to failover.Region, planned bool) func(context.Context, page.Action, string) error {
	return l.asked(func(ctx context.Context, c *failover.Controller, _ page.Action, by string) error {
		_, err := c.Failover(ctx, to, failover.Request{By: by, Reason: "asked on the page", Planned: planned})
		return err
	})
}

// whole says why there is nothing to rebuild, "" if there is.
func (r *watched) whole() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.former {
		return r.site.Name + " has no former writer's database that answers"
	}
	return ""
}

func (l *live) rebuild(r *watched) func(context.Context, page.Action, string) error {
	return func(context.Context, page.Action, string) error {
		writer := l.fleet.Writer()
		if writer == nil || writer == r.site {
			return errNobody
		}
		lost, err := r.site.Rebuild(writer)
		if err != nil {
			return err
		}
		promised := l.books.lose(lost)
		r.mu.Lock()
		r.former = false
		r.mu.Unlock()
		l.log.Add(page.Event{
			Region: r.site.Name, Tone: page.ToneGood, Text: fmt.Sprintf("The database of %s is a copy of %s again", r.site.Name, writer.Name),
			Detail: fmt.Sprintf("loss list: %d orders were only there, %d of them promised to a user", len(lost), promised),
		})
		return nil
	}
}
