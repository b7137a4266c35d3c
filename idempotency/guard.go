package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// Unlimited is a [Config.Wait] that ends only with the caller's context.
const Unlimited time.Duration = math.MaxInt64

// Config configures a [Guard]. The zero value is ready to use.
type Config struct {
	// Name appears in errors, logs and metrics. It is no part of a key.
	Name string

	// Lease is how long a store keeps a key for an attempt that it has not heard of. Zero means 30 s.
	// It bounds how long a key stays blocked after a crash, not how long a call may take.
	Lease time.Duration

	// Heartbeat is how often a running attempt extends its lease. Zero means a quarter of Lease; more
	// than a third is an error. An attempt whose lease was not confirmed in time cancels its own context,
	// with cause ErrLeaseLost, half a heartbeat before others may take the key.
	Heartbeat time.Duration

	// Retention is how long a key is remembered. Zero means 24 h. Less than Lease is an error.
	Retention time.Duration

	// OnceRetention is Retention for Once, whose records hold no result. Zero means 15 days: longer than
	// a message can stay in a queue. Less than Lease is an error.
	OnceRetention time.Duration

	// StoreTimeout bounds each step that a call waits for. Zero means 3 s, or Heartbeat if that is
	// shorter; more than Heartbeat is an error. Stores must heed their context's deadline.
	StoreTimeout time.Duration

	// Wait is how long a call waits while another one with its key runs, before it returns ErrInFlight.
	// Zero means not at all; see Unlimited. When the one it waits for fails, one of those waiting takes its place.
	Wait time.Duration

	// OnOutage says what to do when the store does not answer or is full. The default is OutageFailClosed.
	OnOutage Outage

	// OnUnknown says what to do with a key that is held: an attempt ended and may have had its effect.
	// PolicyDefault means PolicyRefuse.
	OnUnknown Policy

	// OnAbandoned says what to do with a key whose owner died. PolicyDefault means PolicyRerun;
	// idempotencyhttp makes it PolicyRefuse.
	OnAbandoned Policy

	// OnAmbiguous says what to do, after a failover, with a key that has no record and was made by NewID in the last
	// Lag before the new epoch: its record may have been lost with the old Region. It needs Epoch and Lag.
	// PolicyDefault means PolicyRefuse; idempotencyhttp makes it PolicyRerun, because it cannot trust its clients' clocks.
	OnAmbiguous Policy

	// Reconcile finds out what an earlier attempt did. Done says that it had its effect; result, of the type the call
	// returns or nil for the zero value, is then stored and returned. Otherwise the function runs. An error leaves
	// the key as it was. It runs under the lease, on the caller's goroutine, and is needed if a policy is PolicyReconcile.
	Reconcile func(ctx context.Context, a *Attempt) (result any, done bool, err error)

	// Verdict says what becomes of the key after an error; VerdictDefault leaves it to the error's marks.
	// It runs on the caller's goroutine. It is not asked after a panic, which holds, nor by idempotencyhttp, whose
	// Config.Stored decides.
	Verdict func(error) Verdict

	// Errors lists errors that keep their identity when they are stored: errors.Is of the replayed error holds
	// for the first one that it held for. They are stored by their text.
	Errors []error

	// MaxBytes is the largest result or checkpoint that is stored. A larger result is not: repetitions get
	// ErrNotReplayable, and do not run. Zero means 256 KiB.
	MaxBytes int

	// Codec encodes results. Nil means encoding/json.
	Codec Codec

	// Seal encrypts or compresses what is stored. Nil stores the codec's bytes.
	Seal Sealer

	// Epoch returns the epoch of failover's decision and its start; 0 means that this process may not write now: it then
	// replays results and refuses everything else with ErrNotWriter. Nil means that there are no epochs.
	Epoch func() (epoch uint64, since time.Time)

	// Lag returns how far this process's store was behind the old writer's when the epoch began: what the failover
	// may have lost. Nil means that nothing is.
	Lag func() time.Duration

	// Logger gets a line when the store goes and comes back, and when an attempt is fenced, loses its
	// lease or panics with nobody waiting. Nil is silent.
	Logger *slog.Logger

	// MeterProvider gets the metrics of docs/metrics.md. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

// A Guard runs functions at most once per key, as far as the package comment says. It is safe for
// concurrent use and has no background work of its own; see [Guard.Run].
type Guard struct {
	*core
	terms Terms
}

// Terms are what one kind of calls needs different from its guard's Config.
type Terms struct {
	// OnAbandoned and OnAmbiguous are used where the Config says PolicyDefault.
	OnAbandoned, OnAmbiguous Policy

	// Verdict, if not nil, is asked instead of Config.Verdict.
	Verdict func(error) Verdict

	// MaxRun, if positive, detaches calls from their callers: the function runs on after its caller's context ended,
	// for at most MaxRun, and its result is stored for the caller's next try. The caller gets ErrDetached.
	// The function's context keeps the caller's values, not its end. When MaxRun is over its Err is [context.DeadlineExceeded]; a context made
	// from it says [context.Canceled], and [context.Cause] of either matches [context.DeadlineExceeded].
	MaxRun time.Duration
}

// core is what all views of a guard share.
type core struct {
	config  Config
	store   Store
	memory  *Memory // store, if it is one: replays then need no claim
	local   *Memory // of OutageLocal
	log     *slog.Logger
	flights flights
	work    tracker // detached functions and heartbeats
	runners runners // of detached functions
	later   tracker // results and ends of attempts that wait for the store
	unsent  tracker // claims whose reply was lost, to be released: many in an outage, and worth less
	beats   beats
	health  health
	counts  counts
	leave   atomic.Pointer[time.Time] // when a guard that is told to stop gives up what waits for the store; nil while it is not
}

// New returns a guard on store, or an error that names the field of c that is wrong.
func New(store Store, c Config) (*Guard, error) {
	if store == nil {
		return nil, fmt.Errorf("idempotency: New: the store is nil")
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	g := &core{config: c, store: store, log: telemetry.Logger(c.Logger)}
	g.memory, _ = store.(*Memory)
	g.flights.m = map[place]*flight{}
	if c.OnOutage == OutageLocal {
		g.local, _ = NewMemory(MemoryConfig{}) // the zero config is valid
	}
	g.counts.attach(g, c)
	return &Guard{core: g}, nil
}

// complete fills in defaults and checks everything.
func (c *Config) complete() error {
	if err := c.negative(); err != nil {
		return err
	}
	setDefault(&c.Lease, 30*time.Second)
	setDefault(&c.Heartbeat, c.Lease/4)
	setDefault(&c.Retention, 24*time.Hour)
	setDefault(&c.OnceRetention, 15*24*time.Hour)
	setDefault(&c.StoreTimeout, min(3*time.Second, c.Heartbeat))
	setDefault(&c.OnUnknown, PolicyRefuse)
	setDefault(&c.MaxBytes, 256<<10)
	if c.Codec == nil {
		c.Codec = jsonCodec{}
	}
	return c.contradiction()
}

func (c *Config) negative() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Lease", int64(c.Lease)},
		{"Heartbeat", int64(c.Heartbeat)},
		{"Retention", int64(c.Retention)},
		{"MaxBytes", int64(c.MaxBytes)},
		{"OnceRetention", int64(c.OnceRetention)},
		{"StoreTimeout", int64(c.StoreTimeout)},
		{"Wait", int64(c.Wait)},
	} {
		if f.value < 0 {
			return fmt.Errorf("idempotency: Config.%s: %d is negative", f.name, f.value)
		}
	}
	return nil
}

