package service_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
)

// A mapDB is a database in memory that knows the statements of embedded.Database, without a network in between: for the benchmark.
type mapDB struct {
	mu   sync.Mutex // guards rows
	rows map[string]string
}

func openMap() *sql.DB { return sql.OpenDB(&mapDB{rows: map[string]string{}}) }

func (m *mapDB) Connect(context.Context) (driver.Conn, error) { return mapConn{m}, nil }
func (m *mapDB) Driver() driver.Driver                        { return nil }

type mapConn struct{ db *mapDB }

func (mapConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not here") }
func (mapConn) Close() error                        { return nil }
func (c mapConn) Begin() (driver.Tx, error)         { return c, nil }
func (c mapConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return c, nil
}
func (mapConn) Commit() error   { return nil }
func (mapConn) Rollback() error { return nil }

func (c mapConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if query == "PUT ? ?" {
		c.db.mu.Lock()
		defer c.db.mu.Unlock()
		c.db.rows[args[0].Value.(string)] = args[1].Value.(string)
	}
	return driver.RowsAffected(1), nil
}

func (c mapConn) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	row, ok := c.db.rows[args[0].Value.(string)]
	return &mapRows{row, !ok}, nil
}

type mapRows struct {
	row  string
	done bool
}

func (*mapRows) Columns() []string { return []string{"value"} }
func (*mapRows) Close() error      { return nil }
func (r *mapRows) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	dest[0], r.done = r.row, true
	return nil
}
