package retry

import (
	"context"
	"errors"
	"testing"
)

var errDown = errors.New("down")

//go:noinline
func succeed(context.Context) (int, error) { return 1, nil }

func BenchmarkDoSuccess(b *testing.B) {
	ctx := context.Background()
	p := &Policy{Name: "bench"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Do(ctx, p, succeed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDoSuccessParallel(b *testing.B) {
	ctx := context.Background()
	p := &Policy{Name: "bench"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := Do(ctx, p, succeed); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkDoTwoZeroDelayRetries(b *testing.B) {
	ctx := context.Background()
	p := &Policy{Name: "bench", Backoff: Constant(0), Budget: NoBudget}
	n := 0
	fn := func(context.Context) (int, error) {
		if n++; n%3 != 0 {
			return 0, errDown
		}
		return 1, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Do(ctx, p, fn); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBudgetSpend(b *testing.B) {
	budget, err := NewBudget(BudgetConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		budget.Deposit()
		budget.Spend()
	}
}
