package drtest

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"strings"
	"time"
)

// A connector opens connections from a Region to a store. Every statement is a round trip and ends with
// its context and that of its transaction: database/sql waits for statements under locks, so a driver that
// sleeps past either would stop virtual time.
type connector struct{ client *StoreClient }

// Connect takes the round trip of a handshake.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn := &sqlConn{client: c.client}
	if err := conn.Ping(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// Driver returns a driver that cannot open anything: there is no name for a store of a World.
func (c *connector) Driver() driver.Driver { return noDriver{} }

type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) {
	return nil, fmt.Errorf("drtest: a store is opened with sql.OpenDB(store.Connector(region))")
}

// A sqlConn is one connection. database/sql uses it from one goroutine at a time.
type sqlConn struct {
	client *StoreClient
	tx     *sqlTx
	held   uint64 // the epoch of HOLD, to which every transaction is bound
}

// Compile-time list of what database/sql may ask a connection for.
var _ interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
} = (*sqlConn)(nil)

func (c *sqlConn) Close() error { return nil }

func (c *sqlConn) Prepare(query string) (driver.Stmt, error) { return &sqlStmt{c, query}, nil }

func (c *sqlConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// Ping is a round trip.
func (c *sqlConn) Ping(ctx context.Context) error {
	return c.client.call(ctx, 0, func() error { return nil })
}

// BeginTx starts a transaction. Its writes become visible together when it commits.
func (c *sqlConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if err := c.Ping(ctx); err != nil {
		return nil, err
	}
	c.tx = &sqlTx{conn: c, ctx: ctx, epoch: c.held}
	return c.tx, nil
}

// A sqlTx holds back what it wrote until it commits.
type sqlTx struct {
	conn    *sqlConn
	ctx     context.Context // of BeginTx: Commit and Rollback get none
	epoch   uint64          // the commit fails if the store knows a later one
	raise   uint64          // the commit teaches it to the store; 0 for none
	entries []entry
}

func (t *sqlTx) Commit() error {
	t.conn.tx = nil
	return t.conn.client.call(t.ctx, 0, func() error { return t.conn.client.store.commit(t.epoch, t.raise, t.entries) })
}

func (t *sqlTx) Rollback() error {
	t.conn.tx = nil
	return nil
}

// call goes to the store and back. It ends with ctx and with the context of the transaction.
func (c *sqlConn) call(ctx context.Context, size int, f func() error) error {
	if c.tx == nil || c.tx.ctx.Done() == nil {
		return c.client.call(ctx, size, f)
	}
	tx := c.tx.ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(tx, cancel)()
	err := c.client.call(ctx, size, f)
	if err != nil && tx.Err() != nil {
		return tx.Err()
	}
	return err
}

// statements are what a store understands, with the number of their arguments.
var statements = map[string]int{"PUT ? ?": 2, "DELETE ?": 1, "FENCE ?": 1, "RAISE ?": 1, "GET ?": 1, "EPOCH": 0}

func parse(query string, args []driver.NamedValue) (verb string, values []string, err error) {
	if held, ok := strings.CutPrefix(query, "HOLD "); ok {
		if values = strings.SplitN(held, " ", 3); len(values) != 3 || len(args) != 0 {
			return "", nil, fmt.Errorf("drtest: HOLD wants an epoch, a key and a value in its text")
		}
		return "HOLD", values, nil
	}
	query = strings.Join(strings.Fields(query), " ")
	n, ok := statements[query]
	if !ok {
		return "", nil, fmt.Errorf("drtest: unknown statement %q, want PUT ? ?, GET ?, DELETE ?, FENCE ?, RAISE ?, HOLD or EPOCH", query)
	}
	if len(args) != n {
		return "", nil, fmt.Errorf("drtest: %s: %d arguments, want %d", query, len(args), n)
	}
	for _, a := range args {
		values = append(values, text(a.Value))
	}
	verb, _, _ = strings.Cut(query, " ")
	return verb, values, nil
}

func text(v driver.Value) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(v)
	}
}

// ExecContext runs PUT, DELETE, FENCE, RAISE and HOLD.
func (c *sqlConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	verb, values, err := parse(query, args)
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, len(query), func() error { return c.exec(verb, values) })
	return driver.RowsAffected(1), err
}

