package main

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A live shows a fleet on the page. What takes a round trip is read in loops; the page's State only looks at what they left.
type live struct {
	world   *drtest.World
	fleet   *embedded.Fleet
	books   *books
	page    *page.Page
	log     *page.Log
	faults  page.Faults
	regions []*watched // in the order of display

	mu     sync.Mutex // guards the following
	leader *failover.Controller
	sums   []page.Sum
}

// A watched is one Region on the page.
type watched struct {
	site    *embedded.Site
	monitor *embedded.Monitor

	mu     sync.Mutex // guards the following
	depth  *queue.Depth
	lag    failover.LagSample
	former bool           // its database takes writes and it is not the writer
	modes  degrade.Status // of the last process that ran

	// Of the loop that follows processes.
	followed *service.Service
	cancel   func()
	states   map[string]breaker.State
}

// How often the loops look, how long a look may take, and how much history is kept.
const (
	followEvery  = 50 * time.Millisecond
	measureEvery = time.Second
	sumEvery     = 3 * time.Second
	forgetAfter  = 10 * time.Minute
)

func newLive(w *drtest.World, f *embedded.Fleet, b *books) (*live, error) {
	l := &live{world: w, fleet: f, books: b, log: page.NewLog(0)}
	for _, name := range []failover.Region{embedded.East, embedded.West} {
		m, err := f.Sites[name].Monitor()
		if err != nil {
			return nil, err
		}
		l.regions = append(l.regions, &watched{site: f.Sites[name], monitor: m, cancel: func() {}, states: map[string]breaker.State{}})
	}
	people := []string{"ada", "grace"}
	var err error
	l.page, err = page.New(page.Config{
		Parts: "embedded parts, both Regions in one process", State: l.state, Events: l.log, Actions: l.actions(),
		Authorize: page.Loopback(people...), People: people, Logger: f.Config.Logger,
	})
	return l, err
}

// close heals what buttons broke, so that the service can stop in good order.
func (l *live) close() {
	l.faults.Heal()
	for _, r := range l.regions {
		r.cancel()
		_ = r.monitor.Close()
	}
}

// loops are what must run beside the page.
func (l *live) loops() holdfast.Stage {
	stage := holdfast.Stage{
		func(ctx context.Context) error { l.log.Watch(l.decisions(ctx)); return nil },
		every(sumEvery, l.sum),
		every(forgetAfter/10, func(context.Context) { l.world.History().Forget(l.world.Elapsed() - forgetAfter) }),
	}
	for _, r := range l.regions {
		stage = append(stage, every(measureEvery, func(ctx context.Context) { l.measure(ctx, r) }))
	}
	return stage
}

// every makes a loop of do.
func every(pause time.Duration, do func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for {
			do(ctx)
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	}
}

// decisions are those of the process that has seen most, and on the way the events of processes. A Region that is lost takes its processes with it, and
// others follow: so it looks at all of them, all the time.
func (l *live) decisions(ctx context.Context) iter.Seq[failover.Decision] {
	return func(yield func(failover.Decision) bool) {
		_ = every(followEvery, func(context.Context) {
			for _, r := range l.regions {
				r.follow(l.log)
			}
			if c := l.best(); c != nil {
				yield(c.Decision())
			}
		})(ctx)
	}
}

// best is the controller that has seen most; while others have seen as much it stays the same one.
func (l *live) best() *failover.Controller {
	l.mu.Lock()
	defer l.mu.Unlock()
	var best *failover.Controller
	for _, r := range l.regions {
		for _, svc := range r.site.Services() {
			c := svc.Controller
			if best == nil || rank(c, l.leader) > rank(best, l.leader) {
				best = c
			}
		}
	}
	l.leader = best
	return best
}

// rank orders controllers: who has seen most, then who does not suspect itself, then the leader so far.
func rank(c, leader *failover.Controller) uint64 {
	d := c.Decision()
	n := d.Sequence * 4
	if !d.SelfSuspect {
		n += 2
	}
	if c == leader {
		n++
	}
	return n
}

// follow listens to the first process that runs, and tells what its breakers did.
func (r *watched) follow(log *page.Log) {
	running := r.site.Services()
	if len(running) == 0 {
		r.cancel()
		r.followed, r.cancel = nil, func() {}
		return
	}
	svc := running[0]
	if svc != r.followed {
		r.cancel()
		r.followed, r.cancel = svc, svc.Modes.Subscribe(log.Levels(r.site.Name))
		clear(r.states)
	}
	for name, stats := range breakersOf(running[:1]) {
		if before := r.states[name]; before != stats.State {
			log.Breakers(r.site.Name)(breaker.Transition{Name: name, From: before, To: stats.State, At: time.Now()})
		}
		r.states[name] = stats.State
	}
}

