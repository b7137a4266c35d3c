package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// A Result is what a drill has shown.
type Result struct {
	Outage, Failback runbook.Report
	Move             failover.Transition // of the outage
	Divergence       []steps.Divergence
	Lost             []string // acknowledged before the outage, and in no database of the service now
	LostSince        []string // acknowledged after the switch, and not there now
	Placed           map[failover.Region]int
	Unknown, Refused int
}

// Check returns what a bound was broken by.
func (r Result) Check() error {
	var broken []error
	listed := map[string]bool{}
	for _, d := range r.Divergence {
		for _, id := range d.OnlyOld {
			listed[id] = true
		}
	}
	for _, id := range r.Lost {
		if !listed[id] {
			broken = append(broken, fmt.Errorf("order %s was acknowledged, is lost, and is not in the list of the divergence", id))
		}
	}
	if len(r.LostSince) > 0 {
		broken = append(broken, fmt.Errorf("%d orders of after the switch are lost: %v", len(r.LostSince), r.LostSince))
	}
	if !r.Outage.Met() || !r.Failback.Met() {
		broken = append(broken, fmt.Errorf("outage %s after %v, failback %s after %v; the RTO is %v", r.Outage.Outcome, r.Outage.Took, r.Failback.Outcome, r.Failback.Took, rto))
	}
	if r.Move.Exposure.Bound > rpo {
		broken = append(broken, fmt.Errorf("the exposure was %v, the RPO is %v", r.Move.Exposure.Bound, rpo))
	}
	return errors.Join(broken...)
}

// String is the drill in a few lines.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.Outage.Markdown(), r.Failback.Markdown())
	for _, p := range r.Move.Took {
		fmt.Fprintf(&b, "%s took %v\n", p.Phase, p.Took.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "orders acknowledged: %d in %s, %d in %s; %d attempts refused, %d of unknown outcome\n", r.Placed[east], east, r.Placed[west], west, r.Refused, r.Unknown)
	fmt.Fprintf(&b, "exposure at the switch %v; lost and listed %d; lost since %d\n", r.Move.Exposure.Bound.Round(time.Millisecond), len(r.Lost), len(r.LostSince))
	return b.String()
}

// drill starts two databases and loses one of them under load. It leaves reports and journals in dir.
func drill(ctx context.Context, dir string) (result Result, err error) {
	first, second, err := servers.StartPostgres(ctx, servers.Place{Name: east, Dir: dir}, servers.Place{Name: west, Dir: dir})
	if err != nil {
		return result, err
	}
	pair := map[failover.Region]*servers.Postgres{east: first, west: second}
	defer func() { err = errors.Join(err, first.Close(), second.Close()) }()
	f, err := open(ctx, map[failover.Region]string{east: first.Addr(), west: second.Addr()}, dir)
	if err != nil {
		return result, err
	}
	defer f.stop()
	orders := startLoad(ctx, f, 4)
	defer orders.stop()
	if err := until(ctx, "orders are placed", func() bool { return len(orders.placed(east)) > 100 && healthy(f.status()) }); err != nil {
		return result, err
	}

	if err := cutLink(ctx, f.dbs[west], orders); err != nil {
		return result, err
	}
	killed := time.Now()
	if err := first.Kill(); err != nil { // SIGKILL: nothing is flushed, nothing said
		return result, err
	}
	facts := func() string { return result.facts(f, orders) }
	book, err := f.outage(east, filepath.Join(dir, "outage-post-mortem.txt"), facts)
	if err != nil {
		return result, err
	}
	cfg := f.book
	cfg.By, cfg.Reason, cfg.Since = "auto/drill", "the primary was killed", killed
	if result.Outage, err = book.Run(ctx, "outage", cfg); err != nil {
		return result, err
	}
	result.Move = *f.move(east)
	if err := until(ctx, "orders are placed again", func() bool { return len(orders.placed(west)) > 100 }); err != nil {
		return result, err
	}

	op := operator{
		start: func(ctx context.Context, r failover.Region) error { return pair[r].Start(ctx) },
		rewind: func(ctx context.Context, old, primary failover.Region) error {
			return pair[old].Rejoin(ctx, pair[primary])
		},
	}
	book, err = f.failback(east, op, func(_ context.Context, d []steps.Divergence) error {
		result.Divergence = d
		text, err := json.MarshalIndent(d, "", "  ")
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "divergence.json"), text, 0o644))
	}, filepath.Join(dir, "failback-post-mortem.txt"), facts)
	if err != nil {
		return result, err
	}
	cfg = f.book
	cfg.By, cfg.Reason, cfg.Mode = "ann", "the Region is back", runbook.Planned
	if result.Failback, err = book.Run(ctx, "failback", cfg); err != nil {
		return result, err
	}
	before := len(orders.placed(east))
	if err := until(ctx, "orders are placed at home", func() bool { return len(orders.placed(east)) > before+100 }); err != nil {
		return result, err
	}
	return result, result.count(ctx, f, orders)
}

// cutLink stops the replication and returns when the primary has acknowledged orders that the standby will never get. It is how every real
// outage of a Region begins: the link goes first.
func cutLink(ctx context.Context, standby *sql.DB, orders *load) error {
	for _, statement := range []string{`alter system set primary_conninfo = ''`, `select pg_reload_conf()`} {
		if _, err := standby.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	receiving := func() (n int) {
		if err := standby.QueryRowContext(ctx, `select count(*) from pg_stat_wal_receiver where pid is not null`).Scan(&n); err != nil {
			return 1
		}
		return n
	}
	if err := until(ctx, "the replication has stopped", func() bool { return receiving() == 0 }); err != nil {
		return err
	}
	before := len(orders.placed(east))
	return until(ctx, "orders are placed that will be lost", func() bool { return len(orders.placed(east)) >= before+20 })
}

// count compares what was acknowledged with what is there, while orders go on being placed.
func (r *Result) count(ctx context.Context, f *fleet, orders *load) error {
	acknowledged := orders.placed() // before the look at the database
	present, err := ids(ctx, f.dbs[east])
	if err != nil {
		return err
	}
	divergence := map[string]bool{}
	for _, d := range r.Divergence {
		for _, id := range d.OnlyOld {
			divergence[id] = true
		}
	}
	r.Placed = map[failover.Region]int{}
	for id, region := range acknowledged {
		r.Placed[region]++
		switch {
		case present[id]:
		case region == east && divergence[id]:
			r.Lost = append(r.Lost, id)
		default:
			r.LostSince = append(r.LostSince, id)
		}
	}
	slices.Sort(r.Lost)
	slices.Sort(r.LostSince)
	r.Unknown, r.Refused = orders.open()
	return nil
}

// facts are what a post-mortem begins with.
func (r *Result) facts(f *fleet, orders *load) string {
	unknown, refused := orders.open()
	d := f.status()
	return fmt.Sprintf("writer %s at epoch %s; %d orders acknowledged, %d of unknown outcome, %d attempts refused; divergence %+v\nlast move %+v\n",
		d.Writer, failover.FormatEpoch(d.Epoch), len(orders.placed()), unknown, refused, r.Divergence, d.Last)
}

func ids(ctx context.Context, db *sql.DB) (map[string]bool, error) {
	rows, err := db.QueryContext(ctx, `select id from orders`)
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

func healthy(d failover.Decision) bool {
	return d.Health[east] == failover.HealthHealthy && d.Health[west] == failover.HealthHealthy
}

// until waits for at most a minute.
func until(ctx context.Context, what string, seen func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !seen() {
		if ctx.Err() != nil {
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		}
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}
