package service

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/degrade/shed"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoverhttp"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
)

// maxBody is the largest request body: an order is a few hundred bytes.
const maxBody = 64 << 10

// Handler returns the whole HTTP interface of the process.
func (s *Service) Handler() http.Handler { return s.handler }

// NewServer returns a server for h whose time-outs end what slow clients hold.
func NewServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

// routes puts the API behind its middleware, and what operators and load balancers ask beside it: a health check that is shed takes
// the instance out just when it is needed.
func (s *Service) routes() (http.Handler, error) {
	api, err := s.api()
	if err != nil {
		return nil, err
	}
	admin, err := s.admin()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/admin/", admin)
	mux.Handle("GET /status", degradehttp.Status(s.Modes))
	mux.Handle("GET /metrics", s.metrics.handler)
	mux.Handle("GET /active", failoverhttp.Active(s.Controller))
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /livez", live)
	return mux, nil
}

// api is shed ▸ failover ▸ idempotency ▸ degrade ▸ handler: the cheapest refusal first, and the key before the degraded modes, so
// that a replay is served in read-only mode and a refusal is never stored.
func (s *Service) api() (http.Handler, error) {
	shedder, err := shed.New(shed.Config{Name: "orders", MaxInFlight: s.parts.Settings.maxInFlight(), MaxClass: shed.Critical, MeterProvider: s.metrics.provider})
	if err != nil {
		return nil, err
	}
	admission, err := failoverhttp.Admission(s.Controller, failoverhttp.AdmissionConfig{Rank: rank})
	if err != nil {
		return nil, err
	}
	keyed, err := idempotencyhttp.Middleware(s.Guard, idempotencyhttp.Config{MaxBody: maxBody, MaxRun: time.Minute})
	if err != nil {
		return nil, err
	}
	levels, err := degradehttp.Middleware(s.Modes, degradehttp.Config{Feature: s.checkout, Routes: map[string]degradehttp.Route{
		"GET /orders": {Feature: s.history}, "GET /orders/{id}": {Feature: s.history}, "GET /stock/{sku}": {Kind: degradehttp.KindPass},
	}}) // stock has copies: see [Service.Stock]
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", known(s.writerOnly(keyed(levels(http.HandlerFunc(s.postOrder))))))
	mux.Handle("GET /orders", levels(http.HandlerFunc(s.listOrders)))
	mux.Handle("GET /orders/{id}", levels(http.HandlerFunc(s.getOrder)))
	mux.Handle("GET /stock/{sku}", levels(http.HandlerFunc(s.getStock)))
	mux.HandleFunc("/orders", methods("GET, HEAD, POST"))
	mux.HandleFunc("/orders/{id}", methods("GET, HEAD"))
	mux.HandleFunc("/stock/{sku}", methods("GET, HEAD"))
	mux.HandleFunc("/", notFound)
	return shedder.Middleware(admission(failoverhttp.Middleware(s.Controller)(mux))), nil
}

// forwardWithin is how long the writer Region may take for a request that was sent on: the longest that an order takes, and less than users wait.
const forwardWithin = 10 * time.Second

// writerOnly sends writes to the writer Region. While there is none they stay: the guard replays what is done and refuses the rest.
func (s *Service) writerOnly(next http.Handler) http.Handler {
	forward := failoverhttp.Forward(s.parts.Net, func(writer failover.Region) *url.URL { return s.parts.Peers[writer] })
	elsewhere := failoverhttp.WriterOnly(s.Controller, forward)(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, writer := s.Controller.Route(); writer == "" || writer == s.parts.Self {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), forwardWithin)
		defer cancel()
		elsewhere.ServeHTTP(w, r.WithContext(ctx))
	})
}

// rank orders requests for the admission after an unplanned move, by the class that the shedder gave them.
func rank(r *http.Request) int {
	class, ok := shed.From(r.Context())
	if !ok {
		class = shed.Critical
	}
	return int(class - shed.Sheddable)
}
