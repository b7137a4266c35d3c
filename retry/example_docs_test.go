package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-go/holdfast/retry"
)

// The blocks of docs/strategies/retry.md, compiled and run. TestDocsAreCompiled compares them.

func Example_docs() {
	ctx := context.Background()
	api := &flaky{failures: 1}
	payments := &retry.Policy{Name: "payments", MaxAttempts: 3, AttemptTimeout: 2 * time.Second}

	order, err := retry.Do(ctx, payments, func(ctx context.Context) (Order, error) {
		return api.order(ctx, "7")
	})
	fmt.Println(order.ID, err)
	fmt.Println(docsOutcome(ctx, &retry.Error{}), docsBudget(), docsSchedule(ctx), docsHedge(ctx, api), docsIfNotRun(ctx))
	// Output:
	// 7 <nil>
	// <nil> <nil> <nil> <nil> <nil>
}

func docsOutcome(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*retry.Error](err); ok && e.OutcomeUnknown() {
		return askWhatHappened(ctx, e)
	}
	return nil
}

func askWhatHappened(_ context.Context, e *retry.Error) error { return e }

func docsBudget() error {
	budget, err := retry.NewBudget(retry.BudgetConfig{Name: "process", Ratio: 0.1})
	if err != nil {
		return err
	}
	payments := &retry.Policy{Name: "payments", Budget: budget}
	replicas := &retry.Hedging[Order]{Name: "replicas", Repeatable: true, Budget: budget}
	return errors.Join(payments.Validate(), replicas.Validate())
}

func docsSchedule(ctx context.Context) error {
	db := &retry.Policy{Name: "db", Backoff: func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100 * time.Millisecond))
	}}
	return db.Do(ctx, func(context.Context) error { return nil })
}

func docsHedge(ctx context.Context, api *flaky) error {
	replicas := &retry.Hedging[Order]{Name: "replicas", Repeatable: true, Delay: 50 * time.Millisecond, Quantile: 0.95}
	order, err := retry.Hedge(ctx, replicas, func(ctx context.Context) (Order, error) {
		return api.order(ctx, "7")
	})
	if order.ID != "7" {
		return errors.New("no order")
	}
	return err
}

func docsIfNotRun(ctx context.Context) error {
	charge := &retry.Policy{Name: "payments", Retryable: retry.IfNotRun}
	return charge.Do(ctx, func(context.Context) error { return nil })
}
