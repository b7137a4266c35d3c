package retry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// The schedules check their arguments: a base that is not positive, a limit below it or a negative delay makes a
// schedule that Policy.Validate reports and that ends a call at its first failure with ReasonInvalid.

// FullJitter returns a schedule whose n-th delay is uniform in [0, min(limit, base·2ⁿ⁻¹)]: the least total work
// when many clients meet the same failure (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog).
func FullJitter(base, limit time.Duration) func() backoff.BackOff {
	if err := checkSpan("FullJitter", base, limit); err != nil {
		return invalidSchedule(err)
	}
	return func() backoff.BackOff { return &fullJitter{doubling{base: base, limit: limit}} }
}

// EqualJitter returns a schedule whose n-th delay is uniform in [c/2, c], c = min(limit, base·2ⁿ⁻¹): never sooner
// than half of the step.
func EqualJitter(base, limit time.Duration) func() backoff.BackOff {
	if err := checkSpan("EqualJitter", base, limit); err != nil {
		return invalidSchedule(err)
	}
	return func() backoff.BackOff { return &equalJitter{doubling{base: base, limit: limit}} }
}

// DecorrelatedJitter returns a schedule whose n-th delay is min(limit, x) with x uniform in [base, 3·previous delay];
// base counts as the delay before the first. The source is the one of [FullJitter].
func DecorrelatedJitter(base, limit time.Duration) func() backoff.BackOff {
	if err := checkSpan("DecorrelatedJitter", base, limit); err != nil {
		return invalidSchedule(err)
	}
	return func() backoff.BackOff { return &decorrelated{base: base, limit: limit, previous: base} }
}

// Constant returns a schedule of equal delays. Zero repeats at once and without a timer: for calls that
// compete, such as compare-and-swap loops, never for a dependency that may be down.
func Constant(d time.Duration) func() backoff.BackOff {
	if d < 0 {
		return invalidSchedule(fmt.Errorf("retry: Constant: %v is negative", d))
	}
	var b backoff.BackOff = constant(d)
	return func() backoff.BackOff { return b }
}

// Fixed returns a schedule of the given delays, which then stops: a call makes at most len(delays)+1 attempts.
func Fixed(delays ...time.Duration) func() backoff.BackOff {
	for i, d := range delays {
		if d < 0 {
			return invalidSchedule(fmt.Errorf("retry: Fixed: delay %d: %v is negative", i, d))
		}
	}
	list := append([]time.Duration(nil), delays...)
	return func() backoff.BackOff { return &fixed{delays: list} }
}

func checkSpan(name string, base, limit time.Duration) error {
	switch {
	case base <= 0:
		return fmt.Errorf("retry: %s: base %v is not positive", name, base)
	case limit < base:
		return fmt.Errorf("retry: %s: limit %v is below base %v", name, limit, base)
	}
	return nil
}

// doubling is the ceiling of an exponential schedule.
type doubling struct{ base, limit, last time.Duration }

func (d *doubling) Reset() { d.last = 0 }

func (d *doubling) next() time.Duration {
	switch {
	case d.last == 0:
		d.last = d.base
	case d.last > d.limit/2: // compares without overflow
		d.last = d.limit
	default:
		d.last *= 2
	}
	return d.last
}

type fullJitter struct{ doubling }

func (j *fullJitter) NextBackOff() time.Duration { return uniform(0, j.next()) }

type equalJitter struct{ doubling }

func (j *equalJitter) NextBackOff() time.Duration {
	c := j.next()
	return uniform(c/2, c)
}

type decorrelated struct{ base, limit, previous time.Duration }

func (j *decorrelated) Reset() { j.previous = j.base }

func (j *decorrelated) NextBackOff() time.Duration {
	high := time.Duration(math.MaxInt64)
	if j.previous < high/3 {
		high = 3 * j.previous
	}
	j.previous = min(j.limit, uniform(j.base, high))
	return j.previous
}

// uniform draws from [low, high].
func uniform(low, high time.Duration) time.Duration {
	return low + time.Duration(rand.Uint64N(uint64(high-low)+1))
}

type constant time.Duration

func (c constant) NextBackOff() time.Duration { return time.Duration(c) }
func (c constant) Reset()                     {}

type fixed struct {
	delays []time.Duration
	next   int
}

func (f *fixed) Reset() { f.next = 0 }

func (f *fixed) NextBackOff() time.Duration {
	if f.next == len(f.delays) {
		return backoff.Stop
	}
	f.next++
	return f.delays[f.next-1]
}

// unusable is a schedule made of bad arguments.
type unusable struct{ err error }

func (u *unusable) NextBackOff() time.Duration { return backoff.Stop }
func (u *unusable) Reset()                     {}

func invalidSchedule(err error) func() backoff.BackOff {
	return func() backoff.BackOff { return &unusable{err} }
}
