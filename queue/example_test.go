package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/aesgcm"
	"github.com/holdfast-go/holdfast/queue/queuetest"
	"github.com/holdfast-go/holdfast/queue/spool"
	"github.com/holdfast-go/holdfast/retry"
)

type chargeArgs struct {
	Order string
	Cents int
}

var charge = queue.Define[chargeArgs]("billing.charge.v1")

// A whole service: defer, run, drain.
func Example() {
	transport := holdfast.Must(queue.NewMemory(queue.MemoryConfig{}))
	client := holdfast.Must(queue.NewClient(transport, queue.ClientConfig{}))

	mux := queue.NewMux()
	ctx, stop := context.WithCancel(context.Background())
	queue.Handle(mux, charge, func(_ context.Context, c chargeArgs) error {
		fmt.Println("charged", c.Order, c.Cents)
		stop()
		return nil
	}, queue.HandlerConfig{})
	worker := holdfast.Must(queue.NewWorker(transport, mux, queue.WorkerConfig{}))

	receipt, err := charge.Defer(ctx, client, chargeArgs{"o-1", 4200})
	fmt.Println("deferred via", receipt.Via, err)
	fmt.Println(holdfast.Run(ctx, holdfast.Stage{worker.Run}, holdfast.Stage{client.Run}))
	// Output:
	// deferred via memory <nil>
	// charged o-1 4200
	// <nil>
}

// Try runs a call now and defers it when it was refused.
func ExampleCall_Try() {
	client := holdfast.Must(queue.NewClient(holdfast.Must(queue.NewMemory(queue.MemoryConfig{})), queue.ClientConfig{}))
	refused := func(context.Context, chargeArgs) error { return holdfast.NotRun(errors.New("breaker open")) }
	receipt, err := charge.Try(context.Background(), client, chargeArgs{"o-1", 4200}, refused)
	fmt.Println(receipt.Via, err)

	lost := func(context.Context, chargeArgs) error { return holdfast.Unknown(errors.New("reply lost")) }
	receipt, err = charge.Try(context.Background(), client, chargeArgs{"o-2", 100}, lost)
	fmt.Println(receipt.Ambiguous, err)
	// Output:
	// memory <nil>
	// true reply lost
}

// A spool takes what no Region does.
func ExampleClientConfig_spool() {
	dir := holdfast.Must(os.MkdirTemp("", "spool"))
	defer os.RemoveAll(dir)
	s := holdfast.Must(spool.Open(dir, spool.Config{}))
	defer s.Close()
	nowhere := holdfast.Must(queue.NewRegional(func() ([]string, string) { return nil, "" },
		map[string]queue.Transport{"eu-west-1": holdfast.Must(queue.NewMemory(queue.MemoryConfig{}))}, queue.RegionalConfig{}))
	client := holdfast.Must(queue.NewClient(nowhere, queue.ClientConfig{Spool: s, SpoolDurable: true}))

	receipt, err := charge.Defer(context.Background(), client, chargeArgs{"o-1", 4200})
	fmt.Println(receipt.Via, receipt.Durable, err)
	// Output: spool true <nil>
}

// Schedules of package retry serve as back-off.
func ExampleSchedule() {
	backoff := queue.Schedule(retry.Fixed(time.Second, time.Minute, time.Hour))
	fmt.Println(backoff(1), backoff(2), backoff(3))
	// Output: 1s 1m0s 1h0m0s
}

func ExampleSnooze() {
	mux := queue.NewMux()
	queue.Handle(mux, charge, func(_ context.Context, c chargeArgs) error {
		switch {
		case c.Cents == 0:
			return queue.Drop // nothing to do, ever
		case c.Cents < 0:
			return holdfast.Permanent(errors.New("negative amount")) // to the dead-letter queue
		case time.Now().Hour() < 6:
			return queue.Snooze(time.Hour) // later, and it is no attempt
		}
		return nil
	}, queue.HandlerConfig{})
}

// Redrive brings dead letters back: with a filter, at a rate, on record.
func ExampleRedrive() {
	memory := holdfast.Must(queue.NewMemory(queue.MemoryConfig{}))
	report, err := queue.Redrive(context.Background(), memory.DeadLetters(), memory,
		queue.Filter{Reasons: []queue.Reason{queue.ReasonAttempts}, Calls: []string{charge.Name()}},
		queue.RedriveConfig{By: "maria", Reason: "payments fixed in 4.2.1", DryRun: true, PerSecond: 20})
	fmt.Println(report.Seen, err)
	// Output: 0 <nil>
}

// A codec seals payloads before they leave the process.
func ExampleCodec() {
	codec := holdfast.Must(aesgcm.New("2026-11", map[string][]byte{"2026-11": make([]byte, 32)}))
	sealed, key, _ := codec.Seal(context.Background(), "billing.charge.v1/o-1", []byte(`{"cents":4200}`))
	opened, err := codec.Open(context.Background(), "billing.charge.v1/o-1", key, sealed)
	fmt.Println(key, string(opened), err)
	_, err = codec.Open(context.Background(), "billing.charge.v1/o-2", key, sealed)
	fmt.Println(err != nil)
	// Output:
	// 2026-11 {"cents":4200} <nil>
	// true
}

// A Ledger closes the account of a test or drill.
func ExampleLedger() {
	ledger := queue.NewLedger()
	memory := holdfast.Must(queue.NewMemory(queue.MemoryConfig{}))
	client := holdfast.Must(queue.NewClient(memory, queue.ClientConfig{Ledger: ledger}))
	_, _ = charge.Defer(context.Background(), client, chargeArgs{"o-1", 4200}, queue.ID("c-1"))

	r := ledger.Check(context.Background(), map[string]queue.Holding{"queue": memory})
	fmt.Println(r.Accepted, r.HeldBy["queue"], r.Balanced())
	r = ledger.Check(context.Background(), nil) // nobody was asked who holds it
	fmt.Println(r.Lost, r.Balanced())
	// Output:
	// 1 1 true
	// [c-1] false
}

// Code that defers calls is tested with a Recorder.
func ExampleDeferrer() {
	var rec queuetest.Recorder
	var d queue.Deferrer = &rec
	_, _ = charge.Defer(context.Background(), d, chargeArgs{"o-1", 4200})
	fmt.Println(len(rec.Calls()), rec.Calls()[0].Name)
	// Output: 1 billing.charge.v1
}

// A worker can be paused, and drained with a report.
func ExampleWorker_Drain() {
	memory := holdfast.Must(queue.NewMemory(queue.MemoryConfig{}))
	mux := queue.NewMux()
	queue.Handle(mux, charge, func(context.Context, chargeArgs) error { return nil }, queue.HandlerConfig{})
	worker := holdfast.Must(queue.NewWorker(memory, mux, queue.WorkerConfig{Poll: time.Second}))
	var wg sync.WaitGroup
	wg.Go(func() { _ = worker.Run(context.Background()) })
	worker.Pause()
	worker.Resume()
	report, err := worker.Drain(context.Background())
	wg.Wait()
	fmt.Println(report.LeftBehind, err)
	// Output: [] <nil>
}
