package failover

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A prober is the periodic part of one client in one Region.
type prober struct {
	region         Region
	every, timeout time.Duration
	state          *sourceRegion
	probe          func(context.Context) error
	ready          func(context.Context) error // nil: probe tells
	lag            func(context.Context) (LagSample, error)
	drain          func(context.Context) error
	capacity       func() int
}

// register adds a client's evidence; the running controller starts its probes.
func (c *Controller) register(s *source, probers []prober) {
	c.mu.Lock()
	c.sources = append(c.sources, s)
	c.probers = append(c.probers, probers...)
	c.endpoints = append(c.endpoints, probers...)
	c.mu.Unlock()
	nudge(c.wake)
}

// startProbers starts the probes of clients that were registered since the last call.
func (c *Controller) startProbers(ctx context.Context, wg *sync.WaitGroup) {
	c.mu.Lock()
	fresh := c.probers
	c.probers = nil
	c.mu.Unlock()
	for _, p := range fresh {
		wg.Go(func() { c.probeForever(ctx, p) })
		if p.lag != nil {
			wg.Go(func() { c.sampleLag(ctx, p) })
		}
	}
}

// probeForever probes every interval ± 20 %, counted from start to start, so that a probe that hangs until its
// time-out delays the next one by no more than it must.
func (c *Controller) probeForever(ctx context.Context, p prober) {
	next := time.Duration(c.rule.random() * float64(p.every) * 0.2) // a fleet that starts together must not probe together
	for wait(ctx, next) == nil {
		started := time.Now()
		p.once(ctx, func() { nudge(c.wake) })
		next = max(0, c.jittered(p.every)-time.Since(started))
	}
}

// once runs one probe and calls seen after its result is noted. A probe that ignores its context is counted as failed at its
// time-out, once more every interval after that, and waited for: two probes of one client never overlap.
func (p prober) once(ctx context.Context, seen func()) {
	bounded, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- p.ask(bounded) }()
	hung := time.NewTimer(p.timeout)
	defer hung.Stop()
	for late := false; ; {
		select {
		case err := <-result:
			if !late && ctx.Err() == nil {
				p.state.probes.add(err == nil)
				seen()
			}
			return
		case <-hung.C:
			if ctx.Err() == nil {
				p.state.probes.add(false)
				seen()
			}
			late = true
			hung.Reset(p.every)
		}
	}
}

// ask probes and, where that is good, asks whether the Region could take over.
func (p prober) ask(ctx context.Context) error {
	err := p.probe(ctx)
	if err == nil && p.ready != nil {
		p.state.setReady(p.ready(ctx))
	}
	return err
}

// sampleLag measures replication every second.
func (c *Controller) sampleLag(ctx context.Context, p prober) {
	for wait(ctx, c.jittered(tick)) == nil {
		bounded, cancel := context.WithTimeout(ctx, p.timeout)
		sample, err := p.lag(bounded)
		cancel()
		if err == nil && !sample.ReplicatedThrough.IsZero() {
			p.state.lag.set(sample)
		}
	}
}

// drainRegion cancels what still runs in a Region that was switched away and releases its connections.
func (c *Controller) drainRegion(ctx context.Context, region Region) {
	c.mu.Lock()
	endpoints := c.endpoints
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range endpoints {
		if p.region != region {
			continue
		}
		wg.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, c.cfg.MaxFlight)
			defer cancel()
			if err := p.drain(bounded); err != nil {
				c.log.Warn("region not drained cleanly", slog.String("region", region), slog.Any("error", err))
			}
		})
	}
	wg.Wait()
}

// drainOnSwitch drains the old writer's Region once per epoch that ended, when its writes in flight have had their time.
// It goes by the writer and not by the phase: an instance that was away may see neither the cut nor the promotion.
func (c *Controller) drainOnSwitch(ctx context.Context) {
	writer := c.Decision().Writer
	for d := range c.Watch(ctx) {
		old := writer
		if writer = d.Writer; old == "" || old == writer {
			continue
		}
		if wait(ctx, c.cfg.MaxFlight) == nil && c.Decision().Writer != old {
			c.drainRegion(ctx, old)
		}
	}
}
