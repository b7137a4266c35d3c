package retry

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/planted"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// BudgetConfig configures a [Budget]. The zero value is ready to use.
type BudgetConfig struct {
	// Name is the budget's in metrics.
	Name string

	// Ratio is how many repetitions each first attempt pays for, in [0.000001, 1]. Zero means 0.2.
	Ratio float64

	// PerSecond is how many repetitions are paid for by the passing of time, so that a small client can
	// retry at all. Zero means 3.
	PerSecond float64

	// Burst is how many repetitions can be saved up, and what a new budget holds. Zero means 10.
	Burst int

	// MeterProvider receives the metrics. Nil means OpenTelemetry's global provider.
	MeterProvider metric.MeterProvider
}

// A Budget limits repetitions to a share of the calls. It is a bucket of tokens: every first attempt puts in Ratio, time
// puts in PerSecond, a repetition takes one, or two after a time-out that may have run, because the dependency
// may still be at work on it. Any number of policies, hedges and queues may share one: the limit then
// holds for their sum. Safe for concurrent use; it takes no lock, and no clock but to repeat.
//
// The zero Budget grants nothing; use [NewBudget].
type Budget struct {
	ratio, limit int64   // micro-tokens
	perNano      float64 // micro-tokens
	unlimited    bool
	born         time.Time // the origin of refilled
	set          telemetry.Set

	tokens   atomic.Int64 // micro-tokens
	refilled atomic.Int64 // nanoseconds after born
	spent    atomic.Int64
	refused  atomic.Int64
}

// NoBudget grants every repetition: the opt-out of [Policy.Budget] and [Hedging.Budget].
var NoBudget = &Budget{unlimited: true}

const (
	token       = 1_000_000 // micro-tokens
	costTimeout = 2 * token

	defaultRatio     = 0.2
	defaultPerSecond = 3
	defaultBurst     = 10
	maxBurst         = 1_000_000_000
)

// NewBudget returns a full budget, or an error that names the field of c that is out of range.
func NewBudget(c BudgetConfig) (*Budget, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	b := &Budget{
		ratio:   int64(orDefault(c.Ratio, defaultRatio) * token),
		perNano: orDefault(c.PerSecond, defaultPerSecond) * token / float64(time.Second),
		limit:   int64(orDefault(c.Burst, defaultBurst)) * token,
		born:    time.Now(),

		unlimited: planted.Has(planted.NoBudget), // a defect that tests plant
		set:       telemetry.NewSet(attribute.String(telemetry.NameAttribute.Key, c.Name)),
	}
	b.tokens.Store(b.limit)
	telemetry.Attach(c.MeterProvider, telemetry.Retry, b, (*Budget).collect)
	return b, nil
}

func (c BudgetConfig) validate() error {
	switch {
	case !(c.Ratio >= 0 && c.Ratio <= 1):
		return fmt.Errorf("retry: BudgetConfig.Ratio: %v is outside [0, 1]", c.Ratio)
	case c.Ratio != 0 && c.Ratio*token < 1:
		return fmt.Errorf("retry: BudgetConfig.Ratio: %v is below the minimum %v", c.Ratio, 1.0/token)
	case !(c.PerSecond >= 0 && c.PerSecond <= maxBurst):
		return fmt.Errorf("retry: BudgetConfig.PerSecond: %v is outside [0, %d]", c.PerSecond, maxBurst)
	case c.Burst < 0 || c.Burst > maxBurst:
		return fmt.Errorf("retry: BudgetConfig.Burst: %d is outside [0, %d]", c.Burst, maxBurst)
	}
	return nil
}

func orDefault[T int | float64 | time.Duration](value, ifZero T) T {
	if value == 0 {
		return ifZero
	}
	return value
}

// Deposit pays in for one first attempt. [Do] and [Hedge] do it by themselves; it is for others who draw on b.
func (b *Budget) Deposit() {
	if !b.full() {
		b.add(b.ratio)
	}
}

// payIn deposits for a call of p, unless that is part of a repeated attempt: retries do not pay for retries.
func (b *Budget) payIn(ctx context.Context, p *Policy) {
	if !b.full() {
		b.payInFor(ctx, p.Name)
	}
}

func (b *Budget) payInFor(ctx context.Context, name string) {
	if !nested(ctx, name) {
		b.Deposit()
	}
}

// full reports whether a deposit would be lost. That is the normal state, and one that is only read: the cache line stays shared.
func (b *Budget) full() bool { return b.tokens.Load() >= b.limit }

// Spend takes the price of one repetition and reports whether b held it. It never waits.
func (b *Budget) Spend() bool { return b.spend(token) }

// spendFor takes the price of repeating a call that ended with err.
func (b *Budget) spendFor(err error) bool { return b.unlimited || b.spendPriced(err) }

func (b *Budget) spendPriced(err error) bool {
	if timedOut(err) {
		return b.spend(costTimeout)
	}
	return b.spend(token)
}

func (b *Budget) spend(price int64) bool {
	if b.unlimited {
		return true
	}
	price = min(price, b.limit) // or a Burst of 1 could never repeat a time-out
	b.refill()
	for {
		held := b.tokens.Load()
		if held < price || b.limit == 0 {
			b.refused.Add(1)
			return false
		}
		if b.tokens.CompareAndSwap(held, held-price) {
			b.spent.Add(1)
			return true
		}
	}
}

// refill adds what the time since the last refill has paid for. Whoever moves refilled forward adds.
func (b *Budget) refill() {
	now, last := int64(time.Since(b.born)), b.refilled.Load()
	if now < last-int64(time.Second) { // another clock: a test's bubble has ended
		b.refilled.CompareAndSwap(last, now)
		return
	}
	earned := math.Min(float64(now-last)*b.perNano, float64(b.limit))
	if earned >= 1 && b.refilled.CompareAndSwap(last, now) {
		b.add(int64(earned))
	}
}

func (b *Budget) add(n int64) {
	for {
		held := b.tokens.Load()
		if b.tokens.CompareAndSwap(held, min(b.limit, held+n)) {
			return
		}
	}
}

// BudgetStats is a snapshot of a [Budget].
type BudgetStats struct {
	Tokens  float64 // held now
	Burst   int     // held at most
	Spent   int64   // repetitions granted since NewBudget
	Refused int64   // repetitions refused since NewBudget
}

// Stats returns a snapshot. The numbers of [NoBudget] are all zero.
func (b *Budget) Stats() BudgetStats {
	if !b.unlimited {
		b.refill()
	}
	return BudgetStats{
		Tokens:  float64(b.tokens.Load()) / token,
		Burst:   int(b.limit / token),
		Spent:   b.spent.Load(),
		Refused: b.refused.Load(),
	}
}

// usable reports whether b came from NewBudget or is NoBudget.
func (b *Budget) usable() bool { return b.unlimited || b.limit > 0 }

func (b *Budget) collect(c *telemetry.Collector) {
	s := b.Stats()
	c.Float(telemetry.RetryBudgetTokens, s.Tokens, b.set)
	c.Int(telemetry.RetryBudgetSpent, s.Spent, b.set)
	c.Int(telemetry.RetryBudgetRefused, s.Refused, b.set)
}
