//go:build unix

package lab

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// payLatency is what payments and the mail relays take.
const payLatency = 20 * time.Millisecond

// System describes the lab to a drill.
func (l *Lab) System() drill.System {
	return drill.System{
		World: l.world, Users: l.users, Home: real.East, Standby: real.West, Controllers: l.controllers,
		Lose:    func() (func(), error) { return l.lose(context.Background(), real.East) },
		Rebuild: func(ctx context.Context) ([]string, error) { return l.rebuild(ctx, real.East) },
		Restore: l.restore, Orders: l.orders, Charges: l.payments.Charges, Mails: l.relays.Sent, Calls: l.calls, Holdings: l.holdings, Unknown: l.unknown.All,
	}
}

func (l *Lab) controllers(r failover.Region) (all []*failover.Controller) {
	for _, s := range l.pools[r].Services() {
		all = append(all, s.Controller)
	}
	return all
}

var errNoWriter = errors.New("lab: no Region writes")

// orders lists what the writer's database has.
func (l *Lab) orders(ctx context.Context) (map[string]bool, error) {
	for _, r := range regions {
		for _, c := range l.controllers(r) {
			if _, ok := c.Ready(); ok {
				return l.ordersIn(ctx, r)
			}
		}
	}
	return nil, errNoWriter
}

func (l *Lab) ordersIn(ctx context.Context, r failover.Region) (map[string]bool, error) {
	rows, err := l.dbs[r].QueryContext(ctx, `select id from orders`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		all[id] = true
	}
	return all, rows.Err()
}

// A held is a queue that is looked into only if there is something: that takes two long polls.
type held struct{ *sqsqueue.Queue }

// Calls implements queue.Holding.
func (h held) Calls(ctx context.Context) ([]string, error) {
	if d, err := h.Stats(ctx); err == nil && d.Visible+d.InFlight+d.Delayed == 0 {
		return nil, nil
	}
	return h.Queue.Calls(ctx)
}

// holdings are the places where a deferred call may be: every queue, dead-letter queue and spool.
func (l *Lab) holdings() map[string]queue.Holding {
	all := maps.Clone(l.queues)
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(all, l.spools)
	return all
}
