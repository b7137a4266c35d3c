//go:build unix

package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// onFault does to the servers of a Region that is lost what the World cannot: the primary dies, the others stand still.
func (l *Lab) onFault(f fault.Fault) (undo func(), err error) {
	m := l.servers[f.Region]
	if f.Kind != fault.KindRegionDown || m == nil {
		return nil, nil
	}
	l.cfg.Say("SIGKILL PostgreSQL of %s, pid %d", f.Region, m.pg.Proc().PID)
	if err := m.pg.Kill(); err != nil {
		return nil, err
	}
	resume := func() {}
	for name, s := range map[string]*servers.Server{"Redis": m.redis, "SQS": m.sqs} {
		again, err := l.freeze(name+" of "+f.Region, s)
		if err != nil {
			resume()
			return nil, err
		}
		before := resume
		resume = func() { again(); before() }
	}
	return resume, nil
}

// freeze stops a server where it stands, until undo is called.
func (l *Lab) freeze(name string, s *servers.Server) (undo func(), err error) {
	l.cfg.Say("SIGSTOP %s, pid %d", name, s.Proc().PID)
	if err := s.Freeze(); err != nil {
		return nil, err
	}
	return func() {
		l.cfg.Say("SIGCONT %s, pid %d", name, s.Proc().PID)
		s.Resume()
	}, nil
}

// How the loss of a Region begins: the link goes first, and users are promised orders that the standby will never have. It is their promises that
// count: where the machine is busy the primary is there with charges and commits while no user has heard of one.
const (
	lastOrders = 5
	linkFirst  = 10 * time.Second
	peaceFirst = time.Minute // at most, until orders are placed at all
)

// lose takes the Region away.
func (l *Lab) lose(ctx context.Context, r failover.Region) (undo func(), err error) {
	if err := l.promise(ctx, peaceFirst); err != nil {
		return nil, err
	}
	l.cfg.Say("the link between %s and %s is cut", r, other(r))
	join, err := l.world.Inject(fault.Partition(r, other(r)))
	if err != nil {
		return nil, err
	}
	defer join() // what follows is worse
	if err := l.promise(ctx, linkFirst); err != nil {
		return nil, err
	}
	return l.world.Inject(fault.RegionDown(r, fault.ModeBlackhole))
}

// promise waits until users have been promised orders that they send from now on, at most for limit.
func (l *Lab) promise(ctx context.Context, limit time.Duration) error {
	l.users.begin()
	for started := time.Now(); l.users.orders.Load() < lastOrders && time.Since(started) < limit; {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Mishaps are what a soak chooses from, in the same order each time.
func (l *Lab) Mishaps() (all []drill.Mishap) {
	for _, r := range regions {
		m := l.servers[r]
		all = append(all, l.stop("Redis", r, m.redis), l.stop("SQS", r, m.sqs))
		for n := range instances {
			all = append(all, l.network(fault.Crash(fmt.Sprintf("%s/app-%d", r, n))))
		}
	}
	all = append(all, l.stop("PostgreSQL", real.West, l.servers[real.West].pg.Server))
	for _, f := range []fault.Fault{
		fault.Latency(real.East, real.West, 150*time.Millisecond).WithJitter(100 * time.Millisecond), fault.Loss(real.East, real.West, .05),
		fault.Partition(real.East, real.West), fault.Latency(web, real.East, 200*time.Millisecond), fault.Loss(web, real.East, .05),
	} {
		all = append(all, l.network(f))
	}
	return all
}

// stop lets a server stand still.
func (l *Lab) stop(kind string, r failover.Region, s *servers.Server) drill.Mishap {
	return drill.Mishap{Name: "SIGSTOP of " + kind + " in " + r, Break: func() (func(), error) { return l.freeze(kind+" of "+r, s) }}
}

// network is a fault of the World.
func (l *Lab) network(f fault.Fault) drill.Mishap {
	return drill.Mishap{Name: f.String(), Break: func() (func(), error) { return l.world.Inject(f) }}
}
