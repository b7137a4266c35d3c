package main

import (
	"context"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A live shows a fleet on the page.
type live struct {
	fleet  *embedded.Fleet
	log    *page.Log
	faults page.Faults
	rpo    time.Duration
}

// people may press the buttons of the page; a move takes two of them.
var people = []string{"ada", "grace"}

func newPage(l *live) (*page.Page, error) {
	return page.New(page.Config{
		Title: "Orders", Parts: "embedded parts, in one process", State: l.state, Events: l.log, Actions: l.actions(),
		Authorize: page.Loopback(people...), People: people,
	})
}

// started is told of every process that starts; the first of each Region speaks for it.
func (l *live) started(region failover.Region, svc *service.Service) {
	if strings.HasSuffix(svc.Modes.Status().Instance, "-0") {
		svc.Modes.Subscribe(l.log.Levels(region))
	}
}

// newest returns the process that has seen most of the group's decision, nil when none runs.
func (l *live) newest() (newest *service.Service) {
	var sequence uint64
	for _, name := range []string{embedded.East, embedded.West} {
		for _, svc := range l.fleet.Sites[name].Services() {
			if d := svc.Controller.Decision(); newest == nil || d.Sequence > sequence {
				newest, sequence = svc, d.Sequence
			}
		}
	}
	return newest
}

// decisions yields what the newest process obeys, until ctx ends.
func (l *live) decisions(ctx context.Context) iter.Seq[failover.Decision] {
	return func(yield func(failover.Decision) bool) {
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		var last failover.Decision
		for {
			if svc := l.newest(); svc != nil {
				d := svc.Controller.Decision()
				if d.Sequence >= last.Sequence && (d.Sequence != last.Sequence || !maps.Equal(d.Health, last.Health)) {
					if last = d; !yield(d) {
						return
					}
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

func (l *live) state() page.State {
	s := page.State{RPO: l.rpo, Faults: l.faults.Active()}
	if svc := l.newest(); svc != nil {
		s.Decision = svc.Controller.Status()
	}
	for _, name := range []string{embedded.East, embedded.West} {
		s.Regions = append(s.Regions, l.region(l.fleet.Sites[name]))
	}
	twice := int64(0)
	for _, n := range l.fleet.Payments.Charges() {
		if n > 1 {
			twice++
		}
	}
	s.Ledger = []page.Sum{
		{Name: "charged", Count: int64(len(l.fleet.Payments.Charges())), Note: "orders that payments took money for"},
		{Name: "charged twice", Count: twice, Note: "what must not happen", Bad: twice > 0},
		{Name: "mails", Count: int64(len(l.fleet.Relays.Sent())), Note: "orders that were told"},
		{Name: "unknown", Count: int64(len(l.fleet.Unknown.All())), Note: "writes whose outcome nobody knows yet"},
	}
	return s
}

// region is what one Region's first process knows, and what its queues hold.
func (l *live) region(site *embedded.Site) page.Region {
	t := site.Traffic()
	r := page.Region{
		Name: site.Name, Lag: failover.LagSample{ReplicatedThrough: time.Now().Add(-site.Store.Behind()), MeasuredAt: time.Now()},
		Traffic: page.Traffic{OK: t.OK, Degraded: t.Degraded, Refused: t.Refused, Failed: t.Failed, Unknown: t.Unknown},
	}
	depth := queue.Depth{}
	for _, q := range site.Queues {
		c := q.Counts()
		depth.Visible, depth.InFlight, depth.Delayed = depth.Visible+c.Visible, depth.InFlight+c.InFlight, depth.Delayed+c.Delayed
	}
	r.Queue = &depth
	for i, svc := range site.Services() {
		for _, stats := range []queue.SpoolStats{svc.Client.Stats().Spool, svc.Charges.Stats().Spool} {
			r.Spool.Messages, r.Spool.Bytes = r.Spool.Messages+stats.Messages, r.Spool.Bytes+stats.Bytes
		}
		if i > 0 {
			continue
		}
		r.Status, r.Modes = svc.Controller.Status(), svc.Modes.Status()
		r.Breakers = map[string]breaker.Stats{"payments": svc.Payments.Stats()}
		for key, b := range svc.Breakers.All() {
			r.Breakers["sqs "+key] = b.Stats()
		}
	}
	return r
}
