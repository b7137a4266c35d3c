package idempotency

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	maxLater       = 1000 // of each kind, the steps that wait for a store that is out
	maxLaterLeases = 10   // how long a step is tried while the lease can be kept, in leases
)

// completeLater stores a result in the background until the lease has passed. The flight stays so
// long, settled: calls of this process replay the result meanwhile.
func (r *run) completeLater(c Completion) {
	r.flights.settle(&r.flight, c.Result)
	leave := func() { r.flights.leave(&r.key, &r.flight, nil) }
	r.retryLater(&r.later, r.laterLease(), leave, func(ctx context.Context) error {
		a, err := r.core.store.Complete(ctx, c)
		if err == nil && a.Status != StatusGranted {
			r.counts.fenced.Add(1)
		}
		return err
	})
}

// releaseLater ends, in the background, an attempt that has run.
func (r *run) releaseLater(rel Release) {
	r.retryLater(&r.later, r.laterLease(), func() {}, func(ctx context.Context) error {
		_, err := r.core.store.Release(ctx, rel)
		return err
	})
}

// laterLease is the lease to keep while the attempt's end waits for the store: that of the store itself.
func (r *run) laterLease() *lease {
	if r.unprotected() {
		return nil
	}
	return r.lease
}

// errMayArrive says that a lost claim has not been found, or not yet.
var errMayArrive = errors.New("the claim may still arrive")

// unclaimLater takes back a claim whose reply was lost, and looks a second time for one that was not there: what was sent
// over a connection that then failed may arrive behind its own release.
func (g *core) unclaimLater(h Holder, retention time.Duration) {
	again := false
	g.retryLater(&g.unsent, nil, func() {}, func(ctx context.Context) error {
		status, err := g.store.Release(ctx, Release{Holder: h, Retention: retention})
		if err == nil && status == StatusAbsent && !again {
			again = true
			return errMayArrive
		}
		return err
	})
}

// retryLater repeats step until it succeeds or the lease has passed, and then calls end. It keeps l, if there is one, alive
// meanwhile: a store that takes heartbeats and not the step must not give the key away. Above maxLater
// it gives up at once: the store's lease then ends what the step would have.
func (g *core) retryLater(t *tracker, l *lease, end func(), step func(context.Context) error) {
	if !t.addUnder(maxLater) {
		g.giveUp("too many steps wait for the store")
		end()
		return
	}
	go func() {
		defer t.done()
		defer end()
		if l != nil {
			l.resume()
			defer l.stop()
		}
		start := time.Now()
		for wait := pollFirst; time.Since(start) < g.lasts(l, start) && !g.leaving(); wait = min(2*wait, pollMax) {
			time.Sleep(jitter(wait))
			err := g.try(step)
			if err == nil {
				return
			}
			if err == errMayArrive {
				time.Sleep(g.stepPatience())
			}
		}
		g.giveUp("the store did not take the step while the lease and the process lasted")
	}()
}

// stopPatience is how long a guard that is told to stop waits for its store: less than what holdfast.Run gives a stage.
const stopPatience = 20 * time.Second

// leaving reports whether the guard has waited long enough since it was told to stop.
func (g *core) leaving() bool {
	leave := g.leave.Load()
	return leave != nil && time.Now().After(*leave)
}

// stepPatience is how long a step may take that only Run waits for: StoreTimeout, and no longer than until the guard leaves.
func (g *core) stepPatience() time.Duration {
	if leave := g.leave.Load(); leave != nil {
		return min(g.config.StoreTimeout, time.Until(*leave))
	}
	return g.config.StoreTimeout
}

// lasts returns how long after start a step is tried: until the lease has passed that was last confirmed.
func (g *core) lasts(l *lease, start time.Time) time.Duration {
	if l == nil {
		return g.config.Lease
	}
	return min(maxLaterLeases*g.config.Lease, g.config.Lease+l.confirmedAfter(start))
}

func (g *core) try(step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), g.stepPatience())
	defer cancel()
	err := step(ctx)
	if err != nil && err != errMayArrive {
		g.failed(err)
		return err
	}
	g.answered()
	return err
}

func (g *core) giveUp(why string) {
	g.counts.gaveUp.Add(1)
	g.log.Warn("idempotency step given up", slog.String("guard", g.config.Name), slog.String("why", why))
}
