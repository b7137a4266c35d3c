package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
)

var (
	ctx     = context.Background()
	errDown = errors.New("connection refused")
)

func charge(context.Context) (string, error) { return "", errDown }

func lookup(context.Context) error { return nil }

func Example() {
	payments := holdfast.Must(breaker.New(breaker.Config{
		Name:                "payments",
		ConsecutiveFailures: 3,
	}))
	for range 4 {
		_, err := breaker.Do(ctx, payments, charge)
		switch {
		case errors.Is(err, breaker.ErrOpen):
			fmt.Println("not sent, by", payments.State(), "breaker")
		case err != nil:
			fmt.Println(err)
		}
	}
	// Output:
	// connection refused
	// connection refused
	// connection refused
	// not sent, by open breaker
}

func ExampleConfig() {
	search := holdfast.Must(breaker.New(breaker.Config{
		Name:        "search",
		FailureRate: 0.5, // of the window's results failed
		MinCalls:    20,
		SlowCall:    2 * time.Second, // half of them slow opens it too
		OpenFor:     5 * time.Second,
		Ramp:        []float64{0.05, 0.25, 0.5}, // shares after a recovery
	}))
	fmt.Println(search.Do(ctx, lookup), search.State())
	// Output: <nil> closed
}

func ExampleDefaultVerdict() {
	errNotFound := errors.New("not found")
	users := holdfast.Must(breaker.New(breaker.Config{
		Name:     "users",
		MinCalls: 1,
		Verdict: func(err error) breaker.Verdict {
			if errors.Is(err, errNotFound) {
				return breaker.VerdictSuccess // the service answered
			}
			return breaker.DefaultVerdict(err)
		},
	}))
	err := users.Do(ctx, func(context.Context) error { return errNotFound })
	fmt.Println(err, users.State())
	// Output: not found closed
}

func ExampleOpenError() {
	payments := holdfast.Must(breaker.New(breaker.Config{Name: "payments", ConsecutiveFailures: 1, Jitter: breaker.Off}))
	_, _ = breaker.Do(ctx, payments, charge)
	_, err := breaker.Do(ctx, payments, charge)

	fmt.Println(holdfast.OutcomeOf(err) == holdfast.OutcomeNotRun)
	if open, ok := errors.AsType[*breaker.OpenError](err); ok {
		fmt.Println(open.Name, open.State, open.Reason, open.RetryAfter().Round(time.Second))
	}
	// Output:
	// true
	// payments open 1 consecutive failures 5s
}

func ExampleBreaker_Allow() {
	stream := holdfast.Must(breaker.New(breaker.Config{Name: "stream"}))
	permit, err := stream.Allow()
	if err != nil {
		return // *breaker.OpenError
	}
	// ... the call ends elsewhere ...
	permit.Done(errDown)
	fmt.Println(stream.Stats().Window.Failures)
	// Output: 1
}

func ExampleBreaker_Ready() {
	payments := holdfast.Must(breaker.New(breaker.Config{ConsecutiveFailures: 1, Jitter: breaker.Off}))
	fmt.Println(payments.Ready())
	_, _ = breaker.Do(ctx, payments, charge)
	wait, ok := payments.Ready() // hand payments.Ready to a queue worker or a degrade dependency
	fmt.Println(wait.Round(time.Second), ok)
	// Output:
	// 0s true
	// 5s false
}

func ExampleBreaker_Force() {
	payments := holdfast.Must(breaker.New(breaker.Config{Name: "payments"}))
	err := payments.Force(breaker.Forced{Mode: breaker.ModeOpen, Reason: "migration", By: "ada", For: time.Hour})
	fmt.Println(err, payments.State())
	err = payments.Force(breaker.Forced{Mode: breaker.ModeClosed, By: "ada", For: time.Hour})
	fmt.Println(err)
	// Output:
	// <nil> open
	// breaker "payments": Forced.Reason: empty
}

func ExampleGroup() {
	hosts := holdfast.Must(breaker.NewGroup(
		breaker.Config{Name: "hosts", ConsecutiveFailures: 1},
		breaker.GroupConfig{MaxOpenShare: 0.5}, // when most look bad, the fault is ours
	))
	_ = hosts.Do(ctx, "eu-west-1", func(context.Context) error { return errDown })
	err := hosts.Do(ctx, "eu-central-1", lookup)
	fmt.Println(err, hosts.Get("eu-west-1").State(), hosts.Get("eu-central-1").State())
	// Output: <nil> open closed
}

func ExampleBulkhead() {
	database := holdfast.Must(breaker.NewBulkhead(breaker.BulkheadConfig{
		Name:        "database",
		MaxInFlight: 1,
		MaxQueue:    10,
		MaxWait:     50 * time.Millisecond,
	}))
	err := database.Do(ctx, func(ctx context.Context) error {
		return database.Do(ctx, lookup) // the only place is taken
	})
	fmt.Println(errors.Is(err, breaker.ErrFull), database.Stats().InFlight)
	// Output: true 0
}

func ExampleDo_nested() {
	payments := holdfast.Must(breaker.New(breaker.Config{Name: "payments"}))
	places := holdfast.Must(breaker.NewBulkhead(breaker.BulkheadConfig{Name: "payments", MaxInFlight: 20}))
	receipt, err := breaker.Do(ctx, payments, func(ctx context.Context) (receipt string, err error) {
		err = places.Do(ctx, func(ctx context.Context) error {
			receipt, err = "r-1", lookup(ctx)
			return err
		})
		return receipt, err
	})
	fmt.Println(receipt, err)
	// Output: r-1 <nil>
}
