package degrade_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
)

// deps are what the service of the examples talks to.
type deps struct{ c *degrade.Controller }

func newDeps(region string) deps {
	return deps{holdfast.Must(degrade.New(degrade.Config{Region: region}))}
}

func Example() {
	ctx := context.Background()
	c := holdfast.Must(degrade.New(degrade.Config{}))
	db, replica := c.Dependency("orders-db", degrade.DependencyConfig{}), c.Dependency("replica", degrade.DependencyConfig{})
	checkout := c.Feature("checkout", degrade.FeatureConfig{Reads: degrade.AnyOf(db, replica), Writes: db})
	// go c.Run(ctx): polls, recovery, flags, overrides

	db.Report(degrade.StateDown)
	fmt.Println(checkout.Level())

	order, err := degrade.Read(ctx, checkout, func(context.Context) (string, error) { return "order 7", nil }, nil)
	fmt.Println(order, err)

	_, err = degrade.Write(ctx, checkout, func(context.Context) (string, error) { return "placed", nil }, nil)
	fmt.Println(errors.Is(err, degrade.ErrReadOnly))
	// Output:
	// read-only
	// order 7 <nil>
	// true
}

func ExampleRead() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	prices := c.Feature("prices", degrade.FeatureConfig{
		Reads:    c.Dependency("pricing", degrade.DependencyConfig{}),
		Fallback: degrade.AllOf(), // the list price needs nothing
		Exercise: 0.01,            // and is tried with one read in a hundred
		Reserve:  50 * time.Millisecond,
	})
	price, err := degrade.Read(context.Background(), prices,
		func(ctx context.Context) (int, error) { return 0, errors.New("pricing: 500") },
		func(ctx context.Context) (int, error) { return 42, nil })
	fmt.Println(price, err)
	// Output: 42 <nil>
}

func ExampleWrite() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	db := c.Dependency("orders-db", degrade.DependencyConfig{})
	checkout := c.Feature("checkout", degrade.FeatureConfig{Writes: db})
	db.Report(degrade.StateDown)
	receipt, err := degrade.Write(context.Background(), checkout,
		func(ctx context.Context) (string, error) { return "placed", nil },
		func(ctx context.Context) (string, error) { return "deferred", nil })
	fmt.Println(receipt, err)
	// Output: deferred <nil>
}

func ExampleReadResult() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	f := c.Feature("profile", degrade.FeatureConfig{})
	r, err := degrade.ReadResult(context.Background(), f,
		func(context.Context) (string, error) { return "", errors.New("gone") },
		func(context.Context) (string, error) { return "anonymous", nil })
	fmt.Println(r.Value, r.Source, r.Level, err)
	// Output: anonymous fallback normal <nil>
}

func ExampleController_Override() {
	ctx := context.Background()
	c := holdfast.Must(degrade.New(degrade.Config{}))
	checkout := c.Feature("checkout", degrade.FeatureConfig{})

	id, err := c.Override(ctx, degrade.Override{
		Feature: "checkout", Level: degrade.ReadOnly, TTL: 30 * time.Minute,
		Reason: "the payment provider double-charges", By: "ana",
	})
	fmt.Println(checkout.Level(), err)

	_, err = c.Override(ctx, degrade.Override{Feature: "checkout", Level: degrade.Offline, TTL: time.Hour, By: "ana"})
	fmt.Println(err)

	fmt.Println(c.Clear(ctx, id, degrade.Request{Reason: "fixed", By: "ana"}))
	// Output:
	// read-only <nil>
	// degrade: override refused: no reason given
	// <nil>
}

// What an outage leaves is known, and tested, before there is one.
func ExampleController_WhatIf() {
	c := newDeps("eu-west-1").c
	db, reco := c.Dependency("orders-db", degrade.DependencyConfig{}), c.Dependency("recommendations", degrade.DependencyConfig{})
	c.Feature("checkout", degrade.FeatureConfig{Writes: db, Optional: reco})
	c.Feature("browse", degrade.FeatureConfig{Reads: db})
	fmt.Println(c.WhatIf("orders-db"))
	_, err := c.WhatIf("order-db")
	fmt.Println(err)
	// Output:
	// map[browse:offline checkout:read-only] <nil>
	// degrade: WhatIf: there is no dependency "order-db"
}

