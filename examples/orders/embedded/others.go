package embedded

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
)

// PaymentsHost is where payments answer, for faults.
const PaymentsHost = "payments.internal"

// declineOver is the sum in cents from which payments decline.
const declineOver = 400_000

// Payments is the single-Region service of another team. It knows a repetition by its Idempotency-Key, and remembers over any outage.
type Payments struct {
	world *drtest.World
	seats chan struct{} // one for each charge at a time; nil = any number

	mu      sync.Mutex // guards the following
	latency time.Duration
	answers map[string]int // status by key
	charges map[string]int // how often, by order
	mislay  func() bool    // whether the answer to a charge is lost on its way; nil = never
}

// StartPayments serves them in r. A charge takes latency; atOnce are worked on at a time, 0 = any number.
func StartPayments(r *drtest.Region, latency time.Duration, atOnce int) *Payments {
	p := &Payments{world: r.World(), latency: latency, answers: map[string]int{}, charges: map[string]int{}}
	if atOnce > 0 {
		p.seats = make(chan struct{}, atOnce)
	}
	r.Serve(PaymentsHost, p)
	return p
}

// Charges returns how often each order was charged. More than once is what must not happen.
func (p *Payments) Charges() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.charges)
}

// SetLatency changes how long a charge takes.
func (p *Payments) SetLatency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Mislay has a gateway in front answer 504 for a share of the charges that were worked on, until the end.
func (p *Payments) Mislay(share float64) (end func()) {
	rng := p.world.Stream("payments")
	set := func(mislay func() bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mislay = mislay
	}
	set(func() bool { return rng.Float64() < share })
	return func() { set(nil) }
}

// ServeHTTP answers POST /charges.
func (p *Payments) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var args service.ChargeArgs
	key := r.Header.Get("Idempotency-Key")
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil || key == "" {
		http.Error(w, "want a charge and an Idempotency-Key", http.StatusBadRequest)
		return
	}
	if p.seats != nil {
		p.seats <- struct{}{}
		defer func() { <-p.seats }()
	}
	p.mu.Lock()
	latency := p.latency
	p.mu.Unlock()
	time.Sleep(latency)
	w.WriteHeader(p.charge(key, args))
}

func (p *Payments) charge(key string, args service.ChargeArgs) (status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status = p.chargeLocked(key, args)
	if p.mislay != nil && p.mislay() {
		return http.StatusGatewayTimeout
	}
	return status
}

func (p *Payments) chargeLocked(key string, args service.ChargeArgs) (status int) {
	if status, ok := p.answers[key]; ok {
		return status
	}
	status = http.StatusCreated
	if args.Cents > declineOver {
		status = http.StatusPaymentRequired
	} else {
		p.charges[args.Order]++
		p.world.Applied("charge", args.Order)
	}
	p.answers[key] = status
	return status
}

// Relays are the mail relays of both Regions. They send what they are given, as often as they are given it.
type Relays struct {
	latency time.Duration

	mu   sync.Mutex // guards sent
	sent map[string]int
}

// StartRelays serves one in each of regions. A mail takes latency.
func StartRelays(latency time.Duration, regions ...*drtest.Region) *Relays {
	m := &Relays{latency: latency, sent: map[string]int{}}
	for _, r := range regions {
		m.serve(r)
	}
	return m
}

// RelayHost is where the relay of a Region answers.
func RelayHost(region failover.Region) string { return "mail." + region + ".internal" }

// Sent returns how many mails went out for each order.
func (m *Relays) Sent() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.sent)
}

func (m *Relays) serve(r *drtest.Region) {
	r.Serve(RelayHost(r.Name()), http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var args service.MailArgs
		if err := json.NewDecoder(req.Body).Decode(&args); err != nil {
			http.Error(w, "want a mail", http.StatusBadRequest)
			return
		}
		time.Sleep(m.latency)
		m.mu.Lock()
		m.sent[args.Order]++
		m.mu.Unlock()
		r.World().Applied("mail", args.Order)
	}))
}
