package real

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// Database is the order tables in PostgreSQL.
type Database struct{ failoversql.Dialect }

var _ service.Database = Database{}

// Install creates the fence and the tables, and fills the warehouse once. Processes that start together wait for each other.
func (d Database) Install(ctx context.Context, db *sql.DB) error {
	if err := d.Dialect.Install(ctx, db); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, statement := range []string{
		`select pg_advisory_xact_lock(hashtext('orders install'))`,
		`create table if not exists orders (id text primary key, customer text not null, placed timestamptz not null, body jsonb not null)`,
		`create index if not exists orders_by_customer on orders (customer, placed desc)`,
		`create table if not exists stock (sku text primary key, quantity integer not null, counted timestamptz not null default now())`,
		`insert into stock (sku, quantity) values ('anvil', 1000), ('rope', 1000), ('magnet', 1000) on conflict do nothing`,
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Save implements service.Database, as all that follows.
func (Database) Save(ctx context.Context, tx *sql.Tx, o service.Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `insert into orders (id, customer, placed, body) values ($1, $2, $3, $4) on conflict (id) do update set body = excluded.body`,
		o.ID, o.Customer, o.Placed, string(body))
	return err
}

func (Database) Find(ctx context.Context, q service.Querier, id string) (o service.Order, err error) {
	var body []byte
	if err := q.QueryRowContext(ctx, `select body from orders where id = $1`, id).Scan(&body); err != nil {
		return o, err
	}
	return o, json.Unmarshal(body, &o)
}

func (Database) List(ctx context.Context, db *sql.DB, customer string, limit int) ([]service.Order, error) {
	rows, err := db.QueryContext(ctx, `select body from orders where customer = $1 order by placed desc limit $2`, customer, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	orders := []service.Order{}
	for rows.Next() {
		var body []byte
		var o service.Order
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	return orders, rows.Err()
}

func (Database) StockOf(ctx context.Context, db *sql.DB, sku string) (item service.StockItem, err error) {
	item.SKU = sku
	return item, db.QueryRowContext(ctx, `select quantity, counted from stock where sku = $1`, sku).Scan(&item.Quantity, &item.Counted)
}
