package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// WorkerConfig configures a [Worker]. The zero value is ready to use.
type WorkerConfig struct {
	// Name is used in errors, logs and metrics. Empty means "worker".
	Name string

	// Workers is how many handlers run at a time. Zero means 10. Nothing is received beyond what can start, but what the open polls of
	// several Regions bring for the last free worker: that waits here, leased.
	Workers int

	// PerTenant is how many of them one tenant may hold. Zero means three quarters, at least one. Calls
	// without a tenant are not limited.
	PerTenant int

	// Lease is how long a message is leased and by how much the lease is extended while its handler runs. Zero means
	// 30 s; below 1 s or over an hour is an error. A message of a worker that crashed comes back after it.
	Lease time.Duration

	// Poll is how long one request waits for messages. Zero means 20 s, the longest SQS does. SQS waits for whole seconds: what is less is
	// rounded up. While one call at a time is tried (Ready) Regions take turns, each of at most 1 s.
	Poll time.Duration

	// Drain is how long running handlers may go on after Run's context ended, or the 2 s that open polls are waited
	// for, if that is longer. Zero means 25 s, which leaves 5 s for the rest within holdfast.StopTimeout.
	Drain time.Duration

	// Once runs every call under its key, "<call name>/<call ID>": (*idempotency.Guard).Once for one. Nil means that
	// a call may run again whenever its message comes again. Failed attempts are counted by it too, under "<key> attempt <number>",
	// and so are the runs of a call that was received more than MaxAttempts times, under "<key> start <number>".
	Once func(ctx context.Context, key string, call func(context.Context) error) error

	// OnceRetention is for how long Once remembers: (*idempotency.Guard).OnceRetention(). Required with Once. A call older
	// than this, less 5 minutes, is never run: it is dead-lettered as too_old.
	OnceRetention time.Duration

	// Ready pauses the whole worker while it says no; with ok and wait > 0 one call at a time is tried. It is asked again after wait, within
	// 1 s to 30 s. What was received and may not start then is put off, no attempt. Nil means always.
	Ready func() (wait time.Duration, ok bool)

	// Epoch is the current write epoch. While it is 0 this process may not write and the worker pauses. Nil
	// means calls are not checked.
	Epoch func() (epoch uint64, since time.Time)

	// Codec opens what the clients' Codec sealed. Nil means sealed calls are put off until a worker has one.
	Codec Codec

	// OnDead is told of every call after it was dead-lettered, on the goroutine that ran it. It must not block for long.
	OnDead func(ctx context.Context, letter DeadLetter)

	// Ledger records what became of calls in tests and drills. Nil means none.
	Ledger *Ledger

	// Logger receives one line per state change. Nil is silent.
	Logger *slog.Logger

	// MeterProvider and TracerProvider: nil means OpenTelemetry's global ones.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

func (c *WorkerConfig) setDefaults() error {
	setDefault(&c.Name, "worker")
	setDefault(&c.Workers, 10)
	setDefault(&c.PerTenant, max(1, c.Workers-max(1, c.Workers/4)))
	setDefault(&c.Lease, 30*time.Second)
	setDefault(&c.Poll, 20*time.Second)
	setDefault(&c.Drain, 25*time.Second)
	switch {
	case c.Workers < 1 || c.PerTenant < 1:
		return fmt.Errorf("queue: WorkerConfig: %d Workers, %d PerTenant: want at least one", c.Workers, c.PerTenant)
	case c.Lease < time.Second || c.Lease > time.Hour:
		return fmt.Errorf("queue: WorkerConfig.Lease: %v is not within 1s to 1h", c.Lease)
	case c.Poll < 0 || c.Poll > 20*time.Second:
		return fmt.Errorf("queue: WorkerConfig.Poll: %v is not within 0 to 20s", c.Poll)
	case c.Drain < 0:
		return fmt.Errorf("queue: WorkerConfig.Drain: %v is negative", c.Drain)
	case c.Once != nil && c.OnceRetention <= onceMargin:
		return fmt.Errorf("queue: WorkerConfig.OnceRetention: %v: Once needs to say how long it remembers, more than %v", c.OnceRetention, onceMargin)
	case c.Once == nil && c.OnceRetention != 0:
		return errors.New("queue: WorkerConfig.OnceRetention without Once")
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// onceMargin is how long before the end of an idempotency marker its call is too old to run.
const onceMargin = 5 * time.Minute

// A Worker receives calls and runs their handlers. Its methods are safe for concurrent use.
type Worker struct {
	config   WorkerConfig
	sources  []*workerSource
	handlers map[string]*handlerState

	alwaysReady bool // a handler has no Ready

	telemetry workerTelemetry
	stop      chan struct{} // closed when the drain begins
	stopOnce  sync.Once
	finished  chan struct{} // closed when Run has returned
	settling  waiter        // batches of deletes and releases under way

	mu       sync.Mutex // guards the following
	started  bool
	paused   bool // by Pause
	running  int
	reserved int // asked for by open polls
	waiting  []*held
	gaveBack bool // what waited, because the worker drains
	held     heldList
	tenants  map[string]int
	groups   map[groupKey]*group
	follow   map[groupKey]time.Time // groups whose calls are dead until then
	free     map[string]int         // receives that were no attempt, by message
	known    map[string]int         // numbers of failed attempts and of runs, by the beginning of their keys
	sleepers []sleeper
	turns    int             // polls so far
	resting  []chan *held    // idle handler goroutines
	pausers  []chan struct{} // pollers waiting for Resume
	idle     []chan struct{} // closed when nothing runs
	report   DrainReport
	base     context.Context // of handlers: values of Run's context, without its end
}

// A workerSource is one queue the worker polls.
type workerSource struct {
	source
	limits    Limits
	deletes   settler[*held]
	releases  settler[Release]
	extending bool // guarded by Worker.mu
	pollers   int  // guarded by Worker.mu
	eager     bool // the last receive brought something; guarded by Worker.mu
	turn      int  // Worker.turns at the last poll; guarded by Worker.mu
	depth     Depth
	depthErr  error
}

// A handlerState is a handler with what this worker runs of it.
type handlerState struct {
	*handler
	running int // guarded by Worker.mu
	sets    handlerSets
}

// NewWorker returns a worker of the mux's handlers on t. It does no I/O and starts nothing.
func NewWorker(t Transport, mux *Mux, config WorkerConfig) (*Worker, error) {
	if t == nil || mux == nil {
		return nil, errors.New("queue: NewWorker: nil Transport or Mux")
	}
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	w := &Worker{
		config: config, handlers: map[string]*handlerState{}, stop: make(chan struct{}), finished: make(chan struct{}),
		tenants: map[string]int{}, groups: map[groupKey]*group{}, follow: map[groupKey]time.Time{},
		free: map[string]int{}, known: map[string]int{}, base: context.Background(),
	}
	for name, h := range mux.snapshot() {
		w.handlers[name] = &handlerState{handler: ruled(h)}
		w.alwaysReady = w.alwaysReady || h.config.Ready == nil
	}
	if len(w.handlers) == 0 {
		return nil, errors.New("queue: NewWorker: the Mux has no handlers")
	}
	for _, s := range hasty(sourcesOf(t)) {
		src := &workerSource{source: s, limits: s.transport.Limits()}
		src.deletes = settler[*held]{w: w, size: src.limits.Batch, linger: deleteLinger, flush: func(batch []*held) { w.deleteBatch(src, batch) }}
		src.releases = settler[Release]{w: w, size: src.limits.Batch, linger: deleteLinger, flush: func(batch []Release) { w.releaseBatch(src, batch) }}
		w.sources = append(w.sources, src)
	}
	w.telemetry.init(w)
	return w, nil
}

// Run receives and runs calls until ctx ends or [Worker.Drain] is called, and drains then: no new polls; open polls may end
// within 2 s, because an aborted poll can hide a message for a lease; messages not started are given back then; running
// handlers go on until Drain has passed, then their contexts end with cause [ErrDraining]; deletes are flushed. It
// returns nil, or an error that names the handlers it had to leave behind. Run owns every goroutine of
// the worker; call it once.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.started {
		w.mu.Unlock()
		return fmt.Errorf("queue: worker %q: Run called twice", w.config.Name)
	}
	w.started = true
	w.base = context.WithoutCancel(ctx)
	w.mu.Unlock()
	defer close(w.finished)

	polls, abortPolls := context.WithCancel(w.base)
	defer abortPolls()
	var polling, keeping sync.WaitGroup
	keep, endKeeping := context.WithCancel(w.base)
	keeping.Go(func() { w.beat(keep) })
	keeping.Go(func() { w.measure(keep) })
	for _, src := range w.sources {
		w.addPoller(&polling, polls, src)
	}
	select {
	case <-ctx.Done():
	case <-w.stop:
	}
	w.beginDrain()
	err := w.drain(&polling, abortPolls)
	endKeeping()
	keeping.Wait()
	return err
}

// Drain ends Run as if its context had ended and waits for it. It may be called any number of times, before, during and after
// Run, and returns the report of the one drain; ctx ending first is an error.
func (w *Worker) Drain(ctx context.Context) (DrainReport, error) {
	w.beginDrain()
	w.mu.Lock()
	started := w.started
	w.mu.Unlock()
	if started {
		select {
		case <-w.finished:
		case <-ctx.Done():
			return DrainReport{}, fmt.Errorf("queue: worker %q: still draining: %w", w.config.Name, context.Cause(ctx))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report, nil
}

func (w *Worker) beginDrain() {
	w.stopOnce.Do(func() {
		close(w.stop)
		w.dismiss()
	})
}

func (w *Worker) draining() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// Pause stops receiving; what runs goes on. Messages of a poll that is open are put off for half a minute or more: a
// Resume does not bring them sooner.
func (w *Worker) Pause() { w.setPaused(true) }

// Resume ends [Worker.Pause].
func (w *Worker) Resume() { w.setPaused(false) }

func (w *Worker) setPaused(p bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = p
	for _, c := range w.pausers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// WorkerStats are a worker's counts since it was made, and what it does now.
type WorkerStats struct {
	Running, Waiting, Held                                      int
	Received, Done, Failed, Dead, Dropped, Expired, PutOff      int64
	Duplicates, LeaseLost, Resent, Released, DeletesUnconfirmed int64
	Paused                                                      bool
}

// Stats returns the counts.
func (w *Worker) Stats() WorkerStats {
	t := &w.telemetry
	s := WorkerStats{
		Done: t.outcomes[fateDone].Load(), Failed: t.outcomes[fateFailed].Load(),
		Dead: t.outcomes[fateDead].Load(), Dropped: t.outcomes[fateDropped].Load(), Expired: t.outcomes[fateExpired].Load(),
		PutOff: t.outcomes[fatePutOff].Load(), Duplicates: t.duplicates.Load(), LeaseLost: t.leaseLost.Load(), Resent: t.resent.Load(),
		Released: t.released[0].Load() + t.released[1].Load() + t.released[2].Load(), DeletesUnconfirmed: t.settleFailed.Load(),
	}
	for _, sets := range t.sources {
		s.Received += sets.received.Load()
	}
	s.Paused = w.admission().limit == 0
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Running, s.Waiting, s.Held = w.running, len(w.waiting), w.held.size
	return s
}

func (w *Worker) logger() *slog.Logger { return telemetry.Logger(w.config.Logger) }
