package retry

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// scripted is a BackOff of a user's own.
type scripted struct {
	delays []time.Duration
	next   int
	resets int
}

func (s *scripted) Reset() { s.next, s.resets = 0, s.resets+1 }

func (s *scripted) NextBackOff() time.Duration {
	d := s.delays[s.next]
	s.next++
	return d
}

// quarters draws the n-th delay of the schedule often and returns how many draws fell into each quarter
// of [low, high]. A draw outside fails the test.
func quarters(t *testing.T, schedule func() backoff.BackOff, n int, low, high time.Duration) (counts [4]int) {
	t.Helper()
	for range 4000 {
		b := schedule()
		for range n - 1 {
			b.NextBackOff()
		}
		d := b.NextBackOff()
		if d < low || d > high {
			t.Fatalf("delay %d = %v, want within [%v, %v]", n, d, low, high)
		}
		counts[min(3, (d-low)/max(1, (high-low)/4))]++
	}
	return counts
}

func TestJitterIsUniformInItsRange(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name      string
		schedule  func() backoff.BackOff
		n         int
		low, high time.Duration
	}{
		{"full, first", FullJitter(100*ms, time.Second), 1, 0, 100 * ms},
		{"full, third", FullJitter(100*ms, time.Second), 3, 0, 400 * ms},
		{"full, capped", FullJitter(100*ms, time.Second), 9, 0, time.Second},
		{"full, the largest limit", FullJitter(1<<61, math.MaxInt64), 9, 0, math.MaxInt64},
		{"equal, first", EqualJitter(100*ms, time.Second), 1, 50 * ms, 100 * ms},
		{"equal, capped", EqualJitter(100*ms, time.Second), 9, 500 * ms, time.Second},
		{"decorrelated, first", DecorrelatedJitter(100*ms, time.Second), 1, 100 * ms, 300 * ms},
		{"default", func() backoff.BackOff { b, _ := newSchedule(nil); return b }, 2, 0, 100 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, n := range quarters(t, tt.schedule, tt.n, tt.low, tt.high) {
				if n < 800 || n > 1200 { // 1000 ± 7 standard deviations
					t.Errorf("quarter %d has %d of 4000 draws, want about 1000", i, n)
				}
			}
		})
	}
}

func TestDecorrelatedJitterFollowsTheDelayBefore(t *testing.T) {
	const base, limit = time.Millisecond, time.Second
	b := DecorrelatedJitter(base, limit)()
	previous, capped := base, 0
	for range 1000 {
		d := b.NextBackOff()
		if d < base || d > min(limit, 3*previous) {
			t.Fatalf("%v after %v, want within [%v, %v]", d, previous, base, min(limit, 3*previous))
		}
		if d == limit {
			capped++
		}
		previous = d
	}
	if capped == 0 {
		t.Error("1000 delays never reached the limit")
	}
	b.Reset()
	if d := b.NextBackOff(); d > 3*base {
		t.Errorf("first delay after Reset = %v, want at most %v", d, 3*base)
	}
	if d := DecorrelatedJitter(math.MaxInt64/2, math.MaxInt64)().NextBackOff(); d < math.MaxInt64/2 {
		t.Errorf("delay %v overflowed", d)
	}
}

func TestFixedStopsAfterItsDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := Do(t.Context(), &Policy{MaxAttempts: Unlimited, Backoff: Fixed(time.Second, 3*time.Second)}, alwaysDown)
		e := asError(t, err, ReasonSchedule)
		if e.Attempts != 3 || time.Since(start) != 4*time.Second {
			t.Errorf("%d attempts in %v, want 3 in 4s", e.Attempts, time.Since(start))
		}
	})
	delays := []time.Duration{time.Second}
	b := Fixed(delays...)
	delays[0] = -1
	if d := b().NextBackOff(); d != time.Second {
		t.Errorf("Fixed keeps the caller's slice: %v", d)
	}
	for _, b := range []backoff.BackOff{Fixed(1)(), FullJitter(1, 1)(), EqualJitter(1, 1)(), Constant(1)()} {
		first := b.NextBackOff()
		b.Reset()
		if again := b.NextBackOff(); again < 0 || first < 0 {
			t.Errorf("%T after Reset = %v", b, again)
		}
	}
}

