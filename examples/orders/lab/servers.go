//go:build unix

package lab

import (
	"context"
	"errors"
	"net/url"
	"sync"

	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// machines are the servers of one Region.
type machines struct {
	pg         *servers.Postgres
	redis, sqs *servers.Server
}

// regions that have servers.
var regions = []failover.Region{real.East, real.West}

// startServers starts all of them side by side, below dir.
func startServers(ctx context.Context, dir string) (map[failover.Region]*machines, error) {
	all := map[failover.Region]*machines{real.East: {}, real.West: {}}
	var starts []func() error
	for _, r := range regions {
		m := all[r]
		starts = append(starts,
			func() (err error) {
				m.redis, err = servers.StartRedis(ctx, servers.Place{Name: "redis-" + r, Dir: dir})
				return err
			},
			func() (err error) {
				m.sqs, err = servers.StartFauxqs(ctx, servers.Place{Name: "sqs-" + r, Dir: dir}, r)
				return err
			})
	}
	starts = append(starts, func() (err error) {
		all[real.East].pg, all[real.West].pg, err = servers.StartPostgres(ctx, servers.Place{Name: "postgres-" + real.East, Dir: dir}, servers.Place{Name: "postgres-" + real.West, Dir: dir})
		return err
	})
	errs := make([]error, len(starts))
	var wg sync.WaitGroup
	for i, start := range starts {
		wg.Go(func() { errs[i] = start() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, closeServers(all))
	}
	return all, nil
}

// closeServers ends those that were started, whatever state they are in.
func closeServers(all map[failover.Region]*machines) error {
	return each(all, (*servers.Server).Close)
}

// killServers ends them without a chance to write anything.
func killServers(all map[failover.Region]*machines) error {
	return each(all, func(s *servers.Server) error { return errors.Join(s.Kill(), s.Close()) })
}

// each does something to all servers that were started, side by side.
func each(all map[failover.Region]*machines, do func(*servers.Server) error) error {
	var started []*servers.Server
	for _, m := range all {
		if m.pg != nil {
			started = append(started, m.pg.Server)
		}
		for _, s := range []*servers.Server{m.redis, m.sqs} {
			if s != nil {
				started = append(started, s)
			}
		}
	}
	errs := make([]error, len(started))
	var wg sync.WaitGroup
	for i, s := range started {
		wg.Go(func() { errs[i] = do(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// The names under which servers are reached through the World.
func host(kind string, r failover.Region) string { return kind + "." + r + ".internal" }

// endpoints of a Region as its processes know them.
func (m *machines) endpoints(r failover.Region) (real.Endpoints, error) {
	db, err := url.Parse(m.pg.Addr())
	if err != nil {
		return real.Endpoints{}, err
	}
	db.Host = host("postgres", r) + ":5432"
	return real.Endpoints{SQL: db.String(), Redis: host("redis", r) + ":6379", SQS: "http://" + host("sqs", r), URL: "http://orders." + r + ".internal"}, nil
}
