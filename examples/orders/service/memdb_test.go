package service_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
)

// A mapDB is a database in memory that knows the statements of embedded.Database, without a network in between: for the benchmark. Its
// transactions are bound to epochs as those of a drtest.Store are; what they write is seen at once.
type mapDB struct {
	mu    sync.Mutex // guards the following
	rows  map[string]string
	epoch uint64
}

// openMap returns two pools of one database: one whose connections hold the fence, as the service has it, and a plain one.
func openMap() (fenced, plain *sql.DB) {
	db := &mapDB{rows: map[string]string{}}
	return embedded.OpenSQL(db), sql.OpenDB(db)
}

func (m *mapDB) Connect(context.Context) (driver.Conn, error) { return &mapConn{db: m}, nil }
func (m *mapDB) Driver() driver.Driver                        { return nil }

// A mapConn is a connection, and its transaction.
type mapConn struct {
	db                 *mapDB
	held, bound, raise uint64
}

func (*mapConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not here") }
func (*mapConn) Close() error                        { return nil }
func (c *mapConn) Begin() (driver.Tx, error)         { return c, nil }
func (c *mapConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	c.bound, c.raise = c.held, 0
	return c, nil
}
func (*mapConn) Rollback() error { return nil }

func (c *mapConn) Commit() error {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	if c.bound != 0 && c.bound < c.db.epoch {
		return drtest.ErrFenced
	}
	c.db.epoch = max(c.db.epoch, c.raise)
	return nil
}

func (c *mapConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	switch query {
	case "PUT ? ?":
		c.db.rows[args[0].Value.(string)] = args[1].Value.(string)
	case "FENCE ?":
		c.bound = uint64(args[0].Value.(int64))
	case "RAISE ?":
		c.raise = uint64(args[0].Value.(int64))
	default:
		return nil, c.holdLocked(strings.SplitN(query, " ", 4))
	}
	return driver.RowsAffected(1), nil
}

func (c *mapConn) holdLocked(words []string) (err error) {
	if words[0] != "HOLD" {
		return fmt.Errorf("unknown statement %q", words)
	}
	if c.db.rows[words[2]] != words[3] {
		return drtest.ErrFenced
	}
	c.held, err = strconv.ParseUint(words[1], 10, 64)
	return err
}

func (c *mapConn) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
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
