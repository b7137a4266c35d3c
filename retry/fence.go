package retry

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// newSchedule makes the schedule of one call: the factory's value, fenced. A nil factory is the default.
func newSchedule(factory func() backoff.BackOff) (backoff.BackOff, error) {
	if factory == nil {
		return &fullJitter{doubling{base: defaultBase, limit: defaultLimit}}, nil
	}
	return fence(factory())
}

// fence keeps the traps of backoff v4 away from a call, or says why b cannot be used.
func fence(b backoff.BackOff) (backoff.BackOff, error) {
	switch b := b.(type) {
	case nil:
		return nil, errors.New("retry: Policy.Backoff returned nil")
	case constant, *fullJitter, *equalJitter, *decorrelated, *fixed:
		return b, nil
	case *unusable:
		return nil, b.err
	case *backoff.ExponentialBackOff:
		return fenceExponential(b)
	}
	if v := reflect.ValueOf(b); (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
		return nil, fmt.Errorf("retry: Policy.Backoff returned a nil %T", b)
	}
	b.Reset() // as backoff.Retry does first
	return b, nil
}

// capped is a private copy of an exponential schedule: a factory that returns the same value each time
// is safe. v4 caps the interval and not the delay, and its MaxElapsedTime is 15 min unless set: the copy
// caps the delay and leaves elapsed time to Policy.MaxElapsed.
type capped struct{ backoff.ExponentialBackOff }

func fenceExponential(b *backoff.ExponentialBackOff) (backoff.BackOff, error) {
	if b == nil {
		return nil, fmt.Errorf("retry: Policy.Backoff returned a nil %T", b)
	}
	if err := checkExponential(b); err != nil {
		return nil, err
	}
	c := &capped{backoff.ExponentialBackOff{
		InitialInterval:     b.InitialInterval,
		RandomizationFactor: b.RandomizationFactor,
		Multiplier:          b.Multiplier,
		MaxInterval:         b.MaxInterval,
		Stop:                backoff.Stop,
		Clock:               backoff.SystemClock, // read by v4 for the elapsed time alone
	}}
	c.Reset()
	return c, nil
}

// checkExponential finds literals that v4 takes and turns into a loop without delay or into negative delays.
func checkExponential(b *backoff.ExponentialBackOff) error {
	const field = "retry: Policy.Backoff: ExponentialBackOff."
	switch {
	case b.InitialInterval <= 0:
		return fmt.Errorf(field+"InitialInterval: %v is not positive", b.InitialInterval)
	case b.MaxInterval <= 0:
		return fmt.Errorf(field+"MaxInterval: %v is not positive", b.MaxInterval)
	case !(b.Multiplier >= 1):
		return fmt.Errorf(field+"Multiplier: %v is below 1", b.Multiplier)
	case !(b.RandomizationFactor >= 0 && b.RandomizationFactor <= 1):
		return fmt.Errorf(field+"RandomizationFactor: %v is outside [0, 1]", b.RandomizationFactor)
	}
	return nil
}

func (c *capped) NextBackOff() time.Duration {
	d := c.ExponentialBackOff.NextBackOff()
	if d < 0 { // never Stop here: a MaxInterval near the largest Duration overflowed in v4's arithmetic
		return c.MaxInterval
	}
	return min(d, c.MaxInterval)
}
