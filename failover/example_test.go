package failover_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// start runs a controller of one Region until the example ends, and waits until it may write.
func start() (*failover.Controller, func()) {
	ctl, err := failover.NewController(failover.ControllerConfig{Regions: []failover.Region{"us-east-1"}, Self: "us-east-1"})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = ctl.Run(ctx) }()
	for {
		if _, ok := ctl.Ready(); ok {
			return ctl, func() { stop(); <-done }
		}
		time.Sleep(time.Millisecond)
	}
}

// A store is any client: T is what you have.
type store struct{ rows map[string]string }

func ExampleWrite() {
	ctl, stop := start()
	defer stop()
	stores, err := failover.New(ctl, []failover.Member[*store]{{
		Region: "us-east-1", Client: &store{rows: map[string]string{}},
		Probe: func(context.Context, *store) error { return nil },
	}}, failover.ClientConfig{Name: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, err = failover.Write(ctx, stores, func(_ context.Context, s *store, f failover.Fence) (struct{}, error) {
		s.rows["order-1"] = "paid at epoch " + f.Token()
		return struct{}{}, nil
	})
	fmt.Println("write:", err)
	row, err := failover.Read(ctx, stores, func(_ context.Context, s *store) (string, error) { return s.rows["order-1"], nil })
	fmt.Println(row, err)
	// Output:
	// write: <nil>
	// paid at epoch 0000000000000001 <nil>
}

// Who may not write is told before anything is sent, and when to ask again.
func ExampleFencedError() {
	ctl, err := failover.NewController(failover.ControllerConfig{Name: "orders", Regions: []failover.Region{"us-east-1"}, Self: "us-east-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	stores, err := failover.New(ctl, []failover.Member[*store]{{Region: "us-east-1", Client: &store{}, Probe: func(context.Context, *store) error { return nil }}},
		failover.ClientConfig{Name: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = stores.Write(context.Background(), func(context.Context, *store, failover.Fence) error { return nil }) // Run has not begun
	fenced, ok := errors.AsType[*failover.FencedError](err)
	fmt.Println(ok, fenced.NotRun(), fenced.RetryAfter(), fenced.Reason)
	// Output: true true 5s nothing is known of the group's decision yet
}

// Any client will do: nothing wraps it, and each Region has its own.
func ExampleNew() {
	ctl, stop := start()
	defer stop()

	queues, err := failover.New(ctl, []failover.Member[*sqs.Client]{{
		Region: "us-east-1", Client: sqs.New(sqs.Options{Region: "us-east-1"}),
		Probe: func(ctx context.Context, c *sqs.Client) error {
			_, err := c.ListQueues(ctx, &sqs.ListQueuesInput{})
			return err
		},
	}}, failover.ClientConfig{Name: "queues", ProbeEvery: time.Hour})
	fmt.Println(queues != nil, err)

	caches, err := failover.New(ctl, []failover.Member[*redis.Client]{{
		Region: "us-east-1", Client: redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}),
		Probe: func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() },
	}}, failover.ClientConfig{Name: "cache", ProbeEvery: time.Hour, Advisory: true}) // losing a cache is not losing the Region
	fmt.Println(caches != nil, err)

	services, err := failover.New(ctl, []failover.Member[*http.Client]{{
		Region: "us-east-1", Client: &http.Client{Timeout: 5 * time.Second},
		Probe: func(context.Context, *http.Client) error { return nil },
		Drain: func(_ context.Context, c *http.Client) error { c.CloseIdleConnections(); return nil },
	}}, failover.ClientConfig{Name: "payments"})
	fmt.Println(services != nil, err)

	dialect := failoversql.PostgreSQL()
	databases, err := failover.New(ctl, []failover.Member[*sql.DB]{failoversql.Member(dialect, "us-east-1", &sql.DB{})},
		failover.ClientConfig{Name: "orders-db", Classify: dialect.Classify, ProbeEvery: time.Hour, Advisory: true})
	fmt.Println(databases != nil, err)
	// Output:
	// true <nil>
	// true <nil>
	// true <nil>
	// true <nil>
}