func (c *sqlConn) exec(verb string, values []string) error {
	switch verb {
	case "PUT":
		return c.write(entry{key: values[0], value: values[1]})
	case "DELETE":
		return c.write(entry{key: values[0], deleted: true})
	case "FENCE":
		return c.fence(values[0])
	case "RAISE":
		return c.raise(values[0])
	case "HOLD":
		return c.hold(values[0], values[1], values[2])
	}
	return fmt.Errorf("drtest: %s is a query", verb)
}

func (c *sqlConn) write(e entry) error {
	if c.tx == nil {
		return c.client.store.commit(0, 0, []entry{e})
	}
	c.tx.entries = append(c.tx.entries, e)
	return nil
}

// fence binds the transaction to an epoch; outside one it only teaches the store.
func (c *sqlConn) fence(value string) error {
	epoch, err := epochOf("FENCE", value)
	if err != nil {
		return err
	}
	if err := c.client.store.Fence(epoch); err != nil {
		return err
	}
	if c.tx != nil {
		c.tx.epoch = epoch
	}
	return nil
}

// raise lets the transaction's commit teach the store an epoch.
func (c *sqlConn) raise(value string) error {
	epoch, err := epochOf("RAISE", value)
	if err != nil {
		return err
	}
	if c.tx == nil {
		return fmt.Errorf("drtest: RAISE outside of a transaction")
	}
	c.tx.raise = epoch
	return nil
}

// hold binds the connection's transactions to an epoch, as FENCE does one, if key has exactly value.
func (c *sqlConn) hold(value, key, want string) error {
	epoch, err := epochOf("HOLD", value)
	if err != nil {
		return err
	}
	if got, _ := c.client.store.get(key); got != want {
		return fmt.Errorf("%w: HOLD: %q is %q, want %q", ErrFenced, key, got, want)
	}
	if err := c.client.store.Fence(epoch); err != nil {
		return err
	}
	c.held = epoch
	return nil
}

func epochOf(verb, value string) (epoch uint64, err error) {
	if _, err := fmt.Sscan(value, &epoch); err != nil {
		return 0, fmt.Errorf("drtest: %s: epoch %q: %w", verb, value, err)
	}
	return epoch, nil
}

// QueryContext runs GET and EPOCH.
func (c *sqlConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	verb, values, err := parse(query, args)
	if err != nil {
		return nil, err
	}
	rows := &sqlRows{}
	err = c.call(ctx, len(query), func() error { return c.query(verb, values, rows) })
	return rows, err
}

func (c *sqlConn) query(verb string, values []string, rows *sqlRows) error {
	switch verb {
	case "GET":
		if v, ok := c.get(values[0]); ok {
			rows.values = []driver.Value{v}
		}
		return nil
	case "EPOCH":
		rows.values = []driver.Value{int64(c.client.store.Epoch())}
		return nil
	}
	return fmt.Errorf("drtest: %s is not a query", verb)
}

// get reads a key as the transaction sees it.
func (c *sqlConn) get(key string) (string, bool) {
	if c.tx != nil {
		for i := len(c.tx.entries) - 1; i >= 0; i-- {
			if e := c.tx.entries[i]; e.key == key {
				return e.value, !e.deleted
			}
		}
	}
	return c.client.store.get(key)
}

// sqlRows is a result of one column and at most one row.
type sqlRows struct{ values []driver.Value }

func (r *sqlRows) Columns() []string { return []string{"value"} }
func (r *sqlRows) Close() error      { return nil }

func (r *sqlRows) Next(dest []driver.Value) error {
	if r.values == nil {
		return io.EOF
	}
	copy(dest, r.values)
	r.values = nil
	return nil
}

// A sqlStmt is a prepared statement: preparing is free.
type sqlStmt struct {
	conn  *sqlConn
	query string
}

func (s *sqlStmt) Close() error  { return nil }
func (s *sqlStmt) NumInput() int { return strings.Count(s.query, "?") }

func (s *sqlStmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

func (s *sqlStmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func (s *sqlStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s *sqlStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

func named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}
