package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// TestProperties checks the package's promises over random policies, deadlines, cancels and scripts of errors.
// A failure names its seed.
func TestProperties(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 300
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			newTrial(seed).run(t)
		})
	}
}

// trial is one random call and what was seen of it.
type trial struct {
	seed   uint64
	rng    *rand.Rand
	policy *Policy
	bounds func(n int, previous time.Duration) (low, high time.Duration) // of the n-th delay
	script []step

	deadline, cancelAt time.Duration // after the start; 0 = none

	begin        time.Time
	starts, ends []time.Duration
	seen         []error
	notes        []Attempt
}

// step is how one attempt goes.
type step struct {
	takes time.Duration
	err   error // nil = success
	hint  time.Duration
}

func newTrial(seed uint64) *trial {
	r := rand.New(rand.NewPCG(seed, 7))
	c := &trial{seed: seed, rng: r}
	c.policy = &Policy{
		MaxAttempts: []int{0, 1, 2, 3, 6, Unlimited}[r.IntN(6)],
		MaxHint:     []time.Duration{0, time.Millisecond, time.Minute}[r.IntN(3)],
		OnRetry:     func(_ context.Context, a Attempt) { c.notes = append(c.notes, a) },
	}
	if r.IntN(3) == 0 {
		c.policy.MaxElapsed = c.duration(20)
	}
	if r.IntN(3) == 0 {
		c.policy.Retryable = IfNotRun
	}
	if r.IntN(2) == 0 {
		c.policy.Budget = NoBudget
	}
	c.schedule()
	if r.IntN(2) == 0 {
		c.deadline = c.duration(20)
	}
	if r.IntN(4) == 0 {
		c.cancelAt = c.duration(20)
	}
	for range 1 + r.IntN(8) {
		c.script = append(c.script, c.step())
	}
	c.script = append(c.script, step{}) // in the end all goes well
	return c
}

// duration is up to n seconds, never zero, with odd nanoseconds: no two events meet by accident.
func (c *trial) duration(n int64) time.Duration {
	return 1 + time.Duration(c.rng.Int64N(n*int64(time.Second)))
}

func (c *trial) schedule() {
	base := c.duration(2)
	limit := base + c.duration(5)
	doubled := func(n int) time.Duration { return min(limit, base<<(n-1)) }
	switch c.rng.IntN(6) {
	case 0:
		c.policy.Backoff = FullJitter(base, limit)
		c.bounds = func(n int, _ time.Duration) (time.Duration, time.Duration) { return 0, doubled(n) }
	case 1:
		c.policy.Backoff = EqualJitter(base, limit)
		c.bounds = func(n int, _ time.Duration) (time.Duration, time.Duration) { return doubled(n) / 2, doubled(n) }
	case 2:
		c.policy.Backoff = DecorrelatedJitter(base, limit)
		c.bounds = func(_ int, previous time.Duration) (time.Duration, time.Duration) {
			return base, limit // the delay before may have been a hint
		}
	case 3:
		c.policy.Backoff = Constant(base)
		c.bounds = func(int, time.Duration) (time.Duration, time.Duration) { return base, base }
	case 4:
		c.policy.Backoff = Constant(0)
		c.bounds = func(int, time.Duration) (time.Duration, time.Duration) { return 0, 0 }
	case 5:
		c.policy.Backoff = func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(base), backoff.WithMaxInterval(limit), backoff.WithMultiplier(2))
		}
		c.bounds = func(n int, _ time.Duration) (time.Duration, time.Duration) {
			return doubled(n)/2 - 1, min(limit, 3*doubled(n)/2+1)
		}
	}
}

func (c *trial) step() step {
	s := step{takes: []time.Duration{0, c.duration(1), c.duration(10)}[c.rng.IntN(3)]}
	id := c.rng.Uint64()
	plain := fmt.Errorf("error %d", id)
	switch c.rng.IntN(8) {
	case 0:
		s.err = fmt.Errorf("%w: %w", plain, io.EOF)
	case 1:
		s.err = &marked{error: plain, unknown: true}
	case 2:
		s.err = &marked{error: plain, permanent: true}
	case 3:
		s.hint = c.duration(40)
		s.err = fmt.Errorf("wrapped: %w", &marked{error: plain, notRun: true, after: s.hint})
	case 4, 5:
		s.err = &marked{error: plain, notRun: true}
	case 6:
		s.err = plain
	}
	return s
}

