package queue

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	pollErrorMin = time.Second
	pollErrorMax = 30 * time.Second
	pauseMin     = time.Second
	pauseMax     = 30 * time.Second // Ready is asked again at least this often
	probePoll    = time.Second      // the least for which SQS asks all its servers
)

// addPoller starts a poller of src. Pollers are never cancelled but by polls.
func (w *Worker) addPoller(polling *sync.WaitGroup, polls context.Context, src *workerSource) {
	w.mu.Lock()
	src.pollers++
	extra := src.pollers > 1
	w.mu.Unlock()
	polling.Go(func() {
		w.poll(polling, polls, src, extra)
		w.mu.Lock()
		src.pollers--
		w.mu.Unlock()
	})
}

// poll receives until the drain. The first poller of a source stays, whatever happens; extra ones go when the queue
// has no more full batches.
func (w *Worker) poll(polling *sync.WaitGroup, polls context.Context, src *workerSource, extra bool) {
	fails := 0
	wake := make(chan struct{}, 1)
	for {
		n, wait, ok := w.reserve(src, wake)
		if !ok {
			return
		}
		got, err := src.transport.Receive(polls, ReceiveRequest{Max: n, Wait: wait, Lease: w.config.Lease})
		w.accept(src, got, n)
		if err != nil {
			fails++
			w.pollFailed(src, fails, err)
			continue
		}
		fails = 0
		full := len(got) == n && n == src.limits.Batch
		if extra && !full {
			return
		}
		if full && w.wantsPoller(src) {
			w.addPoller(polling, polls, src)
		}
	}
}

// wantsPoller allows one poller per ten workers while receives come back full.
func (w *Worker) wantsPoller(src *workerSource) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return src.pollers < (w.config.Workers+9)/10 && !w.draining()
}

// pollFailed waits before the next poll. It says so once per outage.
func (w *Worker) pollFailed(src *workerSource, fails int, err error) {
	if w.draining() {
		return
	}
	if fails == 1 {
		w.logger().Warn("queue: cannot receive", slog.String("worker", w.config.Name), slog.String("region", src.region), slog.Any("error", err))
	}
	wait := min(pollErrorMax, pollErrorMin<<min(fails-1, 5))
	w.pauseFor(wait/2 + rand.N(wait))
}

// pauseFor waits for d or the drain.
func (w *Worker) pauseFor(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.stop:
	}
}

// reserve blocks until src may ask for messages and returns how many, and for how long it may wait for them. ok is false when draining.
func (w *Worker) reserve(src *workerSource, wake chan struct{}) (n int, wait time.Duration, ok bool) {
	for !w.draining() {
		a := w.admission()
		if a.limit == 0 {
			w.giveUpTurn(wake)
			w.pauseUntil(a.wait)
			continue
		}
		if n := w.tryReserve(src, a, wake); n > 0 {
			return n, w.patience(a), true
		}
		w.sleep(a, wake)
	}
	return 0, 0, false
}

// sleep waits for wake. Where one call is tried, which may take long, Ready is asked again meanwhile.
func (w *Worker) sleep(a admission, wake chan struct{}) {
	var again <-chan time.Time
	if a.probe {
		t := time.NewTimer(spread(a.wait))
		defer t.Stop()
		again = t.C
	}
	select {
	case <-wake:
		runtime.Gosched() // handlers that are about to end make one poll for several messages out of several for one
	case <-again:
	case <-w.stop:
	}
}

// giveUpTurn is called by a poller that pauses: nobody needs to wait for its turn.
func (w *Worker) giveUpTurn(wake chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noSleeperLocked(wake) {
		w.wakeLocked()
	}
}

// noSleeperLocked reports whether the poller that wake belongs to was a sleeper, which it is no more.
func (w *Worker) noSleeperLocked(wake chan struct{}) bool {
	before := len(w.sleepers)
	w.sleepers = slices.DeleteFunc(w.sleepers, func(s sleeper) bool { return s.wake == wake })
	return len(w.sleepers) < before
}

// patience is how long one poll waits. Sources that take turns must not keep each other waiting.
func (w *Worker) patience(a admission) time.Duration {
	if a.probe && len(w.sources) > 1 {
		return min(w.config.Poll, probePoll)
	}
	return w.config.Poll
}

// spread is how long to wait before Ready is asked again, so that a fleet does not come back at one instant.
func spread(wait time.Duration) time.Duration {
	wait = min(max(wait, pauseMin), pauseMax)
	return wait + rand.N(wait/5)
}

// pauseUntil waits before Ready is asked again; Resume ends it.
func (w *Worker) pauseUntil(wait time.Duration) {
	wake := make(chan struct{}, 1)
	w.mu.Lock()
	w.pausers = append(w.pausers, wake)
	w.mu.Unlock()
	t := time.NewTimer(spread(wait))
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-w.stop:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pausers = slices.DeleteFunc(w.pausers, func(c chan struct{}) bool { return c == wake })
}

