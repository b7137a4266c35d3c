package benchmarks

import (
	"context"
	"errors"
	"testing"
	"time"

	eapache "github.com/eapache/go-resiliency/breaker"
	eapachesem "github.com/eapache/go-resiliency/semaphore"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	fsbulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	fsbreaker "github.com/failsafe-go/failsafe-go/circuitbreaker"
	fsrate "github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	gobreaker1 "github.com/sony/gobreaker"
	gobreaker2 "github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/limit"
	"github.com/holdfast-go/holdfast/retry"
)

// A contender is one library's call, ready to be made again and again.
type contender struct {
	name string
	call func() error
}

var errDown = errors.New("down")

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// compare measures each contender serially and in parallel. Every call must end in an error, or in none.
func compare(b *testing.B, wantErr bool, contenders []contender) {
	for _, c := range contenders {
		b.Run(c.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if err := c.call(); (err != nil) != wantErr {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.call(); (err != nil) != wantErr {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// breakers are the contenders with a rule of 50 % of at least 20 calls in 10 s, where the library has one,
// around work. An open breaker stays open for an hour.
func breakers(work func() error) []contender {
	ctx := context.Background()
	trip1 := func(c gobreaker1.Counts) bool {
		return c.Requests >= 20 && float64(c.TotalFailures) >= 0.5*float64(c.Requests)
	}
	trip2 := func(c gobreaker2.Counts) bool {
		return c.Requests >= 20 && float64(c.TotalFailures) >= 0.5*float64(c.Requests)
	}
	ours := must(breaker.New(breaker.Config{OpenFor: time.Hour}))
	timed := must(breaker.New(breaker.Config{OpenFor: time.Hour, SlowCall: time.Minute}))
	group := must(breaker.NewGroup(breaker.Config{OpenFor: time.Hour}, breaker.GroupConfig{}))
	v1 := gobreaker1.NewCircuitBreaker(gobreaker1.Settings{Interval: 10 * time.Second, Timeout: time.Hour, ReadyToTrip: trip1})
	fixed := gobreaker2.NewCircuitBreaker[int](gobreaker2.Settings{Interval: 10 * time.Second, Timeout: time.Hour, ReadyToTrip: trip2})
	rolling := gobreaker2.NewCircuitBreaker[int](gobreaker2.Settings{
		Interval: 10 * time.Second, BucketPeriod: time.Second,
		Timeout: time.Hour, ReadyToTrip: trip2,
	})
	twoStep := gobreaker2.NewTwoStepCircuitBreaker[int](gobreaker2.Settings{
		Interval: 10 * time.Second, BucketPeriod: time.Second,
		Timeout: time.Hour, ReadyToTrip: trip2,
	})
	fs := fsbreaker.NewBuilder[int]().WithFailureRateThreshold(0.5, 20, 10*time.Second).WithDelay(time.Hour).Build()
	executor := failsafe.With[int](fs)
	permits := fsbreaker.NewBuilder[int]().WithFailureRateThreshold(0.5, 20, 10*time.Second).WithDelay(time.Hour).Build()
	count := eapache.New(20, 1, time.Hour)

	workCtx := func(context.Context) (int, error) { return 1, work() }
	workErr := func(context.Context) error { return work() }
	workInt := func() (int, error) { return 1, work() }
	return []contender{
		{"call alone", work},
		{"holdfast", func() error { _, err := breaker.Do(ctx, ours, workCtx); return err }},
		{"holdfast method", func() error { return ours.Do(ctx, workErr) }},
		{"holdfast two-step", func() error {
			permit, err := ours.Allow()
			if err != nil {
				return err
			}
			err = work()
			permit.Done(err)
			return err
		}},
		{"holdfast with SlowCall", func() error { _, err := breaker.Do(ctx, timed, workCtx); return err }},
		{"holdfast group", func() error { return group.Do(ctx, "eu-west-1", workErr) }},
		{"gobreaker v1", func() error { _, err := v1.Execute(func() (any, error) { return nil, work() }); return err }},
		{"gobreaker v2 fixed", func() error { _, err := fixed.Execute(workInt); return err }},
		{"gobreaker v2 rolling", func() error { _, err := rolling.Execute(workInt); return err }},
		{"gobreaker v2 two-step", func() error {
			done, err := twoStep.Allow()
			if err != nil {
				return err
			}
			err = work()
			done(err)
			return err
		}},
		{"failsafe executor", func() error { _, err := executor.Get(workInt); return err }},
		{"failsafe permits", func() error {
			if !permits.TryAcquirePermit() {
				return fsbreaker.ErrOpen
			}
			err := work()
			if err != nil {
				permits.RecordFailure()
			} else {
				permits.RecordSuccess()
			}
			return err
		}},
		{"eapache", func() error { return count.Run(work) }}, // no window, no count of successes
	}
}

func BenchmarkBreakerSuccess(b *testing.B) {
	compare(b, false, breakers(func() error { return nil }))
}

// BenchmarkBreakerOpen measures rejections: the first calls fail and open each breaker.
func BenchmarkBreakerOpen(b *testing.B) {
	contenders := breakers(func() error { return errDown })[1:]
	for _, c := range contenders {
		for range 200 {
			_ = c.call()
		}
	}
	compare(b, true, contenders)
}

func BenchmarkBulkhead(b *testing.B) {
	ctx := context.Background()
	work := func(context.Context) error { return nil }
	call := func() error { return work(ctx) }
	h := must(breaker.NewBulkhead(breaker.BulkheadConfig{MaxInFlight: 64}))
	sem := semaphore.NewWeighted(64)
	channel := make(chan struct{}, 64)
	permits := fsbulkhead.New[any](64)
	executor := failsafe.With[any](fsbulkhead.New[any](64))
	eap := eapachesem.New(64, time.Second)
	compare(b, false, []contender{
		{"holdfast", func() error { return h.Do(ctx, work) }},
		{"holdfast two-step", func() error {
			permit, err := h.Acquire(ctx)
			if err != nil {
				return err
			}
			err = call()
			permit.Done(err)
			return err
		}},
		{"x sync Acquire", func() error {
			if err := sem.Acquire(ctx, 1); err != nil {
				return err
			}
			err := call()
			sem.Release(1)
			return err
		}},
		{"x sync Acquire panic-safe", func() error { // what Do promises, by hand
			if err := sem.Acquire(ctx, 1); err != nil {
				return err
			}
			defer sem.Release(1)
			return call()
		}},
		{"x sync TryAcquire", func() error {
			if !sem.TryAcquire(1) {
				return errDown
			}
			err := call()
			sem.Release(1)
			return err
		}},
		{"channel", func() error {
			select {
			case channel <- struct{}{}:
			default:
				return errDown
			}
			err := call()
			<-channel
			return err
		}},
		{"failsafe permits", func() error {
			if !permits.TryAcquirePermit() {
				return errDown
			}
			err := call()
			permits.ReleasePermit()
			return err
		}},
		{"failsafe executor", func() error { return executor.Run(call) }},
		{"eapache semaphore", func() error {
			if err := eap.Acquire(); err != nil {
				return err
			}
			err := call()
			eap.Release()
			return err
		}},
	})
}

func BenchmarkLimit(b *testing.B) {
	ctx := context.Background()
	work := func(context.Context) error { return nil }
	call := func() error { return work(ctx) }
	adaptive := must(limit.NewAdaptive(limit.AdaptiveConfig{}))
	throttle := must(limit.NewThrottle(limit.ThrottleConfig{}))
	ours := must(limit.NewRate(rate.NewLimiter(1e9, 1e9), limit.RateConfig{}))
	bare := rate.NewLimiter(1e9, 1e9)
	fsAdaptive := adaptivelimiter.NewWithDefaults[any]()
	fsThrottle := adaptivethrottler.NewBuilder[any]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build()
	fsRate := fsrate.NewBursty[any](1<<40, time.Second)
	compare(b, false, []contender{
		{"holdfast adaptive", func() error { return adaptive.Do(ctx, work) }},
		{"failsafe adaptive", func() error {
			permit, ok := fsAdaptive.TryAcquirePermit()
			if !ok {
				return nil // its limit follows measured times; a refusal counts as done
			}
			err := call()
			permit.Record()
			return err
		}},
		{"holdfast throttle", func() error { return throttle.Do(ctx, work) }},
		{"failsafe throttle", func() error {
			if !fsThrottle.TryAcquirePermit() {
				return errDown
			}
			err := call()
			fsThrottle.RecordSuccess()
			return err
		}},
		{"holdfast rate", func() error { return ours.Do(ctx, work) }},
		{"x time rate", func() error {
			if !bare.Allow() {
				return errDown
			}
			return call()
		}},
		{"failsafe rate", func() error {
			if !fsRate.TryAcquirePermit() {
				return errDown
			}
			return call()
		}},
	})
}

// BenchmarkComposed measures a retry around a breaker around a bulkhead around one call that succeeds.
func BenchmarkComposed(b *testing.B) {
	ctx := context.Background()
	work := func() error { return nil }
	attempts := &retry.Policy{Name: "bench"}
	circuit := must(breaker.New(breaker.Config{}))
	places := must(breaker.NewBulkhead(breaker.BulkheadConfig{}))
	executor := failsafe.With[any](retrypolicy.NewWithDefaults[any](),
		fsbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build(), fsbulkhead.New[any](64))
	compare(b, false, []contender{
		{"holdfast", func() error {
			_, err := retry.Do(ctx, attempts, func(ctx context.Context) (int, error) {
				return breaker.Do(ctx, circuit, func(ctx context.Context) (n int, err error) {
					err = places.Do(ctx, func(context.Context) error { n = 1; return work() })
					return n, err
				})
			})
			return err
		}},
		{"holdfast methods", func() error {
			return attempts.Do(ctx, func(ctx context.Context) error {
				return circuit.Do(ctx, func(ctx context.Context) error {
					return places.Do(ctx, func(context.Context) error { return work() })
				})
			})
		}},
		{"failsafe", func() error { return executor.Run(work) }},
	})
}
