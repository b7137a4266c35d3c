package idempotency

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/intrusive"
)

// A lease keeps an attempt's claim alive: a timer extends it every heartbeat, another one cancels the attempt when no
// extension was confirmed in time. Both run on the monotonic clock. Between beats there is no goroutine. The timers are made at the first
// beat, which most attempts do not live to see: see [beats].
type lease struct {
	core      *core
	store     Store
	holder    *Holder
	retention time.Duration
	cancel    context.CancelCauseFunc // of the attempt
	end       time.Time               // of MaxRun; zero if there is none, or a timer for it

	link intrusive.Link[lease] // in beats, while the first beat is to come; guarded by beats.mu
	due  time.Time

	mu        sync.Mutex  // guards the following
	confirmed time.Time   // when the last confirmed extension was sent: the store granted it no earlier
	beat      *time.Timer // nil until the first beat, as are the two that follow, which could not be needed before
	watchdog  *time.Timer
	over      *time.Timer // at end
	stopped   bool
	resumed   bool // the attempt has ended, and its end waits for the store
	lost      bool
}

// start begins the heartbeats of a lease granted by a request sent at sent.
func (l *lease) start(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed = sent
	l.core.beats.add(l, sent.Add(l.core.config.Heartbeat))
}

// resume goes on with the heartbeats of an attempt that has ended, at once.
func (l *lease) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped, l.resumed = false, true
	l.beatAfterLocked(0)
}

func (l *lease) beatAfterLocked(d time.Duration) {
	if l.beat == nil {
		l.beat = time.AfterFunc(d, l.onBeat)
		return
	}
	l.beat.Reset(d)
}

// confirmedAfter returns how long after start the last confirmed extension was sent; never negative.
func (l *lease) confirmedAfter(start time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.confirmed.Sub(start))
}

// stop ends the heartbeats. One that is under way finds the record no longer in flight and changes nothing.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.core.beats.remove(l)
	for _, t := range [...]*time.Timer{l.beat, l.watchdog, l.over} {
		if t != nil {
			t.Stop()
		}
	}
}

// left returns how long the lease is certain to last.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return 0
	}
	return l.leftLocked()
}

// leftLocked keeps half a heartbeat in hand, for the time it takes the function to notice.
func (l *lease) leftLocked() time.Duration {
	c := &l.core.config
	return c.Lease - c.Heartbeat/2 - time.Since(l.confirmed)
}

// onBeat runs on its timer's goroutine.
func (l *lease) onBeat() {
	l.mu.Lock()
	if l.stopped || l.lost {
		l.mu.Unlock()
		return
	}
	if l.watchdog == nil && !l.resumed {
		l.watchdog = time.AfterFunc(max(0, l.leftLocked()), l.onWatchdog)
		if !l.end.IsZero() {
			l.over = time.AfterFunc(time.Until(l.end), func() { l.cancel(errMaxRun) })
		}
	}
	l.core.work.add() // before the mutex: who has stopped the lease finds this beat at work, or none
	within := l.core.config.StoreTimeout
	if l.resumed {
		within = l.core.stepPatience() // no function needs it any more
	}
	l.mu.Unlock()
	defer l.core.work.done()

	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	next := l.core.config.Heartbeat
	if err := l.extend(ctx, nil); err != nil {
		next = jitter(next / 4)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped && !l.lost {
		l.beatAfterLocked(next)
	}
}

// extend renews the lease and saves checkpoint, if it is not nil.
func (l *lease) extend(ctx context.Context, checkpoint []byte) error {
	sent := time.Now()
	status, err := l.store.Renew(ctx, Renewal{Holder: *l.holder, Lease: l.core.config.Lease, Retention: l.retention, Checkpoint: checkpoint})
	switch {
	case err != nil:
		l.core.failed(err)
		return err
	case status != StatusGranted:
		l.lose("the record is another's")
		return ErrLeaseLost
	}
	if l.store == l.core.store { // not the memory of OutageLocal
		l.core.answered()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return ErrLeaseLost
	}
	if sent.After(l.confirmed) {
		l.confirmed = sent
	}
	if l.watchdog != nil && !l.stopped && !l.resumed {
		l.watchdog.Reset(max(0, l.leftLocked()))
	}
	return nil
}

// onWatchdog fences the attempt off unless an extension was confirmed since the timer was set.
func (l *lease) onWatchdog() {
	l.mu.Lock()
	left, stopped := l.leftLocked(), l.stopped || l.resumed
	if left > 0 && !stopped {
		l.watchdog.Reset(left)
	}
	l.mu.Unlock()
	if left <= 0 && !stopped {
		l.lose("no heartbeat was confirmed in time")
	}
}

func (l *lease) lose(why string) {
	l.mu.Lock()
	first := !l.lost && !l.stopped && !l.resumed // else there is nothing to cancel
	l.lost = l.lost || !l.stopped
	l.mu.Unlock()
	if !first {
		return
	}
	l.cancel(ErrLeaseLost)
	l.core.counts.leaseLost.Add(1)
	l.core.log.Warn("idempotency lease lost", slog.String("guard", l.core.config.Name), slog.String("why", why),
		slog.String("fence", l.holder.Fence.String()))
}