// tryReserve takes up to a batch of the free workers for one poll of src. Several sources share the workers: one that
// was empty last time asks for one message, and every source may ask for one while any worker is free, so that
// the idle poll of one Region does not lock the other out. What exceeds the workers waits here, leased. A probe is one call in one
// Region: there they take turns. With nothing free it returns 0, and wake hears when to look again.
func (w *Worker) tryReserve(src *workerSource, a admission, wake chan struct{}) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noSleeperLocked(wake)
	free := a.limit - w.running - w.runnableLocked()
	if len(w.sources) == 1 || a.probe {
		free -= w.reserved
	}
	if free < 1 || a.probe && w.yieldsLocked(src) {
		w.sleepers = append(w.sleepers, sleeper{src, wake})
		return 0
	}
	w.turns++
	src.turn = w.turns
	want := src.limits.Batch
	if len(w.sources) > 1 && !src.eager {
		want = 1
	}
	n = min(want, free)
	if len(w.sources) > 1 {
		n = max(1, min(want, free-w.reserved))
	}
	w.reserved += n
	return n
}

// A sleeper is a poller that waits for a free worker, or for its turn. It is one until it has looked again.
type sleeper struct {
	source *workerSource
	wake   chan struct{}
}

// yieldsLocked reports whether a source that waits has been polled less recently than src.
func (w *Worker) yieldsLocked(src *workerSource) bool {
	return slices.ContainsFunc(w.sleepers, func(s sleeper) bool { return s.source.turn < src.turn })
}

// wakeLocked lets pollers look again.
func (w *Worker) wakeLocked() {
	for _, s := range w.sleepers {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// An admission is how many calls may run now, and if not all, when to ask again.
type admission struct {
	limit int
	probe bool // one call is tried
	wait  time.Duration
}

// admission calls Ready and Epoch and must not be called under the mutex.
func (w *Worker) admission() admission {
	w.mu.Lock()
	paused := w.paused
	w.mu.Unlock()
	if paused {
		return admission{wait: pauseMax}
	}
	if w.config.Epoch != nil {
		if epoch, _ := w.config.Epoch(); epoch == 0 {
			return admission{wait: pauseMin}
		}
	}
	a := admission{limit: w.config.Workers}
	if w.config.Ready != nil {
		wait, ok := w.config.Ready()
		if !ok {
			return admission{wait: wait}
		}
		if wait > 0 {
			a = admission{limit: 1, probe: true, wait: wait}
		}
	}
	if w.alwaysReady {
		return a
	}
	if ready, wait := w.handlersReady(); ready < 2 {
		return admission{min(a.limit, ready), ready == 1, wait}
	}
	return a
}

// handlersReady returns 0 when no handler is ready, 1 when the best may only be probed, 2 otherwise. Calls of a handler
// that is not ready while others are cannot be left in the queue: they are put off when they come.
func (w *Worker) handlersReady() (best int, wait time.Duration) {
	wait = pauseMax
	for _, h := range w.handlers {
		d, ok := h.config.Ready()
		switch {
		case ok && d <= 0:
			return 2, 0
		case ok:
			best = 1
		}
		wait = min(wait, d)
	}
	return best, wait
}

// accept takes over what a poll brought and starts what can start.
func (w *Worker) accept(src *workerSource, got []*Message, reserved int) {
	now := time.Now()
	items := make([]*held, len(got))
	for i, m := range got {
		items[i] = w.newHeld(src, m, now)
	}
	w.telemetry.receivedBatch(src, len(got))
	a := w.admission()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reserved -= reserved
	src.eager = len(got) > 0
	var refuse []*held
	for _, h := range items {
		w.held.add(h)
		h.receives = w.receivesLocked(h)
		w.joinGroupLocked(h)
		if !now.Before(h.until) { // the answer took longer than the lease
			w.loseLocked(h)
		}
		switch {
		case w.gaveBack: // by a transport that ignores its context
			refuse = append(refuse, h)
		case a.limit == 0 || a.probe && w.running+w.runnableLocked() > 0 || w.overflowsLocked(h):
			h.putOff = max(a.wait, minWait)
			w.waiting = append(w.waiting, h)
		default:
			w.waiting = append(w.waiting, h)
		}
	}
	w.giveBackLocked(refuse)
	w.startLocked()
	w.wakeLocked()
}

func (w *Worker) newHeld(src *workerSource, m *Message, now time.Time) *held {
	h := &held{message: m, source: src, since: now, until: m.LeaseUntil}
	if h.bad = h.envelope.Decode(m.Body); h.bad == nil {
		h.handler = w.handlers[h.envelope.Name]
	}
	return h
}

// giveBackLocked returns messages that were not started, at once and uncounted.
func (w *Worker) giveBackLocked(items []*held) {
	for _, h := range items {
		w.held.remove(h)
		w.leaveGroupLocked(h)
		w.notAttemptLocked(h)
		w.report.Released++
		w.telemetry.released[releasedDrain].Add(1)
		h.source.releases.add(Release{Message: h.message})
	}
}