func TestAnyV4BackOffWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &scripted{delays: []time.Duration{time.Second, 2 * time.Second, backoff.Stop}, next: 2}
		tests := []struct {
			name     string
			backoff  func() backoff.BackOff
			attempts int
			took     time.Duration
		}{
			{"a user's own, reset first", func() backoff.BackOff { return own }, 3, 3 * time.Second},
			{"any negative delay stops", func() backoff.BackOff { return &scripted{delays: []time.Duration{-5}} }, 1, 0},
			{"WithMaxRetries", func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 4) }, 5, 4 * time.Second},
			{"StopBackOff", func() backoff.BackOff { return &backoff.StopBackOff{} }, 1, 0},
			{"ZeroBackOff", func() backoff.BackOff { return &backoff.ZeroBackOff{} }, 10, 0},
		}
		for _, tt := range tests {
			start := time.Now()
			_, err := Do(t.Context(), &Policy{MaxAttempts: 10, Backoff: tt.backoff, Budget: NoBudget}, alwaysDown)
			e, ok := err.(*Error)
			if !ok || e.Attempts != tt.attempts || time.Since(start) != tt.took {
				t.Errorf("%s: %v in %v, want %d attempts in %v", tt.name, err, time.Since(start), tt.attempts, tt.took)
			}
		}
		if own.resets != 1 {
			t.Errorf("Reset ran %d times, want 1", own.resets)
		}
	})
}

// The traps of backoff v4, one by one.

func TestV4TrapJitterAboveTheCap(t *testing.T) {
	make := func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Second), backoff.WithMaxInterval(time.Second))
	}
	raw, over := make(), false
	for range 100 {
		over = over || raw.NextBackOff() > time.Second
	}
	if !over {
		t.Fatal("v4 keeps to its MaxInterval: the fence is no longer needed")
	}
	b, err := fence(make())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if d := b.NextBackOff(); d < 0 || d > time.Second {
			t.Fatalf("delay %v, want at most MaxInterval 1s", d)
		}
	}
}

func TestV4TrapMaxElapsedTimeOf15Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Policy{MaxAttempts: 2, Backoff: func() backoff.BackOff { return backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(time.Second)) }}
		calls := 0
		_, err := Do(t.Context(), p, func(context.Context) (int, error) {
			calls++
			time.Sleep(time.Hour)
			return 0, errDown
		})
		if asError(t, err, ReasonAttempts); calls != 2 {
			t.Errorf("%d attempts of an hour, want 2", calls)
		}
		b, _ := fence(backoff.NewExponentialBackOff())
		time.Sleep(time.Hour)
		if d := b.NextBackOff(); d < 0 {
			t.Error("the schedule stopped by itself after 15 min")
		}
	})
}

func TestV4TrapLiteralsWithZeroFields(t *testing.T) {
	valid := backoff.ExponentialBackOff{InitialInterval: 1, MaxInterval: 2, Multiplier: 1}
	b, err := fence(&valid) // without Stop and Clock: v4 panics for the clock and loops without delay for the stop
	if err != nil || b.NextBackOff() != 1 {
		t.Errorf("fence(%+v) = %v", valid, err)
	}
	tests := []struct {
		field string
		edit  func(*backoff.ExponentialBackOff)
	}{
		{"InitialInterval", func(b *backoff.ExponentialBackOff) { b.InitialInterval = 0 }},
		{"MaxInterval", func(b *backoff.ExponentialBackOff) { b.MaxInterval = -1 }},
		{"Multiplier", func(b *backoff.ExponentialBackOff) { b.Multiplier = 0 }},
		{"Multiplier", func(b *backoff.ExponentialBackOff) { b.Multiplier = math.NaN() }},
		{"RandomizationFactor", func(b *backoff.ExponentialBackOff) { b.RandomizationFactor = 1.5 }},
		{"RandomizationFactor", func(b *backoff.ExponentialBackOff) { b.RandomizationFactor = math.NaN() }},
	}
	for _, tt := range tests {
		broken := valid
		tt.edit(&broken)
		if _, err := fence(&broken); err == nil || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("fence(%+v) = %v, want %s named", broken, err, tt.field)
		}
	}
}

func TestV4TrapOverflow(t *testing.T) {
	b, err := fence(&backoff.ExponentialBackOff{InitialInterval: math.MaxInt64, MaxInterval: math.MaxInt64, Multiplier: 2, RandomizationFactor: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if d := b.NextBackOff(); d < 0 {
			t.Fatalf("delay %v", d)
		}
	}
}

func TestV4TrapSharedBetweenGoroutines(t *testing.T) {
	one := backoff.NewExponentialBackOff(backoff.WithInitialInterval(1), backoff.WithMaxInterval(2))
	p := &Policy{Backoff: func() backoff.BackOff { return one }, Budget: NoBudget} // -race finds what follows without the copy
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_, _ = Do(t.Context(), p, alwaysDown)
			}
		})
	}
	wg.Wait()
}
