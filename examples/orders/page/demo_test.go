package page_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

const (
	east = "us-east-1"
	west = "us-west-2"
)

// A demo is a service on a script: a Region that is down is noticed, given up and replaced, at the pace of one phase per
// beat. It is what a page is shown in tests, and nothing is real.
type demo struct {
	log   *page.Log
	beat  time.Duration
	watch chan failover.Decision

	faults page.Faults

	mu       sync.Mutex // guards the rest
	noise    *rand.Rand
	last     time.Time
	begun    time.Time
	writer   string
	epoch    uint64
	phase    failover.Phase
	move     *failover.Transition
	finished *failover.Transition
	entered  time.Time // the phase
	traffic  map[string]*page.Traffic
	spool    map[string]float64
	ordered  float64
	health   map[string]failover.Health
}

func newDemo(beat time.Duration) *demo {
	now := time.Now()
	d := &demo{
		log: page.NewLog(0), beat: beat, watch: make(chan failover.Decision, 100), noise: rand.New(rand.NewPCG(1, 2)), last: now, begun: now, entered: now,
		writer: east, epoch: 1<<48 | 3, traffic: map[string]*page.Traffic{east: {}, west: {}}, spool: map[string]float64{},
		health: map[string]failover.Health{east: failover.HealthHealthy, west: failover.HealthHealthy},
	}
	d.decideLocked()
	return d
}