func (c *Config) contradiction() error {
	switch {
	case c.Lease < 3*c.Heartbeat:
		return fmt.Errorf("idempotency: Config.Lease: %v is less than three heartbeats of %v", c.Lease, c.Heartbeat)
	case c.Heartbeat <= 0:
		return fmt.Errorf("idempotency: Config.Lease: %v leaves no time for heartbeats", c.Lease)
	case c.Retention < c.Lease:
		return fmt.Errorf("idempotency: Config.Retention: %v is less than the lease of %v", c.Retention, c.Lease)
	case c.OnceRetention < c.Lease:
		return fmt.Errorf("idempotency: Config.OnceRetention: %v is less than the lease of %v", c.OnceRetention, c.Lease)
	case c.StoreTimeout > c.Heartbeat:
		return fmt.Errorf("idempotency: Config.StoreTimeout: %v is more than a heartbeat of %v", c.StoreTimeout, c.Heartbeat)
	case c.OnOutage > OutageLocal:
		return fmt.Errorf("idempotency: Config.OnOutage: %d is not an Outage", c.OnOutage)
	case len(c.Codec.Name()) > 64:
		return fmt.Errorf("idempotency: Config.Codec: its name has %d bytes, more than 64", len(c.Codec.Name()))
	}
	for _, p := range []struct {
		name   string
		policy Policy
	}{{"OnUnknown", c.OnUnknown}, {"OnAbandoned", c.OnAbandoned}, {"OnAmbiguous", c.OnAmbiguous}} {
		if p.policy > PolicyReconcile {
			return fmt.Errorf("idempotency: Config.%s: %d is not a Policy", p.name, p.policy)
		}
		if p.policy == PolicyReconcile && c.Reconcile == nil {
			return fmt.Errorf("idempotency: Config.%s: PolicyReconcile without Config.Reconcile", p.name)
		}
	}
	return nil
}

