package benchmarks

import (
	"context"
	"errors"
	"testing"
	"time"

	avast "github.com/avast/retry-go/v5"
	backoff4 "github.com/cenkalti/backoff/v4"
	backoff5 "github.com/cenkalti/backoff/v5"
	eapache "github.com/eapache/go-resiliency/retrier"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	sethvargo "github.com/sethvargo/go-retry"

	"github.com/holdfast-go/holdfast/retry"
)

var errBoom = errors.New("boom")

type operation = func(context.Context) error

//go:noinline
func succeed(context.Context) error { return nil }

// failTwice returns an operation that fails twice and then succeeds, over and over.
func failTwice() operation {
	n := 0
	return func(context.Context) error {
		if n++; n%3 != 0 {
			return errBoom
		}
		return nil
	}
}

// A retrier runs an operation under at most two retries without delay, written as its users write it: the
// context is one per call, and what may be shared between calls is made once.
type retrier struct {
	name string
	make func() func(context.Context, operation) error
}

var retriers = []retrier{
	{"floor-loop", floorLoop},
	{"holdfast", func() func(context.Context, operation) error {
		p := &retry.Policy{Name: "bench", MaxAttempts: 3, Backoff: retry.Constant(0)}
		return p.Do
	}},
	{"holdfast-nobudget", func() func(context.Context, operation) error {
		p := &retry.Policy{Name: "bench", MaxAttempts: 3, Backoff: retry.Constant(0), Budget: retry.NoBudget}
		return p.Do
	}},
	{"holdfast-nil-policy", func() func(context.Context, operation) error {
		var p *retry.Policy
		return p.Do
	}},
	{"backoff-v4-zero", func() func(context.Context, operation) error {
		return func(ctx context.Context, op operation) error { // a BackOff serves one call
			return backoff4.Retry(func() error { return op(ctx) },
				backoff4.WithContext(backoff4.WithMaxRetries(&backoff4.ZeroBackOff{}, 2), ctx))
		}
	}},
	{"backoff-v5-zero", func() func(context.Context, operation) error {
		return func(ctx context.Context, op operation) error {
			_, err := backoff5.Retry(ctx, func() (struct{}, error) { return struct{}{}, op(ctx) },
				backoff5.WithBackOff(&backoff5.ZeroBackOff{}), backoff5.WithMaxTries(3))
			return err
		}
	}},
	{"avast-v5-reused", func() func(context.Context, operation) error {
		r := avast.New(avast.Attempts(3), avast.DelayType(avast.FixedDelay), avast.Delay(0), avast.LastErrorOnly(true))
		return func(ctx context.Context, op operation) error { return r.Do(func() error { return op(ctx) }) }
	}},
	{"avast-v5-context", func() func(context.Context, operation) error {
		return func(ctx context.Context, op operation) error { // the context is a part of the retrier
			r := avast.New(avast.Context(ctx), avast.Attempts(3), avast.DelayType(avast.FixedDelay), avast.Delay(0), avast.LastErrorOnly(true))
			return r.Do(func() error { return op(ctx) })
		}
	}},
	{"failsafe", func() func(context.Context, operation) error {
		executor := failsafe.With[any](retrypolicy.NewBuilder[any]().WithMaxRetries(2).Build())
		return func(ctx context.Context, op operation) error {
			return executor.WithContext(ctx).Run(func() error { return op(ctx) })
		}
	}},
	{"sethvargo", func() func(context.Context, operation) error {
		return func(ctx context.Context, op operation) error { // a Backoff serves one call
			b := sethvargo.WithMaxRetries(2, sethvargo.BackoffFunc(func() (time.Duration, bool) { return 0, false }))
			return sethvargo.Do(ctx, b, func(ctx context.Context) error { return sethvargo.RetryableError(op(ctx)) })
		}
	}},
	{"eapache", func() func(context.Context, operation) error {
		r := eapache.New([]time.Duration{0, 0}, nil)
		return func(ctx context.Context, op operation) error { return r.RunCtx(ctx, op) }
	}},
}

func floorLoop() func(context.Context, operation) error {
	return func(ctx context.Context, op operation) error {
		var err error
		for range 3 {
			if err = op(ctx); err == nil {
				return nil
			}
		}
		return err
	}
}

func BenchmarkRetrySuccess(b *testing.B) {
	ctx := context.Background()
	for _, r := range retriers {
		b.Run(r.name+"/serial", func(b *testing.B) {
			run := r.make()
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if err := run(ctx, succeed); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(r.name+"/parallel", func(b *testing.B) {
			run := r.make()
			b.ReportAllocs()
			defer cpu(b)()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := run(ctx, succeed); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkRetryTwoFailures measures two failures and a success.
func BenchmarkRetryTwoFailures(b *testing.B) {
	ctx := context.Background()
	for _, r := range retriers {
		if r.name == "holdfast" || r.name == "holdfast-nil-policy" {
			continue // a budget refuses so many retries, and the default schedule waits
		}
		b.Run(r.name+"/serial", func(b *testing.B) {
			run, op := r.make(), failTwice()
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if err := run(ctx, op); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(r.name+"/parallel", func(b *testing.B) {
			run := r.make()
			b.ReportAllocs()
			defer cpu(b)()
			b.RunParallel(func(pb *testing.PB) {
				op := failTwice()
				for pb.Next() {
					if err := run(ctx, op); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
