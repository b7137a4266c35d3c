package limit

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// RateConfig configures a [Rate]. The zero value is ready to use.
type RateConfig struct {
	// Name identifies the limit in errors and metrics. Choose from a small fixed set.
	Name string

	// MaxWait is how long a call may wait for its token. Zero means not at all. A call that would have to
	// wait longer, or past its context's deadline, is refused at once and takes no token.
	MaxWait time.Duration

	// MeterProvider receives the metrics. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

// A Rate lets calls pass at the pace of a [rate.Limiter], which stays the user's: its methods, SetLimit among
// them, may be used beside. All methods are safe for concurrent use.
type Rate struct {
	limiter           *rate.Limiter
	cfg               RateConfig
	admitted, refused atomic.Uint64
}

// NewRate returns a Rate over l. Errors name the field.
func NewRate(l *rate.Limiter, cfg RateConfig) (*Rate, error) {
	if err := firstOf("RateConfig", cfg.Name, within("MaxWait", cfg.MaxWait, 1, forever)); err != nil {
		return nil, err
	}
	if l == nil {
		return nil, firstOf("NewRate", cfg.Name, errNoLimiter)
	}
	r := &Rate{limiter: l, cfg: cfg}
	kind := kindSet(cfg.Name, "rate")
	telemetry.Attach(cfg.MeterProvider, telemetry.Limit, r, func(r *Rate, c *telemetry.Collector) {
		c.Int(telemetry.LimitCalls, int64(r.admitted.Load()), kind)
		c.Int(telemetry.LimitRefusals, int64(r.refused.Load()), kind)
	})
	return r, nil
}

// Do runs call when it has a token, or returns an [Error] whose Wait is when there would be one. A token is
// not given back: it stands for a moment, not for a place.
func (r *Rate) Do(ctx context.Context, call func(context.Context) error) error {
	if err := r.Wait(ctx); err != nil {
		return err
	}
	return call(ctx)
}

// Wait takes a token, after waiting for it up to MaxWait. The error is an [Error].
func (r *Rate) Wait(ctx context.Context) error {
	if r.limiter.Allow() {
		r.admitted.Add(1)
		return nil
	}
	return r.reserve(ctx)
}

// reserve takes a token that does not exist yet, if it comes soon enough.
func (r *Rate) reserve(ctx context.Context) error {
	now := time.Now()
	reservation := r.limiter.ReserveN(now, 1)
	if !reservation.OK() { // the burst is zero: there is never a token
		return r.refuse(retrySoon, nil)
	}
	wait := reservation.DelayFrom(now)
	if deadline, ok := ctx.Deadline(); wait > r.cfg.MaxWait || ok && now.Add(wait).After(deadline) {
		reservation.CancelAt(now)
		return r.refuse(wait, nil)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		r.admitted.Add(1)
		return nil
	case <-ctx.Done():
		reservation.Cancel()
		return r.refuse(wait, context.Cause(ctx))
	}
}

func (r *Rate) refuse(wait time.Duration, cause error) error {
	r.refused.Add(1)
	return &Error{Name: r.cfg.Name, Kind: ErrRate, Wait: wait, Err: cause}
}

// RateStats are a rate limit's figures since NewRate.
type RateStats struct {
	Admitted, Refused uint64
	Tokens            float64 // left now; negative while calls wait
}

// Stats returns the current figures.
func (r *Rate) Stats() RateStats {
	return RateStats{Admitted: r.admitted.Load(), Refused: r.refused.Load(), Tokens: r.limiter.Tokens()}
}
