package service

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// A Database is a kind of SQL database: what the fence needs, and the statements of the order tables. A missing row is sql.ErrNoRows.
type Database interface {
	failoversql.Dialect

	// Save stores o, in place of what has its ID.
	Save(ctx context.Context, tx *sql.Tx, o Order) error

	// Find returns the order with this ID, in a transaction or out of one.
	Find(ctx context.Context, q Querier, id string) (Order, error)

	// List returns a customer's newest orders, the newest first.
	List(ctx context.Context, db *sql.DB, customer string, limit int) ([]Order, error)

	// StockOf returns what there is of sku.
	StockOf(ctx context.Context, db *sql.DB, sku string) (StockItem, error)
}

// A Querier is a *sql.DB or a *sql.Tx.
type Querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// errNoOrder: deferred calls of an order that was lost with its Region end with it, in the dead-letter queue, for a person.
var errNoOrder = holdfast.Permanent(errors.New("service: no such order"))

// databases tells the controller about the database of each Region.
func (s *Service) databases() []failover.Member[*sql.DB] {
	var members []failover.Member[*sql.DB]
	for _, r := range s.parts.Regions {
		m := failoversql.Member(s.parts.Database, r, s.parts.SQL[r])
		if s.parts.Capacity != nil {
			m.Capacity = func() int { return s.parts.Capacity(r) }
		}
		members = append(members, m)
	}
	return members
}

// errOtherOrder: the key's order is there and is another one. The guard refuses that as long as it remembers the key, which is a day.
var errOtherOrder = holdfast.Permanent(errors.New("service: the key was used for another order"))

// insert stores a new order. Running it again with the same key is the same order, in every Region.
func (s *Service) insert(ctx context.Context, o Order) (Order, error) {
	return failoversql.Tx(ctx, s.DB, s.parts.Database, func(ctx context.Context, tx *sql.Tx) (Order, error) {
		switch stored, err := s.parts.Database.Find(ctx, tx, o.ID); {
		case err == nil && !stored.sameAs(o):
			return Order{}, errOtherOrder
		case err == nil:
			return stored, nil
		case !errors.Is(err, sql.ErrNoRows):
			return Order{}, err
		}
		return o, s.parts.Database.Save(ctx, tx, o)
	}, failover.Idempotent(failover.Replicated))
}

// update changes an order that is there. change must give the same result when it runs again.
func (s *Service) update(ctx context.Context, id string, change func(Order) Order) (Order, error) {
	return failoversql.Tx(ctx, s.DB, s.parts.Database, func(ctx context.Context, tx *sql.Tx) (Order, error) {
		o, err := s.parts.Database.Find(ctx, tx, id)
		if errors.Is(err, sql.ErrNoRows) {
			return Order{}, errNoOrder
		}
		if err != nil {
			return Order{}, err
		}
		o = change(o)
		return o, s.parts.Database.Save(ctx, tx, o)
	}, failover.Idempotent(failover.Replicated))
}

// Freshness of reads: an order was written by who asks for it, stock by the warehouse.
const (
	ordersMaxStaleness = 10 * time.Second
	stockMaxStaleness  = time.Minute
)

// readAttempt is how long a read may take in one Region before the next is asked: a database that hangs says nothing, for as long as it is waited for.
const readAttempt = time.Second

// read reads within readAttempt in each Region, with options of [failover.Read].
func read[T any](ctx context.Context, s *Service, fn func(context.Context, *sql.DB) (T, error), opts ...failover.ReadOption) (T, error) {
	return failover.Read(ctx, s.DB, func(ctx context.Context, db *sql.DB) (T, error) {
		ctx, cancel := context.WithTimeout(ctx, readAttempt)
		defer cancel()
		return fn(ctx, db)
	}, opts...)
}

// find reads an order near this process, if the copy here is fresh enough. In bad times an old answer is better than none. What is not in
// the copy may be younger than it: that there is no such order only the writer's copy knows.
func (s *Service) find(ctx context.Context, id string) (Order, error) {
	o, err := read(ctx, s, func(ctx context.Context, db *sql.DB) (Order, error) {
		return s.parts.Database.Find(ctx, db, id)
	}, failover.MaxStaleness(ordersMaxStaleness), failover.AllowStale())
	if errors.Is(err, sql.ErrNoRows) {
		return s.found(ctx, id)
	}
	return o, err
}

// list reads a customer's newest orders, as find.
func (s *Service) list(ctx context.Context, customer string, limit int) ([]Order, error) {
	return read(ctx, s, func(ctx context.Context, db *sql.DB) ([]Order, error) {
		return s.parts.Database.List(ctx, db, customer, limit)
	}, failover.MaxStaleness(ordersMaxStaleness), failover.AllowStale())
}