// follow feeds the timeline until ctx ends.
func (d *demo) follow(ctx context.Context) {
	d.log.Watch(func(yield func(failover.Decision) bool) {
		for {
			select {
			case decision := <-d.watch:
				if !yield(decision) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

// state plays the script up to now.
func (d *demo) state() page.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.playLocked(now)
	d.trafficLocked(now.Sub(d.last).Seconds())
	d.last = now
	return page.State{
		Decision: d.statusLocked(now), RPO: time.Minute, Regions: []page.Region{d.regionLocked(east, now), d.regionLocked(west, now)},
		Faults: d.faults.Active(), Ledger: d.ledgerLocked(),
	}
}

func (d *demo) downLocked(region string) bool {
	return slices.ContainsFunc(d.faults.Active(), func(f page.Fault) bool { return f.Region == region && f.ID[:4] == "down" })
}

// playLocked moves health and phase on.
func (d *demo) playLocked(now time.Time) {
	for _, region := range []string{east, west} {
		want := failover.HealthHealthy
		if d.downLocked(region) {
			want = failover.HealthUnhealthy
		}
		if d.health[region] != want {
			d.health[region] = want
			d.decideLocked()
		}
	}
	if d.phase == failover.PhaseSteady && d.downLocked(d.writer) {
		d.beginLocked(now, failover.PhaseFenced, &failover.Transition{To: other(d.writer), Auto: true, By: "orders-witness", Reason: d.writer + " is unhealthy: 3 of 3 voters, from 2 Regions"})
	}
	for d.phase > failover.PhaseAwaitApproval && now.Sub(d.entered) >= d.beat {
		d.nextLocked(d.entered.Add(d.beat))
	}
}

func (d *demo) beginLocked(now time.Time, phase failover.Phase, t *failover.Transition) {
	t.ID, t.From, t.Epoch, t.Asked, t.Expires, t.Mark = fmt.Sprintf("m-%d", d.epoch&0xffff), d.writer, d.epoch, now, now.Add(10*time.Minute), now
	t.Exposure = failover.Exposure{Known: true, Bound: 1400 * time.Millisecond}
	if t.Auto {
		t.Took = []failover.PhaseTime{{Phase: "detect", Took: 640 * time.Millisecond}, {Phase: "decide", Took: 210 * time.Millisecond}}
	}
	d.move = t
	d.enterLocked(phase, now)
}

func (d *demo) enterLocked(phase failover.Phase, now time.Time) {
	switch phase {
	case failover.PhaseFenced:
		d.epoch++
		d.writer = ""
		d.move.Cut = now
	case failover.PhaseOpen:
		d.epoch++
		d.writer = d.move.To
	}
	d.phase, d.entered = phase, now
	d.decideLocked()
}

// nextLocked ends a phase.
func (d *demo) nextLocked(now time.Time) {
	t := *d.move
	t.Took = append(slices.Clone(t.Took), failover.PhaseTime{Phase: map[failover.Phase]string{failover.PhaseDraining: "drain", failover.PhaseFenced: "fence", failover.PhasePromoting: "promote", failover.PhaseOpen: "open"}[d.phase], Took: now.Sub(d.entered)})
	d.move = &t
	if d.phase == failover.PhaseOpen {
		d.finished, d.move = d.move, nil
		d.enterLocked(failover.PhaseSteady, now)
		return
	}
	d.enterLocked(d.phase+1, now)
}

// decideLocked hands the decision to whoever watches.
func (d *demo) decideLocked() {
	health := map[string]failover.Health{east: d.health[east], west: d.health[west]}
	select {
	case d.watch <- failover.Decision{Epoch: d.epoch, Phase: d.phase, Writer: d.writer, Health: health, Transition: d.move}:
	default: // nobody watches
	}
}

func (d *demo) statusLocked(now time.Time) failover.Status {
	exposure := failover.Exposure{Known: true, Bound: 1100*time.Millisecond + time.Duration(d.noise.IntN(300))*time.Millisecond}
	if d.move != nil {
		exposure = d.move.Exposure
	}
	return failover.Status{
		Name: "orders", DecisionID: "d-1", Epoch: failover.FormatEpoch(d.epoch), Phase: d.phase, Writer: d.writer, Since: d.entered,
		Health: map[string]failover.Health{east: d.health[east], west: d.health[west]}, Transition: d.move, Last: d.finished, Exposure: exposure,
	}
}

// trafficLocked adds what came in within some seconds.
func (d *demo) trafficLocked(seconds float64) {
	serves := func(region string) bool { return !d.downLocked(region) }
	for region, share := range map[string]float64{east: 140, west: 60} {
		at, n := d.traffic[region], uint64(max(0, share*seconds+d.noise.NormFloat64()*3))
		switch {
		case !serves(region):
			at.Failed += n / 3
			at.Unknown += n / 40
			if serves(other(region)) {
				d.traffic[other(region)].OK += n * 2 / 3
			}
		case d.writer == "":
			at.OK += n / 2
			at.Refused += n / 4
			at.Degraded += n / 4
			d.spool[region] += float64(n) / 8
		case d.has("payments-" + region):
			at.Degraded += n / 3
			at.OK += n - n/3
		default:
			at.OK += n
			d.spool[region] = max(0, d.spool[region]-80*seconds)
		}
		d.ordered += float64(n) / 2
	}
}

func (d *demo) has(fault string) bool {
	return slices.ContainsFunc(d.faults.Active(), func(f page.Fault) bool { return f.ID == fault })
}

func (d *demo) regionLocked(name string, now time.Time) page.Region {
	r := page.Region{
		Name: name, Traffic: *d.traffic[name], Modes: d.modesLocked(name), Breakers: map[string]breaker.Stats{"payments": {}, "sqs": {}, "orders-db": {}},
		Status: failover.Status{Name: "orders", Self: name, Writer: d.writer, MayWrite: d.writer == name && !d.downLocked(name), LeaseLeft: 14 * time.Second},
		Spool:  queue.SpoolStats{Messages: int(d.spool[name])},
	}
	if r.Spool.Messages > 0 {
		r.Spool.Oldest = d.entered
	}
	if !d.has("sqs-"+name) && !d.downLocked(name) {
		r.Queue = &queue.Depth{Visible: 3 + d.noise.IntN(9), InFlight: d.noise.IntN(6)}
	}
	if d.has("sqs-" + name) {
		r.Breakers["sqs"] = breaker.Stats{State: breaker.StateOpen, Wait: 3 * time.Second}
	}
	if d.has("payments-" + name) {
		r.Breakers["payments"] = breaker.Stats{State: breaker.StateHalfOpen}
	}
	if d.writer != name && !d.downLocked(name) {
		lag := 180*time.Millisecond + time.Duration(d.noise.IntN(90))*time.Millisecond
		r.Lag = failover.LagSample{ReplicatedThrough: now.Add(-lag), MeasuredAt: now}
	}
	if d.writer == other(name) && d.downLocked(name) {
		r.Role = "Former writer"
	}
	return r
}

func (d *demo) modesLocked(name string) degrade.Status {
	checkout := degrade.FeatureStatus{Name: "checkout", Level: degrade.Normal, Since: d.begun}
	switch {
	case d.downLocked(name):
		checkout = degrade.FeatureStatus{Name: "checkout", Level: degrade.Offline, Cause: degrade.CauseDependency, Detail: "orders-db is down", Since: d.entered}
	case d.writer == "":
		checkout = degrade.FeatureStatus{Name: "checkout", Level: degrade.ReadOnly, Cause: degrade.CauseDependency, Detail: "orders-db takes no writes", Since: d.entered}
	case d.has("payments-" + name):
		checkout = degrade.FeatureStatus{Name: "checkout", Level: degrade.Limited, Cause: degrade.CauseDependency, Detail: "payments is impaired", Since: d.entered}
	}
	status := degrade.Status{Features: []degrade.FeatureStatus{checkout, {Name: "history", Since: d.begun}, {Name: "stock", Since: d.begun}}}
	for _, dep := range []string{"orders-db", "payments", "stock"} {
		s := degrade.DependencyStatus{Name: dep, State: degrade.StateOK, Stub: dep == "payments" && name == west, Since: d.begun}
		if d.downLocked(name) {
			s.State, s.Detail = degrade.StateDown, "no probe answers"
		}
		status.Dependencies = append(status.Dependencies, s)
	}
	return status
}

func (d *demo) ledgerLocked() []page.Sum {
	ordered := int64(d.ordered)
	unknown := int64(d.traffic[east].Unknown + d.traffic[west].Unknown)
	return []page.Sum{
		{Name: "Acknowledged", Count: ordered, Note: "orders a caller was promised"},
		{Name: "Found", Count: ordered, Note: "of them, at the writer"},
		{Name: "Lost", Count: 0, Note: "within the exposure"},
		{Name: "Unknown", Count: unknown, Note: "each listed"},
		{Name: "Mails", Count: ordered - 2, Note: "sent once"},
		{Name: "Sent twice", Count: 0, Note: "leases abandoned"},
	}
}

func other(region string) string {
	if region == east {
		return west
	}
	return east
}

// actions are the demo's buttons.
func (d *demo) actions() []page.Action {
	var actions []page.Action
	for _, region := range []string{east, west} {
		for _, mode := range []string{"Refuse", "Black hole", "Gray", "Slow"} {
			actions = append(actions, d.fault(region, "down-"+region+"-"+slug(mode), "Region down", mode))
		}
		for _, part := range []string{"Redis", "SQS", "Payments", "Replication lag"} {
			actions = append(actions, d.fault(region, slug(part)+"-"+region, "Parts", part))
		}
	}
	return append(actions,
		page.Action{
			ID: "fail-over", Label: "Fail over to " + west, Group: "Move the writer", Tone: page.ToneBad, Help: "Asks for a move at once; what is not replicated may be lost.",
			Confirm: "Writes stop until us-west-2 is promoted. Another person has to approve.", Do: d.ask(west, false),
			Unavailable: func(s page.State) string { return already(s, west) },
		},
		page.Action{
			ID: "fail-back", Label: "Fail back to " + east, Group: "Move the writer", Help: "Asks for a planned move, without loss.", Do: d.ask(east, true),
			Unavailable: func(s page.State) string { return already(s, east) },
		},
		page.Action{ID: "approve", Label: "Approve", Pending: true, Tone: page.ToneGood, Do: d.approve},
		page.Action{ID: "deny", Label: "Deny", Pending: true, Do: func(_ context.Context, a page.Action, by string) error { return d.deny() }},
		page.Action{ID: "heal", Label: "Heal everything", Group: "Faults", Do: func(context.Context, page.Action, string) error {
			d.faults.Heal()
			return nil
		}},
	)
}

func slug(s string) string {
	return map[string]string{"Refuse": "refuse", "Black hole": "blackhole", "Gray": "gray", "Slow": "slow", "Redis": "redis", "SQS": "sqs", "Payments": "payments", "Replication lag": "lag"}[s]
}

func already(s page.State, to string) string {
	switch {
	case s.Decision.Writer == to:
		return to + " is the writer already"
	case s.Decision.Phase != failover.PhaseSteady:
		return "another move is under way"
	}
	return ""
}

func (d *demo) fault(region, id, group, label string) page.Action {
	return d.faults.Action(page.Action{ID: id, Region: region, Group: group, Label: label}, func(context.Context) (func(), error) { return func() {}, nil })
}

func (d *demo) ask(to string, planned bool) func(context.Context, page.Action, string) error {
	return func(_ context.Context, _ page.Action, by string) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.beginLocked(time.Now(), failover.PhaseAwaitApproval, &failover.Transition{To: to, Planned: planned, By: by, Reason: "asked on the page"})
		return nil
	}
}

func (d *demo) approve(_ context.Context, a page.Action, by string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.move == nil || d.move.ID != a.Move:
		return errors.New("no such move waits")
	case d.move.By == by:
		return fmt.Errorf("failover %q: move to %q refused by the guard %q: %s asked for it; another person has to approve", "orders", d.move.To, failover.GuardRequest, by)
	}
	t := *d.move
	t.Second = by
	d.move = &t
	d.enterLocked(failover.PhaseFenced, time.Now())
	return nil
}

func (d *demo) deny() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.move = nil
	d.enterLocked(failover.PhaseSteady, time.Now())
	return nil
}
