package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// Parts is everything that differs between a laptop, a test and production. Main chooses it; the service does not know which.
type Parts struct {
	Regions   []failover.Region // the preferred writer first
	Self      failover.Region   // where this process runs
	Witnesses []failover.Region // third Regions that vote
	Home      failover.Region   // the one Region that has payments
	Instance  string            // this process among all

	Coordinator failover.Coordinator
	Database    Database                    // the kind of SQL database
	SQL         map[failover.Region]*sql.DB // one in each Region, one of them primary
	Promote     func(failover.Transition) []runbook.Step
	Journal     runbook.Journal
	Unknown     failover.Ledger // writes of unknown outcome; nil keeps them in memory

	Keys      map[failover.Region]idempotency.Store // one Redis in each Region
	Calls     Lane                                  // deferred calls: mail, settlement
	Charges   Lane                                  // deferred charges, apart: what waits for payments must not stand in the way of others
	Flags     degrade.Provider                      // nil means none
	Overrides degrade.Store                         // nil keeps overrides in this process

	Net      http.RoundTripper             // the wire to other services
	Payments *url.URL                      // in the home Region
	Mail     *url.URL                      // a relay in this Region
	Peers    map[failover.Region]*url.URL  // this service in every Region
	Capacity func(failover.Region) int     // orders a second that a Region can take; nil means unlimited
	Listen   func(http.Handler) HTTPServer // serves this process's users

	Authorize func(*http.Request) (by string, err error) // who may use /admin/

	StateDir string // what a restart needs to know; "" = nothing is kept
	Audit    io.Writer
	Logger   *slog.Logger
	Ledger   *queue.Ledger // the account of deferred calls in tests and drills; nil in production

	Settings Settings
}

// A Lane is where deferred calls wait.
type Lane struct {
	Queues map[failover.Region]queue.Transport // one SQS queue in each Region
	Spool  queue.Spool                         // on a volume that outlives this process's host; nil means none
}

// Settings are numbers that drills shorten. Zero means the packages' defaults.
type Settings struct {
	LeaseTTL, PollEvery, ProbeEvery, ProbeTimeout, MaxFlight time.Duration // see failover.ControllerConfig and ClientConfig
	RPO, Cooldown                                            time.Duration
	RTO                                                      time.Duration // promised; zero means 15 min
	ByApproval                                               bool          // ask a person before an unplanned move
	MaxMoves                                                 int           // automatic moves in 6 h
	MaxInFlight                                              int           // requests at a time in one process; zero means 256
	Workers                                                  int           // deferred calls at a time in each lane of one process; zero means 64
	SettleAfter                                              time.Duration // zero means 1 min
	DrainDelay                                               time.Duration // from "not ready" until no new connection is taken
}

// An HTTPServer serves requests. *http.Server is one.
type HTTPServer interface {
	ListenAndServe() error
	Shutdown(ctx context.Context) error
}

var errParts = errors.New("service: parts")

// validate names what is missing, so that a mistake in main is found before anything starts.
func (p *Parts) validate() error {
	for _, r := range p.Regions {
		if p.SQL[r] == nil || p.Keys[r] == nil || p.Calls.Queues[r] == nil || p.Charges.Queues[r] == nil || p.Peers[r] == nil {
			return fmt.Errorf("%w: Region %q needs a database, a key store, two queues and an address", errParts, r)
		}
	}
	switch {
	case len(p.Regions) == 0, !slices.Contains(p.Regions, p.Self):
		return fmt.Errorf("%w: Self %q is not one of Regions %q", errParts, p.Self, p.Regions)
	case !slices.Contains(p.Regions, p.Home):
		return fmt.Errorf("%w: Home %q is not one of Regions %q", errParts, p.Home, p.Regions)
	case p.Database == nil, p.Promote == nil, p.Journal == nil, p.Net == nil, p.Payments == nil, p.Mail == nil, p.Listen == nil:
		return fmt.Errorf("%w: Database, Promote, Journal, Net, Payments, Mail and Listen are required", errParts)
	case p.Authorize == nil:
		return fmt.Errorf("%w: Authorize is required: there is no admin without it", errParts)
	}
	return nil
}

// file is where a package keeps its state, "" if nothing is kept.
func (p *Parts) file(name string) string {
	if p.StateDir == "" {
		return ""
	}
	return filepath.Join(p.StateDir, name)
}
