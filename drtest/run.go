package drtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Config configures a [World]. The zero value is ready to use.
type Config struct {
	// Name names the World in reports. Empty means the name of the test, or "drtest" in real time.
	Name string

	// Seed is the root of every random stream of the World. Zero means 1.
	Seed uint64

	// StartAt is the date at which the World begins. It must not lie before 2000-01-01 UTC, where the
	// clock of a bubble starts. The zero time means 2026-01-01 UTC. Not for [NewReal].
	StartAt time.Time

	// Settle is how long a load without an end of its own goes on after the last event of the scenario,
	// so that recovery can be seen. Zero means 5 minutes.
	Settle time.Duration

	// Watchdog is how long, in real time, the World may make no progress before the test fails with
	// the name of the goroutine that holds it up. Its function may wait in one place for twelve times
	// as long once everything that was planned is over: loads without a length would run for ever.
	// Zero means 10 s. Not for [NewReal].
	Watchdog time.Duration

	// Limit is how long, in virtual time, the World may last. One that waits for what never comes would run
	// for ever in no time, and fails at the limit with the list of who waits for what. Zero means 7 days. Not for [NewReal].
	Limit time.Duration

	// Fidelity is what carries HTTP requests. The zero value is FidelityBytes.
	Fidelity Fidelity

	// TieFree makes the test fail when two events a client can see fall into one nanosecond. Without it
	// such ties are counted in the report: their order may differ between runs. Not for [NewReal].
	TieFree bool

	// Targets lists the real servers that [Region.Attach] may connect to, each "host:port" or "host:*". Empty means
	// those on the loopback interface. Only for [NewReal].
	Targets []string

	// Artifacts is a directory for reports, as <test>.txt, <test>.json and <test>.html; it is made if missing. Empty
	// means that reports are logged when the test fails or runs with -v. In real time [World.Close] writes
	// them, under its name.
	Artifacts string
}

// Fidelity is what carries a request between Regions.
type Fidelity uint8

const (
	// FidelityBytes runs the real net/http client and server over simulated connections.
	FidelityBytes Fidelity = iota

	// FidelityMessages hands a request to the handler after the simulated delay, at about a quarter of
	// the cost: no connection pools, no TLS, no half-open connections. Only [Region.Transport] and
	// [Region.HTTPClient] are affected.
	FidelityMessages
)

const (
	defaultSeed     = 1
	defaultSettle   = 5 * time.Minute
	defaultWatchdog = 10 * time.Second
	defaultLimit    = 7 * 24 * time.Hour
)

// bubbleStart is where the clock of every bubble starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (c Config) withDefaults() (Config, error) {
	if c.Seed == 0 {
		c.Seed = defaultSeed
	}
	if c.StartAt.IsZero() {
		c.StartAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if c.Settle == 0 {
		c.Settle = defaultSettle
	}
	if c.Watchdog == 0 {
		c.Watchdog = defaultWatchdog
	}
	if c.Limit == 0 {
		c.Limit = defaultLimit
	}
	switch {
	case c.StartAt.Before(bubbleStart):
		return c, fmt.Errorf("drtest: Config.StartAt: %v is before %v", c.StartAt, bubbleStart)
	case c.Settle < 0:
		return c, fmt.Errorf("drtest: Config.Settle: %v is negative", c.Settle)
	case c.Watchdog < 0:
		return c, fmt.Errorf("drtest: Config.Watchdog: %v is negative", c.Watchdog)
	case c.Limit < 0:
		return c, fmt.Errorf("drtest: Config.Limit: %v is negative", c.Limit)
	case c.Fidelity > FidelityMessages:
		return c, fmt.Errorf("drtest: Config.Fidelity: unknown value %d", c.Fidelity)
	}
	return c, nil
}

// Run makes a World in a synctest bubble and calls f in it. When f has returned it waits as
// [World.Wait] does, runs the cleanups of t, sweeps the World (heals the network, ends processes,
// servers and connections), and evaluates the checks. The test fails if a check does, if a load or
// process panicked, if a goroutine is left, or if the World stood still for Config.Watchdog; the last
// three name file and line. So it does when the World reaches Config.Limit.
//
// f gets a t of the bubble: t.Run, t.Parallel and t.Deadline must not be called on it, and f must use
// its context, not one made outside. Run may be called by parallel tests.
func Run(t *testing.T, config Config, f func(t *testing.T, w *World)) {
	t.Helper()
	config, err := config.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Targets) > 0 {
		t.Fatal("drtest: Config.Targets: a bubble has no real servers; use NewReal")
	}
	if bubbleOf(ownGoroutine()) != 0 {
		t.Fatal("drtest: Run called inside a bubble; call it from an ordinary test")
	}
	prepareProcess()
	r := newRun(t, config)
	r.play(func(t *testing.T, w *World) {
		f(t, w)
		w.Wait()
	})
	r.conclude()
}

func newRun(t *testing.T, config Config) *run {
	return &run{t: t, config: config, done: make(chan struct{}), expired: make(chan struct{})}
}

// play runs f in a World and returns when the World has ended or was given up.
func (r *run) play(f func(*testing.T, *World)) {
	go r.bubble(f)
	r.await()
}

