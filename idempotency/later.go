package idempotency

import (
	"context"
	"log/slog"
	"time"
)

// maxLater bounds the steps that wait for a store that is out.
const maxLater = 1000

// completeLater stores a result in the background until the lease would have passed. The flight stays so
// long, settled: calls of this process replay the result meanwhile.
func (r *run) completeLater(c Completion) {
	r.flights.settle(r.flight, c.Result)
	leave := func() { r.flights.leave(&r.key, r.flight, nil) }
	r.retryLater(leave, func(ctx context.Context) error {
		a, err := r.core.store.Complete(ctx, c)
		if err == nil && a.Status != StatusGranted {
			r.counts.fenced.Add(1)
		}
		return err
	})
}

// releaseLater ends, in the background, an attempt that the store may or may not know of.
func (g *core) releaseLater(rel Release) {
	g.retryLater(func() {}, func(ctx context.Context) error {
		_, err := g.store.Release(ctx, rel)
		return err
	})
}

// retryLater repeats step until it succeeds or a lease has passed, and then calls end. Above maxLater
// it gives up at once: the store's lease then ends what the step would have.
func (g *core) retryLater(end func(), step func(context.Context) error) {
	if !g.later.addUnder(maxLater) {
		g.giveUp("too many steps wait for the store")
		end()
		return
	}
	go func() {
		defer g.later.done()
		defer end()
		deadline := time.Now().Add(g.config.Lease)
		for wait := pollFirst; time.Now().Before(deadline); wait = min(2*wait, pollMax) {
			time.Sleep(jitter(wait))
			if g.try(step) {
				return
			}
		}
		g.giveUp("the store did not answer for a lease")
	}()
}

func (g *core) try(step func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), g.config.StoreTimeout)
	defer cancel()
	if err := step(ctx); err != nil {
		g.failed(err)
		return false
	}
	g.answered()
	return true
}

func (g *core) giveUp(why string) {
	g.counts.gaveUp.Add(1)
	g.log.Warn("idempotency step given up", slog.String("guard", g.config.Name), slog.String("why", why))
}
