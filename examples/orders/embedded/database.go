package embedded

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// Database is the SQL of the World's stores, which know PUT, GET, DELETE and FENCE. Rows are JSON under keys.
type Database struct{}

// The keys.
const (
	keyOrder   = "order/"         // an order by ID
	keyRecent  = "recent/"        // IDs by customer, the newest first
	keyStock   = "stock/"         // a service.StockItem by SKU
	keyUnknown = "unknown/"       // a failover.UnknownWrite by ID
	keyFence   = "holdfast/fence" // the learned epoch and the decision it belongs to
)

// KeyHeartbeat is the key of the heartbeat, for checks: every primary writes it, also one that has been replaced.
const KeyHeartbeat = "holdfast/heartbeat"

const kept = 50 // IDs of a customer

// cutOrder returns the order's ID if key is that of an order.
func cutOrder(key string) (id string, ok bool) { return strings.CutPrefix(key, keyOrder) }

// OrderKey is the key of an order in the stores, for checks.
func OrderKey(id string) string { return keyOrder + id }

// Save implements service.Database.
func (Database) Save(ctx context.Context, tx *sql.Tx, o service.Order) error {
	if err := put(ctx, tx, keyOrder+o.ID, o); err != nil {
		return err
	}
	var ids []string
	if err := get(ctx, tx, keyRecent+o.Customer, &ids); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if slices.Contains(ids, o.ID) {
		return nil
	}
	ids = append([]string{o.ID}, ids...)
	return put(ctx, tx, keyRecent+o.Customer, ids[:min(len(ids), kept)])
}

// Find implements service.Database.
func (Database) Find(ctx context.Context, q service.Querier, id string) (o service.Order, err error) {
	return o, get(ctx, q, keyOrder+id, &o)
}

// List implements service.Database.
func (d Database) List(ctx context.Context, db *sql.DB, customer string, limit int) ([]service.Order, error) {
	var ids []string
	if err := get(ctx, db, keyRecent+customer, &ids); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	orders := []service.Order{}
	for _, id := range ids[:min(len(ids), limit)] {
		o, err := d.Find(ctx, db, id)
		if err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	return orders, nil
}

// StockOf implements service.Database.
func (Database) StockOf(ctx context.Context, db *sql.DB, sku string) (item service.StockItem, err error) {
	return item, get(ctx, db, keyStock+sku, &item)
}

// fillWarehouse stocks every article of the catalogue.
func fillWarehouse(ctx context.Context, store *drtest.StoreClient) error {
	for sku := range service.Prices {
		row, err := json.Marshal(service.StockItem{SKU: sku, Quantity: 1000, Counted: time.Now().UTC()})
		if err != nil {
			return err
		}
		if err := store.Put(ctx, keyStock+sku, string(row), 0); err != nil {
			return err
		}
	}
	return nil
}

// An execer is a *sql.DB or a *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func put(ctx context.Context, e execer, key string, v any) error {
	row, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = e.ExecContext(ctx, "PUT ? ?", key, string(row))
	return err
}

func get(ctx context.Context, q service.Querier, key string, v any) error {
	var row string
	if err := q.QueryRowContext(ctx, "GET ?", key).Scan(&row); err != nil {
		return err
	}
	return json.Unmarshal([]byte(row), v)
}

// Name implements failoversql.Dialect, as all that follows.
func (Database) Name() string { return "drtest" }

// Install has nothing to do: rows appear when they are written.
func (Database) Install(context.Context, *sql.DB) error { return nil }

// learned is the row of the fence.
type learned struct {
	Epoch    uint64 `json:"epoch"`
	Decision string `json:"decision"`
}

