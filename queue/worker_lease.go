package queue

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// beat keeps every lease while its message is held: the one heartbeat loop of the worker. It looks twelve times a lease,
// extends what has used a third of its lease, and gives up what cannot be extended in time: a lease that ends unnoticed
// means two handlers.
func (w *Worker) beat(ctx context.Context) {
	var extending sync.WaitGroup
	defer extending.Wait()
	every := w.config.Lease / 12
	for sleep(ctx, every-every/10+rand.N(every/5)) {
		for _, src := range w.sources {
			due := w.due(src)
			if len(due) == 0 {
				continue
			}
			extending.Go(func() { w.extend(ctx, src, due) })
		}
	}
}

// due returns the messages of src to extend now and loses those that it is too late for.
func (w *Worker) due(src *workerSource) (due []*held) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for h := range w.held.all() {
		if h.source != src || h.lost.Load() {
			continue
		}
		h.ctx.arm(w.timerHorizon())
		left := h.until.Sub(now)
		switch {
		case left < w.config.Lease/6 || now.Sub(h.since) > src.limits.MaxLease-2*w.config.Lease && src.limits.MaxLease > 0:
			w.loseLocked(h)
		case left < w.config.Lease*2/3 && !src.extending:
			due = append(due, h)
		}
	}
	if len(due) > 0 {
		src.extending = true
	}
	return due
}

// extend extends the leases of items. Its deadline leaves time for another try.
func (w *Worker) extend(ctx context.Context, src *workerSource, items []*held) {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		src.extending = false
	}()
	for batch := range chunks(items, max(1, src.limits.Batch)) {
		began := time.Now()
		request, cancel := context.WithTimeout(ctx, max(w.config.Lease/6, time.Second/2))
		errs := src.transport.Extend(request, messagesOf(batch), w.config.Lease)
		cancel()
		w.telemetry.operation(opExtend, src, began, errs)
		w.extended(batch, errs, began)
	}
}

func (w *Worker) extended(batch []*held, errs []error, began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, h := range batch {
		err := errorAt(errs, i)
		switch {
		case err == nil:
			h.until = began.Add(w.config.Lease)
		case h.kept && errors.Is(err, ErrLeaseLost):
			w.loseLocked(h)
		}
	}
}

// loseLocked gives h up: its handler's context ends, and nothing it does will delete the message.
func (w *Worker) loseLocked(h *held) {
	h.lost.Store(true)
	w.telemetry.leaseLost.Add(1)
	h.ctx.stop(ErrLeaseLost)
	w.logger().Warn("queue: lease lost", slog.String("worker", w.config.Name), slog.String("region", h.source.region),
		slog.String("call", h.envelope.Name), slog.String("call_id", h.envelope.ID))
}

// chunks yields items in slices of n.
func chunks[T any](items []T, n int) func(yield func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(items) > 0 {
			some := items[:min(n, len(items))]
			if !yield(some) {
				return
			}
			items = items[len(some):]
		}
	}
}

// measureEvery is how often a worker reads the depth of its queues.
const measureEvery = time.Minute

// measure reads the queues' depths for the gauges.
func (w *Worker) measure(ctx context.Context) {
	for {
		for _, src := range w.sources {
			request, cancel := context.WithTimeout(ctx, settleTimeout)
			d, err := src.transport.Stats(request)
			cancel()
			w.mu.Lock()
			src.depth, src.depthErr = d, err
			w.mu.Unlock()
		}
		if !sleep(ctx, measureEvery) {
			return
		}
	}
}
