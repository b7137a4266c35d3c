package limit

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/caller"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// ThrottleConfig configures a [Throttle]. The zero value is ready to use.
type ThrottleConfig struct {
	// Name identifies the throttle in errors and metrics. Choose from a small fixed set.
	Name string

	// Window is the time over which requests and accepts are compared. It must exceed the longest call, or
	// requests are counted whose accepts come too late. Zero means 2 min.
	Window time.Duration

	// K, in [1, 10], is how many requests an accept entitles to: with 2, one call in two that the other side
	// refuses is still sent, so that recovery is seen soon. Zero means 2.
	K float64

	// MinCalls is how many requests the window must hold before any is refused. Zero means 20.
	MinCalls int

	// MaxReject, in (0, 1], bounds the probability of refusing, so that there is always somebody who finds
	// out that the other side is back. Zero means 0.9.
	MaxReject float64

	// Verdict judges a call's error: failures are not accepts, neutral results are not requests. It runs on
	// the caller's goroutine, outside any lock. Nil means breaker.DefaultVerdict.
	Verdict func(error) breaker.Verdict

	// MeterProvider receives the metrics. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

func (c ThrottleConfig) validate() error {
	return firstOf("ThrottleConfig", c.Name,
		within("Window", c.Window, throttleBuckets*10*time.Millisecond, forever),
		within("K", c.K, 1, 10),
		within("MinCalls", c.MinCalls, 1, maxInt),
		within("MaxReject", c.MaxReject, 1e-9, 1))
}

func (c ThrottleConfig) withDefaults() ThrottleConfig {
	orDefault(&c.Window, 2*time.Minute)
	orDefault(&c.K, 2)
	orDefault(&c.MinCalls, 20)
	orDefault(&c.MaxReject, 0.9)
	if c.Verdict == nil {
		c.Verdict = breaker.DefaultVerdict
	}
	return c
}

const throttleBuckets = 12

// A Throttle refuses a share of calls, on the client's side, that follows what the other side refuses: with
// probability
//
//	max(0, (requests - K × accepts) / (requests + 1))
//
// over Window, where requests counts every call asked for, refused here or not. Unlike a breaker it never stops
// everything and needs no probes: use it in front of a server that sheds load. Source: Site Reliability
// Engineering, chapter 21, "Handling Overload". A request is counted when it is asked for, its accept when its
// call ends.
//
// All methods are safe for concurrent use. It has no goroutine and needs no closing.
type Throttle struct {
	cfg     ThrottleConfig
	base    time.Time
	refusal *Error

	mu               sync.Mutex // guards what follows
	buckets          [throttleBuckets]throttleBucket
	sum              throttleBucket // of buckets
	age              int64
	admitted, denied uint64
}

type throttleBucket struct{ requests, accepts int64 }

// NewThrottle returns a throttle that refuses nothing yet. Errors name the field.
func NewThrottle(cfg ThrottleConfig) (*Throttle, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	t := &Throttle{cfg: cfg, base: time.Now(), refusal: &Error{Name: cfg.Name, Kind: ErrThrottled, Wait: retrySoon}}
	name, kind := nameSet(cfg.Name), kindSet(cfg.Name, "throttle")
	telemetry.Attach(cfg.MeterProvider, telemetry.Limit, t, func(t *Throttle, c *telemetry.Collector) {
		s := t.Stats()
		c.Float(telemetry.LimitProbability, s.Reject, name)
		c.Int(telemetry.LimitCalls, int64(s.Admitted), kind)
		c.Int(telemetry.LimitRefusals, int64(s.Refused), kind)
	})
	return t, nil
}

// Do runs call unless chance refuses it, and learns from it; else it returns an [Error] at once. A panic or
// runtime.Goexit in call counts as a failure and passes through.
func (t *Throttle) Do(ctx context.Context, call func(context.Context) error) error {
	return do(ctx, t, call)
}

// Acquire is the first step of a call in two; the second is the Permit's Done. It never waits.
func (t *Throttle) Acquire(ctx context.Context) (Permit, error) { return acquire(ctx, t) }

// ThrottleStats are a throttle's figures. Counts of the past are since NewThrottle.
type ThrottleStats struct {
	Requests, Accepts int64   // in the window
	Reject            float64 // the probability of refusing now
	Admitted, Refused uint64
}

// Stats returns the current figures.
func (t *Throttle) Stats() ThrottleStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advanceLocked()
	return ThrottleStats{Requests: t.sum.requests, Accepts: t.sum.accepts, Reject: t.rejectLocked(), Admitted: t.admitted, Refused: t.denied}
}

func (t *Throttle) admit(context.Context) (started, error) {
	chance := rand.Float64()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.advanceLocked()
	refuse := chance < t.rejectLocked()
	t.addLocked(now, 1, 0)
	if refuse {
		t.denied++
		return started{}, t.refusal
	}
	t.admitted++
	return started{at: now}, nil
}

func (t *Throttle) done(ctx context.Context, call started, err error) {
	verdict := judge(ctx, t.cfg.Verdict, t.base.Add(time.Duration(call.at)), err)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.advanceLocked()
	switch verdict {
	case breaker.VerdictSuccess:
		t.addLocked(now, 0, 1)
	case breaker.VerdictNeutral:
		if t.age-t.ageAt(call.at) < throttleBuckets {
			t.addLocked(call.at, -1, 0) // it never was a request
		}
	}
}

// rejectLocked is the probability of refusing. The window has been moved to now.
func (t *Throttle) rejectLocked() float64 {
	requests, accepts := float64(t.sum.requests), float64(t.sum.accepts)
	if t.sum.requests < int64(t.cfg.MinCalls) {
		return 0
	}
	return min(t.cfg.MaxReject, max(0, (requests-t.cfg.K*accepts)/(requests+1)))
}

func (t *Throttle) ageAt(at int64) int64 { return at / (int64(t.cfg.Window) / throttleBuckets) }

func (t *Throttle) addLocked(at, requests, accepts int64) {
	b := &t.buckets[t.ageAt(at)%throttleBuckets]
	b.requests += requests
	b.accepts += accepts
	t.sum.requests += requests
	t.sum.accepts += accepts
}

// advanceLocked moves the window to now, which it returns.
func (t *Throttle) advanceLocked() int64 {
	now := int64(time.Since(t.base))
	age := t.ageAt(now)
	for a := max(t.age+1, age-throttleBuckets+1); a <= age; a++ {
		b := &t.buckets[a%throttleBuckets]
		t.sum.requests -= b.requests
		t.sum.accepts -= b.accepts
		*b = throttleBucket{}
	}
	t.age = max(t.age, age)
	return now
}

// deadlineCounts is the time a call must have had to live for its caller's deadline to be a failure.
const deadlineCounts = 500 * time.Millisecond

// judge is the verdict on a call that began at start.
func judge(ctx context.Context, verdict func(error) breaker.Verdict, start time.Time, err error) breaker.Verdict {
	switch {
	case err == nil:
		return breaker.VerdictSuccess
	case err == errAbandoned:
		return breaker.VerdictFailure
	case caller.Neutral(ctx, caller.ToLive(ctx, start), deadlineCounts):
		return breaker.VerdictNeutral
	}
	return verdict(err)
}