func (c *trial) since() time.Duration { return time.Since(c.begin) }

// attempt plays the next step of the script. It heeds its context as a well-behaved call does.
func (c *trial) attempt(ctx context.Context) (int, error) {
	n := len(c.starts)
	s := c.script[min(n, len(c.script)-1)]
	c.starts = append(c.starts, c.since())
	err := s.err
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.ends = append(c.ends, c.since())
	c.seen = append(c.seen, err)
	return n + 1, err
}

func (c *trial) run(t *testing.T) {
	c.begin = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if c.deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.deadline)
		defer cancel()
	}
	if c.cancelAt > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		timer := time.AfterFunc(c.cancelAt, stop)
		defer timer.Stop()
		defer stop()
	}
	value, err := Do(ctx, c.policy, c.attempt)
	returned := c.since()
	fail := func(format string, args ...any) {
		t.Errorf("seed %d: "+format, append([]any{c.seed}, args...)...)
	}
	c.checkResult(fail, value, err)
	c.checkTimes(fail, returned)
	c.checkWaits(fail)
}

func (c *trial) checkResult(fail func(string, ...any), value int, err error) {
	n := len(c.seen)
	last := c.seen[n-1]
	if limit := orDefault(c.policy.MaxAttempts, 4); limit != Unlimited && n > limit {
		fail("%d attempts, MaxAttempts %d", n, limit)
	}
	for i, e := range c.seen[:n-1] {
		if e == nil || outcome.Permanent(e) || c.policy.Retryable != nil && !IfNotRun(e) || c.policy.Retryable == nil && !Transient(e) {
			fail("attempt %d ended with %v and was repeated", i+1, e)
		}
	}
	if value != n {
		fail("value %d, want that of attempt %d", value, n)
	}
	if (last == nil) != (err == nil) {
		fail("Do = %v, last attempt %v", err, last)
	}
	if last == nil {
		return
	}
	if !errors.Is(err, last) {
		fail("the last error %v is not in %v", last, err)
	}
	var all []outcome.Outcome
	for _, e := range c.seen {
		all = append(all, outcome.Of(e))
	}
	if got, want := outcome.Of(err), outcome.Join(all...); got != want {
		fail("outcome of %v = %d, want %d", err, got, want)
	}
	if len(c.notes) < n-1 || len(c.notes) > n {
		fail("OnRetry heard of %d repetitions of %d", len(c.notes), n-1)
	}
}

func (c *trial) checkTimes(fail func(string, ...any), returned time.Duration) {
	for i, start := range c.starts {
		if c.deadline > 0 && start >= c.deadline {
			fail("attempt %d starts at %v, deadline %v", i+1, start, c.deadline)
		}
		if c.cancelAt > 0 && start > c.cancelAt {
			fail("attempt %d starts at %v, cancelled at %v", i+1, start, c.cancelAt)
		}
		if limit := c.policy.MaxElapsed; limit > 0 && start > limit {
			fail("attempt %d starts at %v, MaxElapsed %v", i+1, start, limit)
		}
	}
	// The only wait that may end the call is one that is cut short by a cancel.
	lastEnd := c.ends[len(c.ends)-1]
	if returned != lastEnd && returned != c.cancelAt {
		fail("returned at %v, last attempt ended at %v", returned, lastEnd)
	}
}

func (c *trial) checkWaits(fail func(string, ...any)) {
	var previous time.Duration
	for i := 1; i < len(c.starts); i++ {
		wait := c.starts[i] - c.ends[i-1]
		low, high := c.bounds(i, previous)
		if hint := c.script[min(i-1, len(c.script)-1)].hint; hint > 0 {
			maxHint := orDefault(c.policy.MaxHint, 30*time.Second)
			low, high = max(low, min(hint, low+maxHint)), max(high, min(hint, high+maxHint))
		}
		if wait < low || wait > high {
			fail("wait %d = %v, want within [%v, %v]", i, wait, low, high)
		}
		if wait != c.notes[i-1].Wait {
			fail("wait %d = %v, OnRetry was told %v", i, wait, c.notes[i-1].Wait)
		}
		previous = wait
	}
}