// A run is one World on its way through a bubble. It lives outside, where real time passes.
type run struct {
	t       *testing.T
	inner   stopper // the test of the bubble
	config  Config
	done    chan struct{} // closed when the bubble has ended
	expired chan struct{} // closed when the World reached its limit
	id      atomic.Int64  // of the bubble
	beats   atomic.Int64  // grows while virtual time moves
	virtual atomic.Int64  // virtual time at the last beat, as a Duration
	over    atomic.Bool   // the World is to end itself: it reached its limit, or will not end

	mu       sync.Mutex // guards all below
	world    *World
	failures []string
	leaked   bool // goroutines were left at the end, and reported
}

// fail notes why the test fails; it is printed when the bubble has ended, or was given up.
func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// failed returns why the test fails.
func (r *run) failed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failures)
}

func (r *run) name() string { return cmp.Or(r.config.Name, r.t.Name()) }

func (r *run) real() bool { return false }

// A stopper is what a run needs of the test of its bubble.
type stopper interface {
	Helper()
	Fatal(args ...any)
}

// refuse stops the test.
func (r *run) refuse(err error) {
	r.inner.Helper()
	r.inner.Fatal(err)
}

// prepareProcess makes the process fit for one more bubble.
func prepareProcess() {
	warmOnce.Do(warmProcess)
	// Pools of timers made in an earlier bubble (go-redis has one) are fatal in the next. Two
	// collections empty a sync.Pool and its victim cache.
	runtime.GC()
	runtime.GC()
}

var warmOnce sync.Once

// warmProcess makes the channels that package net keeps for its resolver, outside every bubble, and sets
// the guard against real connections.
func warmProcess() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(ctx, "warm.invalid")
	_, _ = net.DefaultResolver.LookupHost(context.Background(), "localhost")
	guardDefaultTransport()
}

// bubble runs f. It ends by a return, by Goexit if the inner test failed, or by a deadlock panic.
func (r *run) bubble(f func(*testing.T, *World)) {
	defer close(r.done)
	defer func() {
		if p := recover(); p != nil {
			r.deadlock(p)
		}
	}()
	synctest.Test(r.t, func(t *testing.T) {
		r.id.Store(bubbleOf(ownGoroutine()))
		time.Sleep(r.config.StartAt.Sub(bubbleStart))
		r.inner = t
		// The context of t ends before the cleanups of the test run; what they close may still need the World.
		w := newWorld(context.WithoutCancel(t.Context()), r, r.config)
		w.helper = t.Helper
		w.tasks.Go(func() { r.heartbeat(w) })
		r.mu.Lock()
		r.world = w
		r.mu.Unlock()
		liveWorlds.Store(r.id.Load(), r)
		t.Cleanup(func() { liveWorlds.Delete(r.id.Load()) })
		t.Cleanup(func() { r.sweep(w) }) // registered before those of f, so it runs after them
		f(t, w)
	})
}

// deadlock reports a bubble in which everything waits for ever.
func (r *run) deadlock(p any) {
	err, ok := p.(error)
	if !ok || !strings.Contains(err.Error(), "deadlock") {
		panic(p)
	}
	r.mu.Lock()
	leaked := r.leaked
	r.mu.Unlock()
	if leaked || r.over.Load() {
		r.abandon() // its record is not complete
		return
	}
	gs := inBubble(allGoroutines(), r.id.Load())
	r.fail("drtest: every goroutine of the World waits and nothing will wake them:\n%s", describe(gs))
}

// await waits for the end of the bubble, or gives it up.
func (r *run) await() {
	dog := newWatchdog(r)
	defer dog.stop()
	select {
	case <-r.done:
	case verdict := <-dog.barks:
		r.fail("%s", verdict)
		r.giveUp()
	case <-r.expired:
		r.giveUp()
	}
}

// farewell is how long, in real time, a World may take to end when it is told to.
const farewell = 2 * time.Second

// giveUp ends a World that will not end by itself. If it can still move it stops its loads and processes, so that
// it does not take the processor from the tests after it; else it is left behind.
func (r *run) giveUp() {
	r.over.Store(true)
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		r.abandon()
	}
}

// current returns the World, nil before it is made and after it was given up.
func (r *run) current() *World {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.world
}

// abandon leaves a World behind that will not end. Its records are incomplete and still change.
func (r *run) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.world != nil {
		r.world.mu.Lock()
		r.world.lost = true
		r.world.mu.Unlock()
	}
	r.world = nil
}

// conclude evaluates what the World recorded and prints failures.
func (r *run) conclude() {
	r.t.Helper()
	if world := r.current(); world != nil {
		r.judge(world)
	}
	for _, f := range r.failed() {
		r.t.Error(f)
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// writeArtifact writes a report file.
func writeArtifact(dir, test, ext string, data []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("drtest: Config.Artifacts: %w", err)
	}
	name := strings.NewReplacer("/", "_", "\\", "_", " ", "_", ":", "_").Replace(test)
	return os.WriteFile(filepath.Join(dir, name+ext), data, 0o644)
}

// errEnded is the cause of contexts that end with the World.
var errEnded = errors.New("drtest: the World ended")
