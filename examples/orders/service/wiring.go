package service

import (
	"database/sql"
	"log/slog"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

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
	Guard      *idempotency.Guard                // the first result of each key, for repetitions
	Budget     *retry.Budget                     // of every repetition
	Breakers   *breaker.Group                    // of SQS, by Region
	Payments   *breaker.Breaker                  // of payments
	Pay        *http.Client                      // payments
	Client     *queue.Client                     // defers calls
	Worker     *queue.Worker                     // runs them
	Charges    *queue.Client                     // defers charges
	Cashier    *queue.Worker                     // runs them while payments are there
	Modes      *degrade.Controller               // how much of each feature works
	Stock      *degrade.Stale[string, StockItem] // copies of stock, for bad times

	features
	parts   Parts
	log     *slog.Logger
	meters  metric.MeterProvider
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
	m := newMetrics()
	s := &Service{parts: p, log: p.Logger, meters: m.provider, metrics: m}
	for _, wire := range []func() error{s.decide, s.remember, s.restrain, s.postpone, s.degrade, s.answer} {
		if err := wire(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// decide: one decision per process, which everything below obeys.
func (s *Service) decide() (err error) {
	p, set := &s.parts, s.parts.Settings
	s.Controller, err = failover.NewController(failover.ControllerConfig{
		Name: "orders", Regions: p.Regions, Self: p.Self, Instance: p.Instance, Witnesses: p.Witnesses,
		Coordinator: p.Coordinator, Automatic: !set.ByApproval, StateFile: p.file("failover.state"), Audit: p.Audit, Ledger: p.Unknown,
		LeaseTTL: set.LeaseTTL, PollEvery: set.PollEvery, MaxFlight: set.MaxFlight, RPO: set.RPO, Cooldown: set.Cooldown, MaxMoves: set.MaxMoves,
		FenceOld: failoversql.FenceOld(p.Database, p.SQL), Smoke: failoversql.Smoke(p.Database, p.SQL),
		Promote: runbook.Promotion(s.promotion, runbook.Config{Journal: p.Journal, RTO: set.rto(), RPO: set.RPO, PollEvery: set.PollEvery, Logger: s.log}),
		Logger:  s.log, MeterProvider: s.meters,
	})
	if err != nil {
		return err
	}
	s.DB, err = failover.New(s.Controller, s.databases(), failover.ClientConfig{Name: "orders-db", ProbeEvery: set.ProbeEvery, ProbeTimeout: set.ProbeTimeout, Classify: p.Database.Classify})
	return err
}

// remember: keys in two Regions. Every step of ours may run again with its key (doc.go), so neither a dead owner nor a lost reply needs a person.
func (s *Service) remember() (err error) {
	s.Keys, err = idempotency.NewRegional(s.Controller.Route, s.parts.Keys, idempotency.RegionalConfig{Name: "orders", Logger: s.log, MeterProvider: s.meters})
	if err != nil {
		return err
	}
	s.Guard, err = idempotency.New(s.Keys, idempotency.Config{
		Name: "orders", Epoch: s.Controller.Epoch, OnUnknown: idempotency.PolicyRerun,
		OnAbandoned: idempotency.PolicyRerun, Logger: s.log, MeterProvider: s.meters,
	})
	return err
}

// restrain: one budget for every repetition of this process, one breaker for the SQS of each Region, one for payments.
func (s *Service) restrain() error {
	s.Budget = holdfast.Must(retry.NewBudget(retry.BudgetConfig{Name: "orders", MeterProvider: s.meters}))
	s.Breakers = holdfast.Must(breaker.NewGroup(breaker.Config{Name: "sqs", Logger: s.log, MeterProvider: s.meters}, breaker.GroupConfig{}))
	s.Payments = holdfast.Must(breaker.New(breaker.Config{Name: "payments", ConsecutiveFailures: 5, Logger: s.log, MeterProvider: s.meters}))
	return nil
}

// postpone: calls that wait in SQS. The writer Region's workers run what any Region deferred.
func (s *Service) postpone() (err error) {
	calls, charges := queue.NewMux(), queue.NewMux()
	queue.Handle(calls, Mail, s.sendMail, queue.HandlerConfig{StaleFunc: s.staleMail})
	queue.Handle(calls, Settle, s.settle, queue.HandlerConfig{})
	queue.Handle(charges, Charge, s.chargeLater, queue.HandlerConfig{Ready: s.paymentsReady})
	if s.Client, s.Worker, err = s.lane("orders", s.parts.Calls, calls); err != nil {
		return err
	}
	s.Charges, s.Cashier, err = s.lane("charges", s.parts.Charges, charges)
	return err
}

// lane makes the two ends of one kind of deferred calls.
func (s *Service) lane(name string, l Lane, mux *queue.Mux) (client *queue.Client, worker *queue.Worker, err error) {
	ctl := s.Controller
	regional, err := queue.NewRegional(ctl.Route, l.Queues, queue.RegionalConfig{Name: "orders", Around: s.Breakers.Do, Observe: ctl.Observe})
	if err != nil {
		return nil, nil, err
	}
	client, err = queue.NewClient(regional, queue.ClientConfig{Name: name, Spool: l.Spool, SpoolDurable: l.Spool != nil, // see Lane
		Once: s.Guard.Once, Epoch: ctl.Epoch, Spend: s.Budget.Spend, Ledger: s.parts.Ledger, Logger: s.log, MeterProvider: s.meters})
	if err != nil {
		return nil, nil, err
	}
	worker, err = queue.NewWorker(regional, mux, queue.WorkerConfig{
		Name: name, Workers: s.parts.Settings.Workers, Once: s.Guard.Once, OnceRetention: s.Guard.OnceRetention(),
		Ready: ctl.Ready, Epoch: ctl.Epoch, Ledger: s.parts.Ledger, Logger: s.log, MeterProvider: s.meters,
	})
	return client, worker, err
}

// degrade: features declare what they need; payments exist in one Region and have a stub in the other.
func (s *Service) degrade() (err error) {
	p := &s.parts
	s.Modes, err = degrade.New(degrade.Config{
		Name: "orders", Instance: p.Instance, Region: p.Self, Provider: p.Flags, Overrides: p.Overrides,
		LastKnownGood: p.file("degrade.state"), Audit: p.Audit, Logger: s.log, MeterProvider: s.meters,
	})
	if err != nil {
		return err
	}
	s.features = s.declare()
	s.Stock, err = degrade.NewStale(s.browse, s.loadStock, stockWindows)
	return err
}

// answer: one child key for all attempts, the stub away from home, retries, the breaker, the wire. Then what others ask of us.
func (s *Service) answer() (err error) {
	s.Pay = &http.Client{Transport: &idempotencyhttp.Transport{Base: &degradehttp.StubTransport{
		Dependency: s.payments, Stub: payLater,
		Base: &retryhttp.Transport{
			Policy: &retry.Policy{Name: "payments", MaxAttempts: 3, AttemptTimeout: payAttempt, Budget: s.Budget, MeterProvider: s.meters},
			Base:   &breakerhttp.Transport{Breaker: breakerhttp.One(s.Payments), Base: s.parts.Net},
		},
	}}}
	s.handler, err = s.routes()
	return err
}