// Check reads the fence, which replicates with the data, and binds the transaction to its epoch: the store refuses the commit if the epoch was
// raised meanwhile. A store that knows more than its row was promoted and has not met its new writer yet.
func (Database) Check(ctx context.Context, tx *sql.Tx) (epoch uint64, decision string, err error) {
	var row learned
	if err := get(ctx, tx, keyFence, &row); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, "", err
	}
	_, err = tx.ExecContext(ctx, "FENCE ?", row.Epoch)
	if !errors.Is(err, drtest.ErrFenced) {
		return row.Epoch, row.Decision, err
	}
	var known int64
	err = tx.QueryRowContext(ctx, "EPOCH").Scan(&known)
	return uint64(known), "", err
}

// OneTrip has nothing: the store takes a statement at a time.
func (Database) OneTrip(failover.Fence) (begin, commit string) { return "", "" }

// Hold binds a connection to the fence, if the row says the same. The store then refuses each commit of the connection once it knows more.
func (Database) Hold(fence failover.Fence, _ uint32) string {
	row, err := json.Marshal(learned{fence.Epoch, fence.DecisionID})
	if err != nil {
		return ""
	}
	return fmt.Sprintf("HOLD %d %s %s", fence.Epoch, keyFence, row)
}

// OpenSQL opens a database whose connections hold the fence: they are the store's sessions, and nothing in between shares them.
func OpenSQL(store driver.Connector) *sql.DB {
	return sql.OpenDB(failoversql.Connector(store, func(driver.Conn) uint32 { return 1 }))
}

// Raise writes the row and teaches the store in one commit, so that connections that hold a lower epoch are refused from then on. A copy
// refuses it, and so does a store that knows better.
func (d Database) Raise(ctx context.Context, db *sql.DB, fence failover.Fence) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	epoch, _, err := d.Check(ctx, tx)
	if err != nil || epoch >= fence.Epoch {
		return err
	}
	if err := put(ctx, tx, keyFence, learned{fence.Epoch, fence.DecisionID}); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "RAISE ?", fence.Epoch); err != nil {
		return err
	}
	if err := tx.Commit(); !errors.Is(err, drtest.ErrFenced) {
		return err
	}
	return nil // somebody has been quicker, or knows better: the next check tells
}

// Beat writes the instant to a primary, as [KeyHeartbeat]; a former primary that is back beats too.
func (Database) Beat(ctx context.Context, db *sql.DB) error {
	if err := put(ctx, db, KeyHeartbeat, time.Now().UTC()); !errors.Is(err, drtest.ErrReadOnly) {
		return err
	}
	return nil
}

// Lag reads the heartbeat: on a primary it is at most a second old.
func (Database) Lag(ctx context.Context, db *sql.DB) (sample failover.LagSample, err error) {
	var row learned
	if err := get(ctx, db, keyFence, &row); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return sample, err
	}
	sample.Epoch = row.Epoch
	err = get(ctx, db, KeyHeartbeat, &sample.ReplicatedThrough)
	sample.MeasuredAt = time.Now()
	return sample, err
}

// Record stores a write of unknown outcome.
func (Database) Record(ctx context.Context, db *sql.DB, w failover.UnknownWrite) error {
	return put(ctx, db, keyUnknown+w.ID, w)
}

// Probe reads a row.
func (Database) Probe(ctx context.Context, db *sql.DB) error {
	var row string
	err := db.QueryRowContext(ctx, "GET ?", KeyHeartbeat).Scan(&row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// RolledBack knows the store's own refusals.
func (Database) RolledBack(err error) bool {
	return errors.Is(err, drtest.ErrFenced) || errors.Is(err, drtest.ErrReadOnly)
}

// Classify knows the store's own refusals, and a missing row for an answer.
func (d Database) Classify(err error) failover.Class {
	switch broken, ok := errors.AsType[*failoversql.TxError](err); {
	case err == nil:
		return failover.ClassOK
	case errors.Is(err, failoversql.ErrStaleEpoch), d.RolledBack(err):
		return failover.ClassRejected
	case errors.Is(err, sql.ErrNoRows):
		return failover.ClassAnswer
	case ok:
		return broken.Class()
	}
	return failover.Classify(err)
}

var _ service.Database = Database{}
