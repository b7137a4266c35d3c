package service

import (
	"database/sql"
	"net/http"
	"sync/atomic"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/breakerhttp"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryhttp"
)

// A Service is one process of the order API.
type Service struct {
	Controller *failover.Controller              // which Region writes; whether this process may
	DB         *failover.Client[*sql.DB]         // orders and stock, in every Region
	Keys       *idempotency.Regional             // what has been done, in two Regions
	Guard      *idempotency.Guard                // at most once per key
	Client     *queue.Client                     // defers calls
	Worker     *queue.Worker                     // runs them
	Modes      *degrade.Controller               // how much of each feature works
	Pay        *http.Client                      // payments
	Budget     *retry.Budget                     // of every repetition
	Breakers   *breaker.Group                    // of SQS, by Region
	Payments   *breaker.Breaker                  // of payments
	Stock      *degrade.Stale[string, StockItem] // copies of stock, for bad times

	features
	parts   Parts
	metrics *metrics
	handler http.Handler
	closing atomic.Bool // not ready any more
}

// New makes a service of its parts. It starts nothing: see [Service.Run]. Errors name the part or setting that is wrong; it panics only
// where a constant in this file is.
func New(p Parts) (*Service, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	s := &Service{parts: p, metrics: newMetrics()}
	log, meters, set := p.Logger, s.metrics.provider, p.Settings

	// One decision per process: everything below obeys the controller.
	ctl, err := failover.NewController(failover.ControllerConfig{Name: "orders", Regions: p.Regions, Self: p.Self, Instance: p.Instance, Witnesses: p.Witnesses,
		Coordinator: p.Coordinator, Automatic: !set.ByApproval, StateFile: p.file("failover.state"), Audit: p.Audit, Ledger: p.Unknown,
		LeaseTTL: set.LeaseTTL, PollEvery: set.PollEvery, MaxFlight: set.MaxFlight, RPO: set.RPO, Cooldown: set.Cooldown, MaxMoves: set.MaxMoves,
		FenceOld: failoversql.FenceOld(p.Database, p.SQL), Smoke: failoversql.Smoke(p.Database, p.SQL),
		Promote: runbook.Promotion(s.promotion, runbook.Config{Journal: p.Journal, RTO: set.rto(), RPO: set.RPO, PollEvery: set.PollEvery, Logger: log}),
		Logger:  log, MeterProvider: meters})
	if err != nil {
		return nil, err
	}
	s.Controller = ctl
	s.DB, err = failover.New(ctl, s.databases(), failover.ClientConfig{Name: "orders-db", ProbeEvery: set.ProbeEvery, Classify: p.Database.Classify})
	if err != nil {
		return nil, err
	}

	// Every step of ours may run again with its key (doc.go), so neither a dead owner nor a lost reply needs a person.
	s.Keys, err = idempotency.NewRegional(ctl.Route, p.Keys, idempotency.RegionalConfig{Name: "orders", Logger: log, MeterProvider: meters})
	if err != nil {
		return nil, err
	}
	s.Guard = holdfast.Must(idempotency.New(s.Keys, idempotency.Config{Name: "orders", Epoch: ctl.Epoch,
		OnUnknown: idempotency.PolicyRerun, OnAbandoned: idempotency.PolicyRerun, Logger: log, MeterProvider: meters}))

	// One budget for every repetition of this process, one breaker for the SQS of each Region.
	s.Budget = holdfast.Must(retry.NewBudget(retry.BudgetConfig{Name: "orders", MeterProvider: meters}))
	s.Breakers = holdfast.Must(breaker.NewGroup(breaker.Config{Name: "sqs", Logger: log, MeterProvider: meters}, breaker.GroupConfig{}))
	regional, err := queue.NewRegional(ctl.Route, p.Queues, queue.RegionalConfig{Around: s.Breakers.Do, Observe: ctl.Observe})
	if err != nil {
		return nil, err
	}
	s.Client = holdfast.Must(queue.NewClient(regional, queue.ClientConfig{Name: "orders", Spool: p.Spool, SpoolDurable: true, // the volume outlives the host: see Parts.Spool
		Once: s.Guard.Once, Epoch: ctl.Epoch, Spend: s.Budget.Spend, Ledger: p.Ledger, Logger: log, MeterProvider: meters}))

	// Features declare what they need; payments exist in one Region and have a stub in the other.
	s.Payments = holdfast.Must(breaker.New(breaker.Config{Name: "payments", ConsecutiveFailures: 5, Logger: log, MeterProvider: meters}))
	s.Modes, err = degrade.New(degrade.Config{Name: "orders", Instance: p.Instance, Region: p.Self, Provider: p.Flags, Overrides: p.Overrides,
		LastKnownGood: p.file("degrade.state"), Audit: p.Audit, Logger: log, MeterProvider: meters})
	if err != nil {
		return nil, err
	}
	s.features = s.declare()
	s.Stock = holdfast.Must(degrade.NewStale(s.browse, s.loadStock, stockWindows))

	// One child key for all attempts, the stub away from home, retries, the breaker, the wire.
	s.Pay = &http.Client{Transport: &idempotencyhttp.Transport{Base: &degradehttp.StubTransport{Dependency: s.payments, Stub: payLater,
		Base: &retryhttp.Transport{Policy: &retry.Policy{Name: "payments", MaxAttempts: 3, AttemptTimeout: payAttempt, Budget: s.Budget, MeterProvider: meters},
			Base: &breakerhttp.Transport{Breaker: breakerhttp.One(s.Payments), Base: p.Net}}}}}

	// The writer Region's workers run what any Region deferred.
	mux := queue.NewMux()
	queue.Handle(mux, Charge, s.chargeLater, queue.HandlerConfig{Ready: s.paymentsReady})
	queue.Handle(mux, Mail, s.sendMail, queue.HandlerConfig{})
	queue.Handle(mux, Settle, s.settle, queue.HandlerConfig{})
	s.Worker = holdfast.Must(queue.NewWorker(regional, mux, queue.WorkerConfig{Name: "orders", Once: s.Guard.Once, OnceRetention: s.Guard.OnceRetention(),
		Ready: ctl.Ready, Epoch: ctl.Epoch, Ledger: p.Ledger, Logger: log, MeterProvider: meters}))

	s.handler, err = s.routes()
	return s, err
}
