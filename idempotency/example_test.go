package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// newExampleGuard returns a guard on a store in memory.
func newExampleGuard(c idempotency.Config) *idempotency.Guard {
	store, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(store, c)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

func ExampleDo() {
	guard := newExampleGuard(idempotency.Config{Name: "orders"})
	key := idempotency.Key{Scope: "user 7", Op: "charge", ID: "order 1", Fingerprint: idempotency.Raw([]byte("12 EUR"))}
	for range 2 {
		receipt, info, err := idempotency.DoInfo(context.Background(), guard, key, func(context.Context) (string, error) {
			fmt.Println("charging the card")
			return "receipt 42", nil
		})
		fmt.Println(receipt, info.Replayed, err)
	}
	key.Fingerprint = idempotency.Raw([]byte("99 EUR"))
	_, err := idempotency.Do(context.Background(), guard, key, func(context.Context) (string, error) { return "", nil })
	fmt.Println(errors.Is(err, idempotency.ErrMismatch))
	// Output:
	// charging the card
	// receipt 42 false <nil>
	// receipt 42 true <nil>
	// true
}

func ExampleGuard_Once() {
	guard := newExampleGuard(idempotency.Config{Name: "worker"})
	for range 3 { // a queue delivers at least once
		err := guard.Once(context.Background(), "send-mail/0191d2a0", func(context.Context) error {
			fmt.Println("sending")
			return nil
		})
		fmt.Println(err)
	}
	// Output:
	// sending
	// <nil>
	// <nil>
	// <nil>
}

// A function in stages saves how far it got. The attempt after a crash, or after an outcome that nobody knows, goes on from there.
func ExampleAttempt_Checkpoint() {
	guard := newExampleGuard(idempotency.Config{Name: "orders", OnUnknown: idempotency.PolicyRerun})
	ship := func(ctx context.Context) error {
		attempt, _ := idempotency.From(ctx)
		if string(attempt.Saved) != "reserved" {
			fmt.Println("reserving")
			if err := attempt.Checkpoint(ctx, []byte("reserved")); err != nil {
				return err
			}
		}
		fmt.Println("shipping, attempt", attempt.Number)
		if attempt.Number == 1 {
			return context.DeadlineExceeded // did the carrier get it?
		}
		return nil
	}
	key := idempotency.Key{Op: "ship", ID: "order 1"}
	fmt.Println(guard.Do(context.Background(), key, ship))
	fmt.Println(guard.Do(context.Background(), key, ship))
	// Output:
	// reserving
	// shipping, attempt 1
	// context deadline exceeded
	// shipping, attempt 2
	// <nil>
}

// Reconcile asks the other side what became of an attempt, and so neither repeats nor loses it.
func ExampleConfig_reconcile() {
	atTheBank := map[string]string{}
	guard := newExampleGuard(idempotency.Config{
		Name: "payments", OnUnknown: idempotency.PolicyReconcile, OnAbandoned: idempotency.PolicyReconcile,
		Reconcile: func(_ context.Context, a *idempotency.Attempt) (any, bool, error) {
			receipt, done := atTheBank[a.Child("charge")]
			return receipt, done, nil
		},
	})
	charge := func(ctx context.Context) (string, error) {
		atTheBank[idempotency.ChildID(ctx, "charge")] = "receipt 42"
		return "", context.DeadlineExceeded // the answer was lost
	}
	key := idempotency.Key{Op: "charge", ID: "order 1"}
	_, err := idempotency.Do(context.Background(), guard, key, charge)
	fmt.Println(err)
	receipt, err := idempotency.Do(context.Background(), guard, key, charge)
	fmt.Println(receipt, err)
	// Output:
	// context deadline exceeded
	// receipt 42 <nil>
}

// A resource that remembers the highest fence refuses an attempt that was overtaken. In SQL:
//
//	UPDATE accounts SET balance = $1, fence = $2 WHERE id = $3 AND fence <= $2
func ExampleFence() {
	var stored idempotency.Fence
	write := func(f idempotency.Fence) bool {
		if f.Compare(stored) < 0 {
			return false
		}
		stored = f
		return true
	}
	slow, newer := idempotency.Fence{Epoch: 4, N: 900}, idempotency.Fence{Epoch: 5, N: 17}
	fmt.Println(write(newer), write(slow), slow.String() < newer.String())
	// Output: true false true
}

func ExampleGuard_Run() {
	guard := newExampleGuard(idempotency.Config{Name: "orders"})
	detached := guard.With(idempotency.Terms{MaxRun: time.Minute}) // calls outlive their callers
	caller, leave := context.WithCancel(context.Background())
	started, goOn := make(chan struct{}), make(chan struct{})
	go func() { <-started; leave() }()
	err := detached.Once(caller, "order 1", func(context.Context) error {
		close(started)
		<-goOn
		fmt.Println("done after all")
		return nil
	})
	fmt.Println(errors.Is(err, idempotency.ErrDetached))

	shutdown, stop := context.WithCancel(context.Background())
	stop()
	close(goOn)
	fmt.Println(guard.Run(shutdown))
	// Output:
	// true
	// done after all
	// <nil>
}

func ExampleNewRegional() {
	newStore := func() idempotency.Store { // redisstore.New, one per Region
		store, err := idempotency.NewMemory(idempotency.MemoryConfig{})
		if err != nil {
			log.Fatal(err)
		}
		return store
	}
	writer := "us-east-1"
	route := func() ([]string, string) { return []string{"us-east-1", "us-west-2"}, writer } // the failover controller's Route
	store, err := idempotency.NewRegional(route, map[string]idempotency.Store{"us-east-1": newStore(), "us-west-2": newStore()}, idempotency.RegionalConfig{})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(store, idempotency.Config{Name: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	charge := func(context.Context) error { fmt.Println("charging"); return nil }
	fmt.Println(guard.Once(context.Background(), "order 1", charge))
	writer = "us-west-2"
	fmt.Println(guard.Once(context.Background(), "order 1", charge), store.UnprotectedSince().IsZero())
	// Output:
	// charging
	// <nil>
	// <nil> true
}
