package breaker

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errBoom = errors.New("boom")

func work(context.Context) (int, error) { return 1, nil }
func ok(context.Context) error          { return nil }
func fail(context.Context) error        { return errBoom }

// must panics if a constructor failed.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// each runs call serially and in parallel; every call must end as wanted.
func each(b *testing.B, name string, wantErr bool, call func() error) {
	b.Run(name+"/serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); (err != nil) != wantErr {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); (err != nil) != wantErr {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkBreaker(b *testing.B) {
	ctx := context.Background()
	closed := must(New(Config{}))
	each(b, "success", false, func() error { _, err := Do(ctx, closed, work); return err })
	each(b, "success method", false, func() error { return closed.Do(ctx, ok) })
	each(b, "success two-step", false, func() error {
		p, err := closed.Allow()
		if err != nil {
			return err
		}
		p.Done(nil)
		return nil
	})
	timed := must(New(Config{SlowCall: time.Minute}))
	each(b, "success with SlowCall", false, func() error { _, err := Do(ctx, timed, work); return err })
	deadline, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	each(b, "success with deadline", false, func() error { _, err := Do(deadline, closed, work); return err })
	open := must(New(Config{OpenFor: time.Hour, ConsecutiveFailures: 1}))
	_ = open.Do(ctx, fail)
	each(b, "open", true, func() error { _, err := Do(ctx, open, work); return err })
	never := must(New(Config{FailureRate: Off}))
	each(b, "failure", true, func() error { return never.Do(ctx, fail) })
}

func BenchmarkBulkhead(b *testing.B) {
	ctx := context.Background()
	h := must(NewBulkhead(BulkheadConfig{}))
	each(b, "do", false, func() error { return h.Do(ctx, ok) })
	each(b, "two-step", false, func() error {
		p, err := h.Acquire(ctx)
		if err != nil {
			return err
		}
		p.Done(nil)
		return nil
	})
	full := must(NewBulkhead(BulkheadConfig{MaxInFlight: 1}))
	if _, err := full.Allow(); err != nil {
		b.Fatal(err)
	}
	each(b, "refusal", true, func() error { return full.Do(ctx, ok) })
}

func BenchmarkGroup(b *testing.B) {
	ctx := context.Background()
	g := must(NewGroup(Config{}, GroupConfig{}))
	each(b, "do", false, func() error { return g.Do(ctx, "eu-west-1", ok) })
}