func ExampleController_Matrix() {
	c := newDeps("eu-west-1").c
	db, reco := c.Dependency("orders-db", degrade.DependencyConfig{}), c.Dependency("reco", degrade.DependencyConfig{Home: "eu-west-1"})
	c.Feature("checkout", degrade.FeatureConfig{Writes: db, Optional: reco})
	fmt.Print(c.Matrix("eu-central-1"))
	// Output:
	// | what is gone | checkout |
	// |---|---|
	// | nothing | normal |
	// | orders-db | read-only |
	// | reco | limited |
	// | Region eu-west-1 | limited |
}

func ExampleController_Lint() {
	c := newDeps("eu-west-1").c
	fraud := c.Dependency("fraud-check", degrade.DependencyConfig{Home: "eu-west-1"})
	c.Feature("checkout", degrade.FeatureConfig{Writes: fraud})
	for _, problem := range c.Lint("eu-central-1") {
		fmt.Println(problem)
	}
	// Output: error: feature "checkout": in eu-central-1 dependency "fraud-check" of eu-west-1 can be lost, with neither stub nor fallback: the feature would be read-only
}

func ExampleNewStub() {
	// The fraud check exists in eu-west-1 only. In eu-central-1 a stub lets small orders pass.
	c := newDeps("eu-central-1").c
	fraud := c.Dependency("fraud-check", degrade.DependencyConfig{Home: "eu-west-1", Stubbed: true})
	checkout := c.Feature("checkout", degrade.FeatureConfig{Writes: fraud})
	check := degrade.NewStub(fraud,
		func(amount int) bool { panic("not reachable from here") },
		func(amount int) bool { return amount < 50 })
	fmt.Println(check.Pick(context.Background())(20), checkout.Level())
	// Output: true limited
}

func ExampleNewStale() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	catalogue := c.Feature("catalogue", degrade.FeatureConfig{})
	items := holdfast.Must(degrade.NewStale(catalogue, loadItem, degrade.StaleConfig{
		Fresh:           time.Minute,      // as good as new
		WhileRevalidate: time.Minute,      // served at once, refreshed beside
		IfError:         time.Hour,        // when the refresh fails
		WhenDegraded:    6 * time.Hour,    // at Limited and worse, without asking
		Backoff:         10 * time.Second, // after a failed refresh
	}))
	r, err := items.Get(context.Background(), 7)
	fmt.Println(r.Value, r.Source, err)
	// Output: item 7 primary <nil>
}

func loadItem(_ context.Context, id int) (string, error) { return fmt.Sprintf("item %d", id), nil }

func ExampleWatermark() {
	depth := func(context.Context) (float64, error) { return 12_000, nil }
	poll := holdfast.Must(degrade.Watermark(depth, degrade.Marks{ImpairedHigh: 1_000, ImpairedLow: 500, DownHigh: 10_000, DownLow: 5_000}))
	fmt.Println(poll(context.Background()))
	// Output: down <nil>
}

// A gate keeps the feature from taking new writes before the deferred ones are in.
func Example_gate() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	db := c.Dependency("orders-db", degrade.DependencyConfig{})
	checkout := c.Feature("checkout", degrade.FeatureConfig{
		Writes: db,
		Gate: func(ctx context.Context, from, to degrade.Level) error {
			if n := backlog(); from == degrade.ReadOnly && n > 100 {
				return fmt.Errorf("%d deferred orders are not in yet", n)
			}
			return nil
		},
	})
	fmt.Println(checkout.Level())
	// Output: normal
}

func backlog() int { return 0 }

func ExampleController_Subscribe() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	db := c.Dependency("orders-db", degrade.DependencyConfig{})
	c.Feature("checkout", degrade.FeatureConfig{Writes: db})
	c.Subscribe(func(e degrade.Event) {
		if e.Kind == degrade.EventLevel {
			fmt.Println(e.Name, e.From, "to", e.To, "because", e.Detail)
		}
	})
	db.Report(degrade.StateDown)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(c.Run(ctx)) // tells what is left to tell
	// Output:
	// checkout normal to read-only because orders-db is down
	// <nil>
}
