package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-go/holdfast/retry"
)

// Order is what the examples fetch.
type Order struct{ ID string }

// flaky is a dependency that fails a few times and then answers.
type flaky struct{ failures int }

func (f *flaky) order(_ context.Context, id string) (Order, error) {
	if f.failures--; f.failures >= 0 {
		return Order{}, errors.New("payments are down")
	}
	return Order{ID: id}, nil
}

// A policy is one long-lived value per dependency, shared by all goroutines.
func ExampleDo() {
	payments := &retry.Policy{Name: "payments", MaxAttempts: 3, Backoff: retry.FullJitter(time.Millisecond, time.Second)}
	api := &flaky{failures: 2}

	order, err := retry.Do(context.Background(), payments, func(ctx context.Context) (Order, error) {
		return api.order(ctx, "7")
	})
	fmt.Println(order.ID, err)
	// Output: 7 <nil>
}

func ExamplePolicy_Do() {
	var p *retry.Policy // nil has the defaults, without a budget and metrics
	attempts := 0
	err := p.Do(context.Background(), func(context.Context) error {
		if attempts++; attempts < 3 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	fmt.Println(attempts, err)
	// Output: 3 <nil>
}

// The error of a call that was given up wraps the last attempt's and answers for all.
func ExampleError() {
	payments := &retry.Policy{Name: "payments", MaxAttempts: 2, Backoff: retry.Constant(0)}
	attempts := 0
	err := payments.Do(context.Background(), func(context.Context) error {
		if attempts++; attempts == 1 {
			return io.ErrUnexpectedEOF // the connection broke: the payment may have been made
		}
		return errors.New("payments are down")
	})
	fmt.Println(err)
	if e, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println("unknown:", e.OutcomeUnknown(), "- first:", e.History[0].Err)
	}
	// Output:
	// retry "payments": attempts used up after 2 attempts in 0s: payments are down
	// unknown: true - first: unexpected EOF
}

// What must not run twice is repeated only while it has not run.
func ExampleIfNotRun() {
	charge := &retry.Policy{Name: "payments", Retryable: retry.IfNotRun, Backoff: retry.Constant(0)}
	attempts := 0
	err := charge.Do(context.Background(), func(context.Context) error {
		attempts++
		return io.ErrUnexpectedEOF // it may have run
	})
	fmt.Println(attempts, err)
	// Output: 1 unexpected EOF
}

// One budget for everything that this process repeats: policies, hedges, queue replays.
func ExampleNewBudget() {
	budget, err := retry.NewBudget(retry.BudgetConfig{Name: "all", Ratio: 0.1, Burst: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	payments := &retry.Policy{Name: "payments", Budget: budget, Backoff: retry.Constant(0)}
	stock := &retry.Policy{Name: "stock", Budget: budget, Backoff: retry.Constant(0)}
	down := func(context.Context) error { return errors.New("down") }

	fmt.Println(payments.Do(context.Background(), down))
	fmt.Println(stock.Do(context.Background(), down))
	// Output:
	// retry "payments": retry budget exhausted after 3 attempts in 0s: down
	// retry "stock": retry budget exhausted after 1 attempt: down
}

// Any cenkalti/backoff v4 schedule works. The factory makes one for each call that fails.
func ExamplePolicy_backoff() {
	db := &retry.Policy{Name: "db", MaxAttempts: retry.Unlimited, Backoff: func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Microsecond), 2)
	}}
	attempts := 0
	_ = db.Do(context.Background(), func(context.Context) error { attempts++; return errors.New("down") })
	fmt.Println(attempts)
	// Output: 3
}

// A replica that hangs costs the delay, not the time-out.
func ExampleHedge() {
	replicas := &retry.Hedging[string]{Name: "replicas", Repeatable: true, Delay: 10 * time.Millisecond}
	answer, err := retry.Hedge(context.Background(), replicas, func(ctx context.Context) (string, error) {
		if retry.From(ctx).Number == 1 {
			<-ctx.Done() // hangs
			return "", ctx.Err()
		}
		return "from the second replica", nil
	})
	fmt.Println(answer, err)
	// Output: from the second replica <nil>
}

// Two layers with one Name cost the sum of their attempts, not the product.
func ExampleWithAttempt() {
	inner := &retry.Policy{Name: "stock", MaxAttempts: 3, Backoff: retry.Constant(0)}
	outer := &retry.Policy{Name: "stock", MaxAttempts: 3, Backoff: retry.Constant(0)}
	calls := 0
	layered := func(ctx context.Context) error {
		return outer.Do(ctx, func(ctx context.Context) error {
			return inner.Do(ctx, func(context.Context) error { calls++; return errors.New("down") })
		})
	}
	_ = layered(context.Background())
	fmt.Println("two layers:", calls)

	// A consumer whose queue delivers a message again is a layer, too.
	calls = 0
	_ = layered(retry.WithAttempt(context.Background(), retry.Attempt{Name: "stock", Number: 2}))
	fmt.Println("in a redelivery:", calls)
	// Output:
	// two layers: 5
	// in a redelivery: 1
}

// A stream outlives the attempt that opened it: its caller makes the attempts.
func ExamplePolicy_Start() {
	feed := &retry.Policy{Name: "feed", Backoff: retry.Fixed(0, 0)}
	seq, err := feed.Start(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer seq.End()
	for {
		n := retry.From(seq.Context()).Number
		if n == 3 {
			fmt.Println("connected by attempt", n)
			return
		}
		wait, err := seq.Next(errors.New("refused"))
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := seq.Wait(wait); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output: connected by attempt 3
}
