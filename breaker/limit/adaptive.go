package limit

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// AdaptiveConfig configures an [Adaptive]. The zero value is ready to use.
type AdaptiveConfig struct {
	// Name identifies the limit in errors and metrics. Choose from a small fixed set.
	Name string

	// Initial is the limit before anything is known. Zero means 20, within Min and Max.
	Initial int

	// Min and Max bound the limit. Zero means 4 and 1000.
	Min, Max int

	// Tolerance, in [1, 10], is how much longer than the best a call may take before the limit shrinks. Zero means 2.
	Tolerance float64

	// Window is how long results are gathered before the limit is set anew; it takes at least 10 results
	// too. Zero means 1 s.
	Window time.Duration

	// Memory is how long the best latency is remembered. After a lasting slowdown the limit stays low this
	// long before the new latency counts as normal. Zero means 10 min. It must be at least ten Windows.
	Memory time.Duration

	// Verdict judges a call's error: a failure shrinks the limit, a neutral result teaches nothing. It runs on
	// the caller's goroutine, outside any lock. Nil means breaker.DefaultVerdict.
	Verdict func(error) breaker.Verdict

	// MeterProvider receives the metrics. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

func (c AdaptiveConfig) validate() error {
	full := c.withDefaults()
	return firstOf("AdaptiveConfig", c.Name,
		within("Min", c.Min, 1, maxInt),
		within("Max", c.Max, full.Min, maxInt),
		within("Initial", c.Initial, full.Min, full.Max),
		within("Tolerance", c.Tolerance, 1, 10),
		within("Window", c.Window, 10*time.Millisecond, forever),
		within("Memory", c.Memory, memorySlots*full.Window, forever))
}

func (c AdaptiveConfig) withDefaults() AdaptiveConfig {
	orDefault(&c.Min, 4)
	orDefault(&c.Max, max(1000, c.Min))
	orDefault(&c.Initial, min(max(20, c.Min), c.Max))
	orDefault(&c.Tolerance, 2)
	orDefault(&c.Window, time.Second)
	orDefault(&c.Memory, max(10*time.Minute, memorySlots*c.Window))
	if c.Verdict == nil {
		c.Verdict = breaker.DefaultVerdict
	}
	return c
}

const (
	minSamples  = 10  // results a window must hold before it is judged
	memorySlots = 10  // parts in which the best latency is forgotten
	backOff     = 0.9 // factor of the limit after a window with failures
	smoothing   = 0.5 // share of the new value
	worstFactor = 0.5 // a single window never shrinks the limit below this share
	busyShare   = 0.5 // of the limit must have been in use for it to grow
)

// An Adaptive bounds the calls in flight to what the other side takes without queueing, which it learns from
// latency. Let L be the limit, best the lowest mean latency of a window in Memory, and now that of the window
// just past. Then the new limit tends to
//
//	L × min(1, Tolerance × best / now) + √L
//
// that is, it shrinks while calls take longer than Tolerance times the best and else probes upwards by √L. It
// grows only while at least half of it is in use: unused room is no evidence. A window in which at least a tenth
// of the results failed multiplies it by 0.9. The idea is TCP Vegas's, as in Netflix's concurrency-limits; the remembered best,
// in place of a running mean, keeps a lasting overload from being learned as normal.
//
// All methods are safe for concurrent use. It has no goroutine and needs no closing.
type Adaptive struct {
	limit    atomic.Int64
	inFlight atomic.Int64
	refused  atomic.Uint64
	cfg      AdaptiveConfig
	base     time.Time
	refusal  *Error

	mu       sync.Mutex // guards what follows
	sample   sample
	best     [memorySlots]float64 // lowest mean latency per slot of Memory, in ns; 0 = none
	slot     int64                // the slot of now
	exact    float64              // the limit before rounding
	admitted uint64               // calls ended
}

// A sample is what one window has gathered.
type sample struct {
	since, count, failed int64
	sum                  float64 // of latencies in ns
	load                 int64   // the most calls in flight
}

// NewAdaptive returns an adaptive limit. Errors name the field.
func NewAdaptive(cfg AdaptiveConfig) (*Adaptive, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	a := &Adaptive{cfg: cfg, base: time.Now(), exact: float64(cfg.Initial), refusal: &Error{Name: cfg.Name, Kind: ErrAdaptive, Wait: retrySoon}}
	a.limit.Store(int64(cfg.Initial))
	name, kind := nameSet(cfg.Name), kindSet(cfg.Name, "adaptive")
	telemetry.Attach(cfg.MeterProvider, telemetry.Limit, a, func(a *Adaptive, c *telemetry.Collector) {
		s := a.Stats()
		c.Int(telemetry.LimitLimit, int64(s.Limit), name)
		c.Int(telemetry.LimitInFlight, int64(s.InFlight), name)
		c.Int(telemetry.LimitCalls, int64(s.Ended), kind)
		c.Int(telemetry.LimitRefusals, int64(s.Refused), kind)
	})
	return a, nil
}

// Do runs call if fewer calls than the limit run, and learns from it; else it returns an [Error] at once. The
// permit comes back also when call panics or ends its goroutine.
func (a *Adaptive) Do(ctx context.Context, call func(context.Context) error) error {
	return do(ctx, a, call)
}

// Acquire is the first step of a call in two; the second is the Permit's Done. It never waits.
func (a *Adaptive) Acquire(ctx context.Context) (Permit, error) { return acquire(ctx, a) }

// AdaptiveStats are an adaptive limit's figures. Counts of the past are since NewAdaptive.
type AdaptiveStats struct {
	Limit, InFlight int
	Best            time.Duration // the latency held for normal; 0 until known
	Ended, Refused  uint64        // calls
}

// Stats returns the current figures. It changes nothing.
func (a *Adaptive) Stats() AdaptiveStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return AdaptiveStats{
		Limit: int(a.limit.Load()), InFlight: int(a.inFlight.Load()), Best: time.Duration(a.bestLocked()),
		Ended: a.admitted, Refused: a.refused.Load(),
	}
}