// breakersOf returns the breakers of processes, of each the one that is worst off.
func breakersOf(running []*service.Service) map[string]breaker.Stats {
	all := map[string]breaker.Stats{}
	add := func(name string, s breaker.Stats) {
		if known, ok := all[name]; !ok || known.State == breaker.StateClosed {
			all[name] = s
		}
	}
	for _, svc := range running {
		add("payments", svc.Payments.Stats())
		for region, b := range svc.Breakers.All() {
			add("sqs "+region, b.Stats())
		}
	}
	return all
}

// measure asks what a Region stands on. What does not answer is unknown.
func (l *live) measure(ctx context.Context, r *watched) {
	ctx, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	var asks sync.WaitGroup
	var depth *queue.Depth
	var lag failover.LagSample
	var primary, known bool
	asks.Go(func() {
		if d, err := r.monitor.Depth(ctx); err == nil {
			depth = &d
		}
	})
	asks.Go(func() {
		if sample, err := r.monitor.Lag(ctx); err == nil {
			lag = sample
		}
	})
	asks.Go(func() {
		state, err := r.monitor.Primary(ctx)
		primary, known = state, err == nil
	})
	asks.Wait()
	status := l.status()
	settled := status.Phase == failover.PhaseSteady && status.Writer != ""
	r.mu.Lock()
	defer r.mu.Unlock()
	r.depth, r.lag = depth, lag
	switch {
	case status.Writer == r.site.Name:
		r.former, r.lag = false, failover.LagSample{}
	case known && settled:
		r.former = primary
	}
	if r.former {
		r.lag = failover.LagSample{} // it beats by itself, and follows nobody
	}
}

// status is the decision as far as anybody knows it.
func (l *live) status() failover.Status {
	if c := l.best(); c != nil {
		return c.Status()
	}
	return failover.Status{}
}

// former is a Region whose database is to be rebuilt, "" if there is none.
func (l *live) former() failover.Region {
	for _, r := range l.regions {
		r.mu.Lock()
		former := r.former
		r.mu.Unlock()
		if former {
			return r.site.Name
		}
	}
	return ""
}

// sum closes the books, while somebody writes.
func (l *live) sum(context.Context) {
	writer := l.fleet.Writer()
	if writer == nil {
		return
	}
	former := l.former()
	if former == "" && l.lost(l.fleet.Other(writer)) {
		former = l.fleet.Other(writer).Name // nobody has seen its database yet
	}
	sums := l.books.sums(l.fleet, writer, former)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums = sums
}

// lost reports whether no process of a Region runs.
func (l *live) lost(s *embedded.Site) bool { return len(s.Services()) == 0 }

// state is what the page shows now.
func (l *live) state() page.State {
	s := page.State{Decision: l.status(), RPO: cmp.Or(l.fleet.Config.Settings.RPO, time.Minute), Faults: l.faults.Active()}
	for _, r := range l.regions {
		s.Regions = append(s.Regions, r.state(s.Decision, l.books.trafficOf(r.site.Name)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Ledger = slices.Clone(l.sums)
	return s
}

func (r *watched) state(decision failover.Status, traffic page.Traffic) page.Region {
	running := r.site.Services()
	p := page.Region{Name: r.site.Name, Traffic: traffic, Breakers: breakersOf(running)}
	for i, svc := range running {
		if status := svc.Controller.Status(); i == 0 || status.MayWrite {
			p.Status = status
		}
		for _, c := range []*queue.Client{svc.Client, svc.Charges} {
			p.Spool = added(p.Spool, c.Stats().Spool)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(running) > 0 {
		r.modes = running[0].Modes.Status()
	}
	p.Queue, p.Lag, p.Modes = r.depth, r.lag, r.modes
	switch {
	case len(running) == 0:
		p.Modes = gone(r.modes)
		p.Status = failover.Status{Self: r.site.Name, Why: "no process runs"}
		if decision.Writer != r.site.Name {
			p.Role = "Gone"
		}
	case r.former && decision.Writer != r.site.Name:
		p.Role = "Former writer"
	}
	return p
}

// gone is what a Region without a process can do.
func gone(last degrade.Status) (s degrade.Status) {
	const why = "no process runs"
	for _, f := range last.Features {
		s.Features = append(s.Features, degrade.FeatureStatus{Name: f.Name, Level: degrade.Offline, Detail: why})
	}
	for _, d := range last.Dependencies {
		s.Dependencies = append(s.Dependencies, degrade.DependencyStatus{Name: d.Name, Detail: why})
	}
	return s
}

// added is the sum of two spools.
func added(a, b queue.SpoolStats) queue.SpoolStats {
	a.Messages, a.Bytes, a.Full = a.Messages+b.Messages, a.Bytes+b.Bytes, a.Full || b.Full
	if a.Oldest.IsZero() || !b.Oldest.IsZero() && b.Oldest.Before(a.Oldest) {
		a.Oldest = b.Oldest
	}
	return a
}
