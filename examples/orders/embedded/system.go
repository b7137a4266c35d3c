package embedded

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// System describes the fleet to a drill, which loses East by cutting it off from everybody.
func (f *Fleet) System() drill.System {
	east, west := f.Sites[East], f.Sites[West]
	return drill.System{
		World: f.World, Users: f.Users(), Home: East, Standby: West, Controllers: f.controllers,
		Lose:    func() (func(), error) { return f.World.Inject(fault.RegionDown(East, fault.ModeBlackhole)) },
		Rebuild: func(context.Context) ([]string, error) { return east.Rebuild(west) },
		Orders:  f.orders, Heartbeat: KeyHeartbeat, Charges: f.Payments.Charges, Mails: f.Relays.Sent,
		Calls: f.Ledger, Holdings: f.holdings, Unknown: f.Unknown.All,
	}
}

func (f *Fleet) controllers(region failover.Region) (all []*failover.Controller) {
	for _, s := range f.Sites[region].Services() {
		all = append(all, s.Controller)
	}
	return all
}

var errNoWriter = errors.New("embedded: no Region writes")

// orders lists what the writer's database has.
func (f *Fleet) orders(context.Context) (map[string]bool, error) {
	writer := f.Writer()
	if writer == nil {
		return nil, errNoWriter
	}
	ids := map[string]bool{}
	for _, key := range writer.Store.Keys() {
		if id, ok := cutOrder(key); ok {
			ids[id] = true
		}
	}
	return ids, nil
}

// holdings are the places where a deferred call may be while processes run: every queue, dead-letter queue and spool.
func (f *Fleet) holdings() map[string]queue.Holding {
	all := map[string]queue.Holding{}
	for region, s := range f.Sites {
		for i, lane := range lanes {
			all[region+" "+lane], all[region+" "+lane+"-dead"] = held{s.Queues[i]}, held{s.Dead[i]}
		}
		s.mu.Lock()
		for name, spool := range s.spools {
			all[name] = spool
		}
		s.mu.Unlock()
	}
	return all
}