func (a *Adaptive) admit(context.Context) (started, error) {
	for {
		n := a.inFlight.Load()
		if n >= a.limit.Load() {
			a.refused.Add(1)
			return started{}, a.refusal
		}
		if a.inFlight.CompareAndSwap(n, n+1) {
			return started{at: int64(time.Since(a.base)), load: n + 1}, nil
		}
	}
}

func (a *Adaptive) done(ctx context.Context, call started, err error) {
	if a.inFlight.Add(-1) < 0 {
		a.inFlight.Add(1)
		panic("limit: Done of an Adaptive's Permit that is done")
	}
	verdict := judge(ctx, a.cfg.Verdict, a.base.Add(time.Duration(call.at)), err)
	now := int64(time.Since(a.base))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.admitted++
	if verdict == breaker.VerdictNeutral {
		return
	}
	s := &a.sample
	s.load = max(s.load, call.load)
	s.count++
	if verdict == breaker.VerdictSuccess {
		s.sum += float64(now - call.at)
	} else {
		s.failed++ // a refusal may be quick, a time-out long: neither is the latency of a served call
	}
	if now-s.since >= int64(a.cfg.Window) && s.count >= minSamples {
		a.learnLocked(now)
		*s = sample{since: now}
	}
}

// learnLocked sets the limit from the window just past.
func (a *Adaptive) learnLocked(now int64) {
	s, next := &a.sample, a.exact
	if served := s.count - s.failed; served > 0 {
		next = a.gradientLocked(now, s.sum/float64(served))
	}
	if s.failed*10 >= s.count {
		next = min(next, a.exact*backOff)
	}
	if next > a.exact && float64(s.load) < busyShare*a.exact {
		return
	}
	a.exact = min(max(next, float64(a.cfg.Min)), float64(a.cfg.Max))
	a.limit.Store(int64(math.Round(a.exact)))
}

// gradientLocked is the limit that the window's mean latency speaks for.
func (a *Adaptive) gradientLocked(now int64, mean float64) float64 {
	best := a.rememberLocked(now, mean)
	factor := min(1, max(worstFactor, a.cfg.Tolerance*best/mean))
	target := a.exact*factor + math.Sqrt(a.exact)
	return a.exact + smoothing*(target-a.exact)
}

// rememberLocked adds a window's mean latency to the memory and returns the best in it.
func (a *Adaptive) rememberLocked(now int64, mean float64) float64 {
	slot := now / int64(a.cfg.Memory/memorySlots)
	for s := max(a.slot+1, slot-memorySlots+1); s <= slot; s++ {
		a.best[s%memorySlots] = 0
	}
	a.slot = slot
	if i := slot % memorySlots; a.best[i] == 0 || mean < a.best[i] {
		a.best[i] = max(mean, 1) // a call that took no time at all is still one
	}
	return a.bestLocked()
}

func (a *Adaptive) bestLocked() float64 {
	var best float64
	for _, b := range a.best {
		if b != 0 && (best == 0 || b < best) {
			best = b
		}
	}
	return best
}
