package breaker

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// Order says who of those waiting for a [Bulkhead] is served first.
type Order uint8

const (
	OrderFIFO Order = iota // the one that waits longest: fair
	OrderLIFO              // the one that came last: under overload some calls are on time instead of none
)

// String returns "fifo" or "lifo".
func (o Order) String() string { return nameOf("Order", o, "fifo", "lifo") }

// BulkheadConfig configures a [Bulkhead]. The zero value is ready to use.
type BulkheadConfig struct {
	// Name identifies the bulkhead in errors and metrics. Choose from a small fixed set.
	Name string

	// MaxInFlight is how many calls may run at once. Zero means 64.
	MaxInFlight int

	// MaxQueue is how many calls may wait for a place. Zero means none: a full bulkhead refuses at once.
	MaxQueue int

	// MaxWait is how long a call may wait. Zero means 1 s; [Off] waits until the call's context ends.
	MaxWait time.Duration

	// Order says who is served first.
	Order Order

	// MeterProvider receives the metrics. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

func (c BulkheadConfig) validate() error {
	checks := []error{
		notNegative("MaxInFlight", c.MaxInFlight),
		notNegative("MaxQueue", c.MaxQueue),
	}
	if c.MaxWait != Off {
		checks = append(checks, notNegative("MaxWait", c.MaxWait))
	}
	if c.MaxInFlight > maxCalls {
		checks = append(checks, fmt.Errorf("MaxInFlight: %d is above the maximum %d", c.MaxInFlight, maxCalls))
	}
	if c.MaxQueue > maxCalls {
		checks = append(checks, fmt.Errorf("MaxQueue: %d is above the maximum %d", c.MaxQueue, maxCalls))
	}
	if c.Order > OrderLIFO {
		checks = append(checks, fmt.Errorf("Order: %v is unknown", c.Order))
	}
	for _, err := range checks {
		if err != nil {
			return fmt.Errorf("bulkhead %q: BulkheadConfig.%w", c.Name, err)
		}
	}
	return nil
}

// maxCalls keeps the two halves of Bulkhead.state apart.
const maxCalls = 1 << 30

// A Bulkhead bounds how many calls run at once, so that one slow dependency cannot take all goroutines,
// connections and memory. All methods are safe for concurrent use. It has no goroutine and needs no closing.
type Bulkhead struct {
	state    atomic.Uint64 // waiting<<32 | in flight
	limit    uint64
	cfg      BulkheadConfig
	full     *FullError // of refusals that did not wait
	_        [40]byte
	refused  atomic.Uint64
	timedOut atomic.Uint64
	gaveUp   atomic.Uint64 // their context ended

	mu      sync.Mutex // guards waiters, and every change of state's upper half
	waiters list.List  // of *waiter
}

// A waiter is one waiting call. Its place is handed over under Bulkhead.mu.
type waiter struct {
	ready   chan struct{} // closed when granted
	granted bool
}

const oneWaiting = 1 << 32

// NewBulkhead returns an empty bulkhead. Errors name the field.
func NewBulkhead(cfg BulkheadConfig) (*Bulkhead, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	orDefault(&cfg.MaxInFlight, 64)
	orDefault(&cfg.MaxWait, time.Second)
	h := &Bulkhead{
		cfg: cfg, limit: uint64(cfg.MaxInFlight),
		full: &FullError{Name: cfg.Name, MaxInFlight: cfg.MaxInFlight, Queued: cfg.MaxQueue},
	}
	telemetry.Attach(cfg.MeterProvider, telemetry.Breaker, h, bulkheadCollectorOf(cfg.Name))
	return h, nil
}

// Do runs call when it has a place and returns what it returned, or a [FullError] that it did not run. It
// waits as [Bulkhead.Acquire] does. The place comes back also when call panics or ends its goroutine.
func (h *Bulkhead) Do(ctx context.Context, call func(context.Context) error) error {
	room := h.state.Load() < h.limit
	if !room || h.state.Add(1) > h.limit { // tryAcquire by hand: a call less
		if err := h.enter(ctx, room); err != nil {
			return err
		}
	}
	defer h.release()
	return call(ctx)
}

// Acquire returns a place, the first step of a call in two; the second is the Permit's Done. It waits
// for one if MaxQueue allows, up to MaxWait and the end of ctx; ctx is not asked otherwise. The error
// is a [FullError]; if ctx ended it wraps its cause.
func (h *Bulkhead) Acquire(ctx context.Context) (Permit, error) {
	if !h.tryAcquire() {
		if err := h.wait(ctx); err != nil {
			return Permit{}, err
		}
	}
	return Permit{bulkhead: h}, nil
}

// Allow is Acquire that never waits.
func (h *Bulkhead) Allow() (Permit, error) {
	if !h.tryAcquire() {
		h.refused.Add(1)
		return Permit{}, h.full
	}
	return Permit{bulkhead: h}, nil
}

// BulkheadStats are a bulkhead's figures. Counts of the past are since NewBulkhead.
type BulkheadStats struct {
	MaxInFlight, InFlight, Queued int
	Refused                       uint64 // found no place to wait
	TimedOut                      uint64 // waited for MaxWait
	GaveUp                        uint64 // their context ended while they waited
}

// Stats returns the current figures.
func (h *Bulkhead) Stats() BulkheadStats {
	state := h.state.Load()
	return BulkheadStats{
		MaxInFlight: h.cfg.MaxInFlight, InFlight: int(min(state%oneWaiting, h.limit)), Queued: int(state / oneWaiting),
		Refused: h.refused.Load(), TimedOut: h.timedOut.Load(), GaveUp: h.gaveUp.Load(),
	}
}

// tryAcquire takes a free place. Nobody overtakes those who wait: with one waiting, state is above any limit.
func (h *Bulkhead) tryAcquire() bool {
	if h.state.Load() >= h.limit {
		return false
	}
	return h.state.Add(1) <= h.limit || h.stepBack()
}

// enter is the rest of Do's tryAcquire, and the wait if that failed. added says whether there is a place to undo.
func (h *Bulkhead) enter(ctx context.Context, added bool) error {
	if added && h.stepBack() {
		return nil
	}
	return h.wait(ctx)
}

// stepBack undoes a place that somebody else was faster to take, and tries again with more care: adding is
// cheaper than comparing and swapping, but while the place too many stands it hides one that comes free.
func (h *Bulkhead) stepBack() bool {
	h.release()
	return h.takeIfFree()
}

func (h *Bulkhead) takeIfFree() bool {
	for {
		state := h.state.Load()
		if state >= h.limit {
			return false
		}
		if h.state.CompareAndSwap(state, state+1) {
			return true
		}
	}
}

// release gives a place back, and to a waiter if there is one.
func (h *Bulkhead) release() {
	if state := h.state.Add(^uint64(0)); state >= oneWaiting {
		h.handOver(state)
	}
}

// handOver gives the place that release has freed to a waiter. There may be none any more, or no room: another
// goroutine may be between its two steps of tryAcquire, and will come here when it steps back.
func (h *Bulkhead) handOver(state uint64) {
	if uint32(state) == math.MaxUint32 { // below zero: release has borrowed from the upper half
		if state = h.state.Add(1); state >= oneWaiting { // it looked full meanwhile, and somebody began to wait
			h.handOver(state)
		}
		panic("breaker: Done of a bulkhead's Permit that is done")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.waiters.Front()
	if next == nil || h.state.Load()%oneWaiting >= h.limit {
		return
	}
	h.state.Add(^uint64(oneWaiting - 2)) // one waiting less, one in flight more
	w := h.waiters.Remove(next).(*waiter)
	w.granted = true
	close(w.ready)
}

// wait queues the call until it has a place. It returns a FullError or nil.
func (h *Bulkhead) wait(ctx context.Context) error {
	if h.cfg.MaxQueue == 0 {
		h.refused.Add(1)
		return h.full
	}
	w := &waiter{ready: make(chan struct{})}
	place, err := h.enqueue(w)
	if err != nil || place == nil {
		return err
	}
	start := time.Now()
	var timeout <-chan time.Time
	if h.cfg.MaxWait != Off {
		timer := time.NewTimer(h.cfg.MaxWait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-w.ready:
		return nil
	case <-timeout:
		return h.leave(w, place, time.Since(start), nil)
	case <-ctx.Done():
		return h.leave(w, place, time.Since(start), context.Cause(ctx))
	}
}

// enqueue adds w to the waiters. A nil place without an error means that a place has become free and is taken.
func (h *Bulkhead) enqueue(w *waiter) (place *list.Element, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.takeIfFree() {
			return nil, nil
		}
		if h.waiters.Len() >= h.cfg.MaxQueue {
			h.refused.Add(1)
			return nil, h.full
		}
		state := h.state.Load()
		if state >= h.limit && h.state.CompareAndSwap(state, state+oneWaiting) {
			break // no release can miss w: from now on they come here, and wait for mu
		}
	}
	if h.cfg.Order == OrderLIFO {
		return h.waiters.PushFront(w), nil
	}
	return h.waiters.PushBack(w), nil
}

// leave ends a wait in vain. A place handed over at the same moment is kept when only MaxWait passed and
// given on when the caller is gone.
func (h *Bulkhead) leave(w *waiter, place *list.Element, waited time.Duration, cause error) error {
	h.mu.Lock()
	granted, queued := w.granted, h.waiters.Len()
	if !granted {
		h.waiters.Remove(place)
		h.state.Add(^uint64(oneWaiting - 1))
	}
	h.mu.Unlock()
	if granted && cause == nil {
		return nil
	}
	if granted {
		h.release()
	}
	if cause == nil {
		h.timedOut.Add(1)
	} else {
		h.gaveUp.Add(1)
	}
	return &FullError{Name: h.cfg.Name, MaxInFlight: h.cfg.MaxInFlight, Queued: queued, Waited: waited, Err: cause}
}
