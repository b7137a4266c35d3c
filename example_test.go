package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-go/holdfast"
)

func ExampleOutcomeOf() {
	refused := holdfast.NotRun(errors.New("over the limit"))
	fmt.Println(holdfast.OutcomeOf(fmt.Errorf("charge: %w", refused)))
	fmt.Println(holdfast.OutcomeOf(fmt.Errorf("charge: %w", io.ErrUnexpectedEOF)))
	fmt.Println(holdfast.OutcomeOf(errors.New("card declined")))
	// Output:
	// not run
	// unknown
	// ran
}

func ExampleAfter() {
	err := holdfast.After(errors.New("maintenance"), time.Minute)
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		fmt.Println(err, "/", later.RetryAfter())
	}
	// Output: maintenance (retry after 1m0s) / 1m0s
}

func ExamplePermanent() {
	errGone := errors.New("account closed")
	err := holdfast.Permanent(errGone)
	fmt.Println(errors.Is(err, errGone))
	// Output: true
}

func ExampleStack() {
	twice := holdfast.PolicyFunc(func(ctx context.Context, call func(context.Context) error) error {
		if err := call(ctx); err == nil {
			return nil
		}
		return call(ctx)
	})
	policy := holdfast.Stack(holdfast.Timeout(time.Second), twice)

	attempt := 0
	err := policy.Do(context.Background(), func(context.Context) error {
		attempt++
		if attempt == 1 {
			return errors.New("busy")
		}
		return nil
	})
	fmt.Println(attempt, err)
	// Output: 2 <nil>
}

func ExampleCall() {
	price, err := holdfast.Call(context.Background(), holdfast.Timeout(time.Second),
		func(context.Context) (int, error) { return 42, nil })
	fmt.Println(price, err)
	// Output: 42 <nil>
}

func ExampleMust() {
	fmt.Println(holdfast.Must(time.ParseDuration("90s")))
	// Output: 1m30s
}

// The stages of a service, in the order in which they stop.
func ExampleRun() {
	until := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done() // drain here
			fmt.Println(name, "stopped")
			return nil
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a service uses signal.NotifyContext(ctx, syscall.SIGTERM)

	err := holdfast.Run(ctx,
		holdfast.Stage{until("http server")},
		holdfast.Stage{until("guard")},
		holdfast.Stage{until("worker")},
		holdfast.Stage{until("queue client")},
		holdfast.Stage{until("controller")},
	)
	fmt.Println(err)
	// Output:
	// http server stopped
	// guard stopped
	// worker stopped
	// queue client stopped
	// controller stopped
	// <nil>
}
