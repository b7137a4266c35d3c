package service_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// The embedded database holds its fence for a connection: its transactions take no statement for it, and none of them commits once
// the epoch was raised, also one that was begun before.
func TestEmbeddedFenceIsHeld(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east := w.Region(embedded.East)
		store := east.Store("orders")
		var statements atomic.Int64
		d := counting{checks: &statements}
		db := embedded.OpenSQL(store.Connector(east))
		defer db.Close()
		ctl := holdfast.Must(failover.NewController(failover.ControllerConfig{
			Regions: []failover.Region{embedded.East}, Self: embedded.East, Coordinator: failover.NewMemoryCoordinator(embedded.East), Fence: failover.FenceToken,
		}))
		client := holdfast.Must(failover.New(ctl, []failover.Member[*sql.DB]{failoversql.Member(d, embedded.East, db)}, failover.ClientConfig{Classify: d.Classify}))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = ctl.Run(ctx) })
		defer running.Wait()
		defer stop()
		for {
			if _, ok := ctl.Ready(); ok {
				break
			}
			time.Sleep(time.Second)
		}
		save := func(id string, before func()) error {
			_, err := failoversql.Tx(ctx, client, d, func(ctx context.Context, tx *sql.Tx) (struct{}, error) {
				err := d.Save(ctx, tx, service.Order{ID: id, Customer: "ann"})
				before()
				return struct{}{}, err
			})
			return err
		}
		nothing := func() {}
		if err := save("first", nothing); err != nil {
			t.Fatal(err)
		}
		checked := statements.Load()
		for _, id := range []string{"second", "third"} {
			if err := save(id, nothing); err != nil {
				t.Error(err)
			}
		}
		if got := statements.Load(); got != checked {
			t.Errorf("%d checks of the fence by transactions of a connection that holds it, want none", got-checked)
		}
		epoch, _ := ctl.Epoch()
		others := failover.Fence{Epoch: epoch + 2, Region: embedded.West, DecisionID: "theirs"}
		raise := func() {
			other := embedded.OpenSQL(store.Connector(east))
			defer other.Close()
			if err := d.Raise(ctx, other, others); err != nil {
				t.Errorf("Raise = %v", err)
			}
		}
		if err := save("begun before", raise); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("a transaction begun before the epoch was raised = %v, want ErrFenced", err)
		}
		if err := save("begun after", nothing); !errors.Is(err, drtest.ErrFenced) && !errors.Is(err, failoversql.ErrStaleEpoch) {
			t.Errorf("a transaction begun after = %v, want a refusal", err)
		}
		for _, id := range []string{"begun before", "begun after"} {
			if _, err := d.Find(ctx, db, id); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("order %q: %v, want none", id, err)
			}
		}
	})
}

// counting counts checks of the fence.
type counting struct {
	embedded.Database
	checks *atomic.Int64
}

func (c counting) Check(ctx context.Context, tx *sql.Tx) (uint64, string, error) {
	c.checks.Add(1)
	return c.Database.Check(ctx, tx)
}
