package drill

import (
	"context"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A System is what a drill needs of the service and of what it stands on.
type System struct {
	World   *drtest.World
	Users   http.RoundTripper // the users' way in
	Home    failover.Region   // the writer, to be lost
	Standby failover.Region

	// Controllers returns those of a Region's running processes.
	Controllers func(failover.Region) []*failover.Controller

	// Lose takes the home Region away until undo is called.
	Lose func() (undo func(), err error)

	// Rebuild makes the home Region's database a copy of the standby's and returns the IDs of the orders that only it had. It is called
	// again while it fails.
	Rebuild func(ctx context.Context) (lost []string, err error)

	// Restore makes the standby's database a copy of the home Region's, which writes again. It is called again while it fails. Nil: the way back does that.
	Restore func(ctx context.Context) error

	// Orders returns the IDs of the orders in the writer's database.
	Orders func(ctx context.Context) (map[string]bool, error)

	// Heartbeat is the key that a primary goes on to write after another has taken its place, until it is made a copy. It is no order.
	Heartbeat string

	// Charges and Mails return how often each order was charged and mailed.
	Charges, Mails func() map[string]int

	Calls    *queue.Ledger                   // of deferred calls
	Holdings func() map[string]queue.Holding // where deferred calls may wait
	Unknown  func() []failover.UnknownWrite
}

// writer returns the Region whose processes may write, "" while there is none.
func (s *System) writer() failover.Region {
	for _, r := range []failover.Region{s.Home, s.Standby} {
		for _, c := range s.Controllers(r) {
			if _, ok := c.Ready(); ok {
				return r
			}
		}
	}
	return ""
}

// status is what a process of the Region knows, the zero Status if none runs.
func (s *System) status(r failover.Region) failover.Status {
	for _, c := range s.Controllers(r) {
		return c.Status()
	}
	return failover.Status{}
}

// until polls a condition, and reports whether it came true within limit.
func until(ctx context.Context, every, limit time.Duration, holds func() bool) bool {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for start := time.Now(); time.Since(start) < limit; {
		if holds() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return holds()
}
