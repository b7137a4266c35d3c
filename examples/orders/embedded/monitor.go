package embedded

import (
	"context"
	"database/sql"
	"errors"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// A Monitor looks at what a Site stands on from the third Region, as a dashboard does. Each look is a round trip.
type Monitor struct {
	site   *Site
	db     *sql.DB
	queues []*sqsqueue.Queue
}

// Monitor connects one. Close it.
func (s *Site) Monitor() (*Monitor, error) {
	third := s.fleet.third
	m := &Monitor{site: s, db: sql.OpenDB(s.Store.Connector(third))}
	api := s.SQS.Client(third)
	for i := range s.Queues {
		q, err := sqsqueue.New(api, s.Queues[i].URL(), sqsqueue.Config{DeadLetterURL: s.Dead[i].URL(), Region: s.Name, Retention: queueRetention})
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.queues = append(m.queues, q)
	}
	return m, nil
}

// Close lets go of the connections.
func (m *Monitor) Close() error { return m.db.Close() }

// Depth asks the Region's SQS how many deferred calls wait, of both lanes.
func (m *Monitor) Depth(ctx context.Context) (sum queue.Depth, err error) {
	for _, q := range m.queues {
		d, err := q.Stats(ctx)
		if err != nil {
			return queue.Depth{}, err
		}
		sum.Visible, sum.InFlight, sum.Delayed = sum.Visible+d.Visible, sum.InFlight+d.InFlight, sum.Delayed+d.Delayed
	}
	return sum, nil
}

// Lag asks the Region's database how far it has come.
func (m *Monitor) Lag(ctx context.Context) (failover.LagSample, error) {
	return Database{}.Lag(ctx, m.db)
}

// Primary asks the Region's database whether it takes writes, as one does that nobody has rebuilt after it lost its role.
func (m *Monitor) Primary(ctx context.Context) (bool, error) {
	state, err := m.site.writableFrom(ctx, m.site.fleet.third)
	return state == runbook.StateDone, err
}