// With returns a view of g with other terms. It shares everything else: keys, calls in flight, Run.
func (g *Guard) With(t Terms) *Guard { return &Guard{core: g.core, terms: t} }

// Info says how a result came about.
type Info struct {
	Replayed    bool  // the result was stored by another call, or by this key's earlier one
	Reconciled  bool  // the result is Config.Reconcile's
	Stored      bool  // repetitions will get this result; false while the store cannot be reached, which is retried
	Fenced      bool  // another attempt took the key over while this one ran; if it has a result, that is what is returned
	Unprotected bool  // the store was out and Config.OnOutage let the function run
	Attempt     int   // how many attempts the key has seen, this one included; 0 for replays from this process
	Fence       Fence // of this attempt; zero for replays
}

// Do runs fn unless key's call is done or running, and returns its result, stored or new. fn's context carries
// the attempt ([From]) and ends when the lease is lost. A result that could not be stored is returned all the same.
//
// Errors are fn's own, a [*StoredError] of an earlier run, or an [*Error].
func Do[T any](ctx context.Context, g *Guard, key Key, fn func(context.Context) (T, error)) (T, error) {
	v, _, err := DoInfo(ctx, g, key, fn)
	return v, err
}

// DoInfo is [Do] that also says how the result came about.
func DoInfo[T any](ctx context.Context, g *Guard, key Key, fn func(context.Context) (T, error)) (T, Info, error) {
	c := &valued[T]{fn: fn}
	c.core, c.terms, c.ctx, c.key, c.retention, c.function = g.core, &g.terms, ctx, key, g.config.Retention, c
	stored, info, err := c.execute()
	if stored != nil {
		var replayed T
		failed := g.unpack(ctx, key, stored, &replayed)
		if _, unread := failed.(*Error); !unread || !info.Fenced { //nolint:errorlint // bare: one that a caller's error wraps is that caller's
			return replayed, info, failed
		}
		info.Replayed = false // what the attempt's successor stored cannot be read: its own end stands
	}
	if c.left {
		var zero T
		return zero, info, err
	}
	return c.value, info, err
}

// A valued is a call with a result.
type valued[T any] struct {
	call
	fn    func(context.Context) (T, error)
	value T
}

func (v *valued[T]) run(ctx context.Context) (err error) {
	v.value, err = v.fn(ctx)
	return err
}

func (v *valued[T]) pack(ctx context.Context) []byte { return v.core.pack(ctx, v.key, &v.value) }

func (v *valued[T]) adopt(found any) error {
	value, ok := found.(T)
	if !ok && found != nil {
		return fmt.Errorf("Config.Reconcile returned a %T, want %T", found, value)
	}
	v.value = value
	return nil
}

// Do is [Do] for calls without a result.
func (g *Guard) Do(ctx context.Context, key Key, call func(context.Context) error) error {
	return g.do(ctx, key, call, g.config.Retention)
}

// Once is Do for the call named key, a Key with that ID alone, remembered for OnceRetention. It is the
// shape in which Holdfast's queue asks for a keyed policy.
func (g *Guard) Once(ctx context.Context, key string, call func(context.Context) error) error {
	return g.do(ctx, Key{ID: key}, call, g.config.OnceRetention)
}

