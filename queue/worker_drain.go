package queue

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	pollGrace  = 2 * time.Second                      // for an open poll to end by itself
	stopGrace  = 2 * time.Second                      // for a handler whose context ended
	flushGrace = settleTimeout + 500*time.Millisecond // for deletes and releases
)

// drain is the end of Run: see there.
func (w *Worker) drain(polling *sync.WaitGroup, abortPolls context.CancelFunc) error {
	began := time.Now()
	before := w.telemetry.concluded.Load()
	grace := time.AfterFunc(pollGrace, abortPolls)
	ended := make(chan struct{})
	go func() { // ends with the pollers
		polling.Wait()
		close(ended)
	}()
	aborted := make(chan bool, 1)
	go func() { // ends with them too, or when they are deaf
		deaf := time.NewTimer(pollGrace + settleTimeout) // a transport that ignores its context
		defer deaf.Stop()
		select {
		case <-ended:
		case <-deaf.C:
		}
		w.giveBackWaiting()
		aborted <- !grace.Stop()
	}()
	quiet := w.quiet(w.config.Drain)
	pollsAborted := <-aborted
	if !quiet {
		w.stopHandlers()
		w.quiet(stopGrace)
	}
	w.flush()
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.report
	r.Took, r.PollsAborted, r.Unconfirmed = time.Since(began), pollsAborted, w.telemetry.settleFailed.Load()
	r.Finished = max(0, int(w.telemetry.concluded.Load()-before)-r.Stopped)
	for h := range w.held.all() {
		if h.ctx.runs() {
			r.LeftBehind = append(r.LeftBehind, h.envelope.Key())
		}
	}
	slices.Sort(r.LeftBehind)
	w.logger().Info("queue: drained", slog.String("worker", w.config.Name), slog.Duration("took", r.Took), slog.Int("finished", r.Finished),
		slog.Int("stopped", r.Stopped), slog.Int("released", r.Released), slog.Int("left_behind", len(r.LeftBehind)))
	return r.err(w.config.Name)
}

// giveBackWaiting returns everything that has not been started. Its polls have ended: they would receive it again.
func (w *Worker) giveBackWaiting() {
	w.mu.Lock()
	waiting := w.waiting
	w.waiting, w.gaveBack = nil, true
	w.giveBackLocked(waiting)
	w.mu.Unlock()
	for _, src := range w.sources {
		src.releases.now()
	}
}

// quiet waits up to d for every handler to end.
func (w *Worker) quiet(d time.Duration) bool {
	w.mu.Lock()
	if w.running == 0 {
		w.mu.Unlock()
		return true
	}
	c := make(chan struct{})
	w.idle = append(w.idle, c)
	w.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// stopHandlers ends the contexts of all that run.
func (w *Worker) stopHandlers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for h := range w.held.all() {
		h.ctx.stop(ErrDraining)
	}
}

// flush waits for deletes and releases under way.
func (w *Worker) flush() {
	for _, src := range w.sources {
		src.deletes.now()
		src.releases.now()
	}
	t := time.NewTimer(flushGrace)
	defer t.Stop()
	select {
	case <-w.settling.wait():
	case <-t.C:
	}
}
