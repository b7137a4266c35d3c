package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

const (
	east    failover.Region = "us-east-1"
	west    failover.Region = "us-west-2"
	witness failover.Region = "us-east-2"

	rto = 2 * time.Minute
	rpo = 30 * time.Second
)

var dialect = failoversql.PostgreSQL()

// A site is one instance of the service: a controller and its client of both databases. A production fleet has several in each Region, in
// processes of their own, and a coordinator outside of both.
type site struct {
	ctl *failover.Controller
	db  *failover.Client[*sql.DB]
}

// A fleet is the service with its databases.
type fleet struct {
	dbs   map[failover.Region]*sql.DB // for the runbooks; the sites have their own
	sites map[failover.Region]*site   // of the witness too
	book  runbook.Config              // journal and reports of all runbooks
	stop  func()
}

// open starts a site in each Region and the witness, over the databases at urls.
func open(ctx context.Context, urls map[failover.Region]string, dir string) (_ *fleet, err error) {
	journal, err := runbook.OpenJournal(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	f := &fleet{sites: map[failover.Region]*site{}, book: runbook.Config{
		Journal: journal, RTO: rto, RPO: rpo, PollEvery: 200 * time.Millisecond, OnReport: runbook.WriteReports(dir),
	}}
	if f.dbs, err = connect(urls); err != nil {
		return nil, err
	}
	if err := install(ctx, f.dbs[east]); err != nil {
		return nil, err
	}
	coordinator := failover.NewMemoryCoordinator(east, west) // in production: dynamocoord, outside of both Regions
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	f.stop = func() { stop(); wg.Wait() }
	for _, self := range []failover.Region{east, west, witness} {
		s, err := f.site(self, urls, coordinator)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.sites[self] = s
		wg.Go(func() { _ = s.ctl.Run(running) })
	}
	for _, db := range f.dbs {
		beat := failoversql.Beat(dialect, db)
		wg.Go(func() { _ = beat(running) })
	}
	return f, nil
}

// site wires one instance. Its times are short, so that the drill is: a production controller keeps the defaults.
func (f *fleet) site(self failover.Region, urls map[failover.Region]string, coordinator failover.Coordinator) (*site, error) {
	cfg := failover.ControllerConfig{
		Name: "orders", Regions: []failover.Region{east, west}, Witnesses: []failover.Region{witness}, Self: self, Instance: "app-" + self,
		Coordinator: coordinator, Automatic: true, RPO: rpo,
		LeaseTTL: 2 * time.Second, MaxFlight: time.Second, PollEvery: 250 * time.Millisecond, RampStep: 500 * time.Millisecond, Cooldown: time.Second,
		FenceOld: failoversql.FenceOld(dialect, f.dbs),
		Promote:  runbook.Promotion(func(t failover.Transition) (*runbook.Runbook, error) { return promotion(f.dbs, t) }, f.book),
		Smoke:    failoversql.Smoke(dialect, f.dbs),
	}
	if self == witness {
		cfg.Role = failover.RoleWitness
	}
	ctl, err := failover.NewController(cfg)
	if err != nil {
		return nil, err
	}
	dbs, err := connect(urls)
	if err != nil {
		return nil, err
	}
	db, err := failover.New(ctl, []failover.Member[*sql.DB]{
		failoversql.Member(dialect, east, dbs[east]), failoversql.Member(dialect, west, dbs[west]),
	}, failover.ClientConfig{Name: "orders-db", ProbeEvery: 200 * time.Millisecond, ProbeTimeout: time.Second, Classify: dialect.Classify})
	return &site{ctl, db}, err
}

// connect opens a pool for each Region's database.
func connect(urls map[failover.Region]string) (map[failover.Region]*sql.DB, error) {
	dbs := map[failover.Region]*sql.DB{}
	for region, url := range urls {
		cfg, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, err
		}
		cfg.ConnectTimeout = time.Second
		dbs[region] = stdlib.OpenDB(*cfg)
	}
	return dbs, nil
}

// install makes the tables of the service, and those of the fence and the heartbeat.
func install(ctx context.Context, db *sql.DB) error {
	if err := dialect.Install(ctx, db); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `
create sequence order_numbers;
create table orders (id text primary key, number bigint not null unique default nextval('order_numbers'));
create table restored (run text primary key)`)
	return err
}

// status is what the surviving Region's instance says: the one to ask in an outage.
func (f *fleet) status() failover.Decision { return f.sites[west].ctl.Decision() }

// place writes one order through the instance in the Region that serves now. Errors are Unknown, or the order was not placed.
func (f *fleet) place(ctx context.Context, id string) (failover.Region, error) {
	region := f.status().Active
	s := f.sites[region]
	if s == nil {
		return "", errors.New("no region serves")
	}
	_, err := failoversql.Tx(ctx, s.db, dialect, func(ctx context.Context, tx *sql.Tx) (sql.Result, error) {
		return tx.ExecContext(ctx, `insert into orders (id) values ($1)`, id)
	})
	if err != nil {
		return "", fmt.Errorf("order %s: %w", id, err)
	}
	return region, nil
}