// OnceRetention returns how long Once remembers.
func (g *Guard) OnceRetention() time.Duration { return g.config.OnceRetention }

func (g *Guard) do(ctx context.Context, key Key, fn func(context.Context) error, retention time.Duration) error {
	if g.memory != nil && key.ok() {
		if stored, ok := g.memory.peek(&key); ok {
			g.counts.add(endReplayed)
			return g.done(ctx, key, stored)
		}
	}
	return g.doSlowly(ctx, key, fn, retention)
}

// done is unpack without a value, for records that cannot have come damaged over a network.
func (g *core) done(ctx context.Context, key Key, stored []byte) error {
	if &stored[0] == &nothing[0] {
		return nil
	}
	return g.unpack(ctx, key, stored, nil)
}

func (g *Guard) doSlowly(ctx context.Context, key Key, fn func(context.Context) error, retention time.Duration) error {
	c := &bare{fn: fn}
	c.core, c.terms, c.ctx, c.key, c.retention, c.function = g.core, &g.terms, ctx, key, retention, c
	stored, _, err := c.execute()
	if stored != nil {
		return g.done(ctx, key, stored)
	}
	return err
}

// A bare is a call without a result.
type bare struct {
	call
	fn func(context.Context) error
}

func (b *bare) run(ctx context.Context) error { return b.fn(ctx) }
func (*bare) pack(context.Context) []byte     { return nothing }
func (*bare) adopt(any) error                 { return nil }

// Run waits until ctx ends and then for the functions that outlived their callers and the results that
// are still to be stored; it returns nil. A store that is out does not hold the stop up: after 20 s Run gives up the results that it has not taken, and
// their leases end what they would have. If the store has a Run(context.Context) error method, Run
// runs it as well and returns its error. Without Run the guard works, and what is left at the end of the process is lost. While Run runs it also keeps
// goroutines for detached functions, up to 64 that wait, which is cheaper than one for each.
func (g *Guard) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	var err error
	if s, ok := g.store.(interface{ Run(context.Context) error }); ok {
		wg.Go(func() { err = s.Run(ctx) })
	}
	g.runners.open()
	g.leave.Store(nil) // of a Run before
	<-ctx.Done()
	ending := g.runners.close()
	leave := time.Now().Add(stopPatience)
	g.leave.Store(&leave)
	g.work.wait()
	g.later.wait()
	g.unsent.wait()
	g.work.wait() // heartbeats of what was waited for
	ending.wait()
	wg.Wait()
	return err
}

// Ready reports whether the store answered last time. After a failure it says how long to leave the guard alone;
// then ok with a wait: let a single call try. With OutageFailOpen or OutageLocal calls run in any case, and Ready is always ok.
func (g *Guard) Ready() (wait time.Duration, ok bool) {
	if g.config.OnOutage != OutageFailClosed {
		return 0, true
	}
	return g.health.ready()
}

// health remembers whether the store answers.
type health struct {
	downSince atomic.Int64 // UnixNano of the first failure; 0 while up
	lastFail  atomic.Int64 // UnixNano
}

// probeEvery is how long a store that failed is left alone.
const probeEvery = time.Second

func (h *health) ready() (wait time.Duration, ok bool) {
	if h.downSince.Load() == 0 {
		return 0, true
	}
	if left := probeEvery - time.Since(time.Unix(0, h.lastFail.Load())); left > 0 && left <= probeEvery { // else the clock was set back
		return left, false
	}
	return probeEvery, true
}

// answered notes that the store answered, and that it did not before.
func (g *core) answered() {
	if g.health.downSince.Load() == 0 {
		return
	}
	if since := g.health.downSince.Swap(0); since != 0 {
		g.log.Info("idempotency store answers again", slog.String("guard", g.config.Name), slog.Duration("down", time.Since(time.Unix(0, since))))
	}
}

func (g *core) failed(err error) {
	now := time.Now().UnixNano()
	g.health.lastFail.Store(now)
	if g.health.downSince.CompareAndSwap(0, now) {
		g.log.Warn("idempotency store does not answer", slog.String("guard", g.config.Name), slog.Any("error", err))
	}
}

func (g *core) refusal(key Key, reason, cause error) *Error {
	return &Error{Name: g.config.Name, Reason: reason, Op: key.Op, ID: key.ID, Err: cause}
}
