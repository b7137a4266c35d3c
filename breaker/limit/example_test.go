package limit_test

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker/limit"
)

var ctx = context.Background()

func search(context.Context) error { return nil }

func ExampleAdaptive() {
	searches := holdfast.Must(limit.NewAdaptive(limit.AdaptiveConfig{Name: "search", Initial: 20, Max: 200}))
	err := searches.Do(ctx, search)
	fmt.Println(err, searches.Stats().Limit)
	// Output: <nil> 20
}

func ExampleThrottle() {
	inventory := holdfast.Must(limit.NewThrottle(limit.ThrottleConfig{Name: "inventory", MinCalls: 2, MaxReject: 1}))
	overloaded := func(context.Context) error { return errors.New("503") }
	for range 1000 {
		_ = inventory.Do(ctx, overloaded)
	}
	err := inventory.Do(ctx, search)
	fmt.Println(inventory.Stats().Reject > 0.99, err == nil || errors.Is(err, limit.ErrThrottled))
	// Output: true true
}

func ExampleRate() {
	partner := holdfast.Must(limit.NewRate(rate.NewLimiter(10, 1), limit.RateConfig{Name: "partner"}))
	fmt.Println(partner.Do(ctx, search))
	err := partner.Do(ctx, search)
	fmt.Println(errors.Is(err, limit.ErrRate), holdfast.OutcomeOf(err) == holdfast.OutcomeNotRun)
	// Output:
	// <nil>
	// true true
}
