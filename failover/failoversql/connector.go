package failoversql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/holdfast-go/holdfast/failover"
)

// Connector returns inner with one difference: the fence of [Tx] costs nothing, or next to it. All else, also transactions begun in
// other ways, goes to inner's connections as it is.
//
//	db := sql.OpenDB(failoversql.Connector(stdlib.GetConnector(*config), func(c driver.Conn) uint32 {
//		return c.(*stdlib.Conn).Conn().PgConn().PID()
//	}))
//
// [Tx] works over every *sql.DB, with one round trip for the fence. Over one of a Connector a connection takes the fence's lock once an
// epoch and for its session, and its transactions need no check: raising the epoch ends these sessions first, which takes the right to (see
// the package comment). That is sound only if
// the session is the connection's own, which a pooler between may break. So the database compares processID, which tells the server
// process that the driver was told it talks to, with its own: poolers do not pass that on. Where it differs, and with a nil processID,
// the fence goes with BEGIN in one round trip. That takes a driver that accepts several statements in an Exec without arguments, as pgx
// and lib/pq do. Whoever else uses an idle session that was ended sees what any ended session says. A session must not give up locks that it does not know: no DISCARD ALL, no pg_advisory_unlock_all in a function.
//
// The argument of [sql.Conn.Raw] is then not the driver's own connection but one whose Unwrap method returns that.
func Connector(inner driver.Connector, processID func(driver.Conn) uint32) driver.Connector {
	return connector{inner, processID}
}

type connector struct {
	driver.Connector
	processID func(driver.Conn) uint32
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	made := &conn{Conn: inner}
	if c.processID != nil {
		made.process = c.processID(inner)
	}
	return made, nil
}

// Close is called by sql.DB.Close.
func (c connector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// A ticket is the context of Tx's BeginTx. A connection of a Connector begins with it, checks its fence and says so.
type ticket struct {
	context.Context
	dialect Dialect
	fence   failover.Fence
	checked bool
}

type ticketKey struct{}

// Value makes the ticket findable.
func (t *ticket) Value(key any) any {
	if _, ok := key.(ticketKey); ok {
		return t
	}
	return t.Context.Value(key)
}

// A conn is a driver's connection. What the driver does not implement is answered as database/sql takes its absence.
type conn struct {
	driver.Conn
	broken  bool           // a transaction of unknown state may be open: the pool must not use it again
	process uint32         // the server's that the driver knows; 0: the session cannot hold a fence
	held    failover.Fence // that the session holds; its Epoch is 0 if none
	refused int            // how often in a row it was not given a fence that was right a moment later
}

// refusals is after how many of them a session is taken for one that cannot hold a fence. A single one may have met the moment in which the
// database learned the epoch.
const refusals = 3

// Unwrap returns the driver's connection.
func (c *conn) Unwrap() driver.Conn { return c.Conn }

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if t, ok := ctx.Value(ticketKey{}).(*ticket); ok {
		tx, err := c.beginFenced(ctx, t)
		if tx != nil || err != nil {
			return tx, err
		}
		if t.checked {
			return c.beginHeld(ctx, t)
		}
	}
	return c.begin(ctx, opts)
}

// beginHeld begins in a session that holds the fence, whose default level is the one that Tx asks for. If the session has been ended
// meanwhile, as Raise does, another one is as good: nothing has happened.
func (c *conn) beginHeld(ctx context.Context, t *ticket) (driver.Tx, error) {
	tx, err := c.begin(ctx, driver.TxOptions{})
	if err != nil && ctx.Err() == nil && !t.dialect.RolledBack(err) {
		c.broken = true
		return nil, driver.ErrBadConn
	}
	return tx, err
}

// begin begins as the driver does.
func (c *conn) begin(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if inner, ok := c.Conn.(driver.ConnBeginTx); ok {
		return inner.BeginTx(ctx, opts)
	}
	if opts.ReadOnly || opts.Isolation != driver.IsolationLevel(sql.LevelDefault) {
		return nil, errors.New("failoversql: the driver does not support transaction options")
	}
	return c.Conn.Begin() //lint:ignore SA1019 what database/sql does for such drivers
}

// beginFenced begins a transaction that has passed t's fence, or makes the session hold it. It returns nil and no error if the caller is
// to begin as usual: because it is held, or because the database answered no and Check will tell what it was.
func (c *conn) beginFenced(ctx context.Context, t *ticket) (driver.Tx, error) {
	t.checked = false // another connection may have failed after its check
	exec, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, nil
	}
	if err := c.hold(ctx, t, exec); err != nil || t.checked {
		return nil, err
	}
	begin, commit := t.dialect.OneTrip(t.fence)
	if begin == "" {
		return nil, nil
	}
	tx := &fencedTx{ctx: ctx, conn: c, exec: exec, commit: commit}
	if no, err := c.answered(ctx, t, exec, begin); no || err != nil {
		if no {
			err = tx.Rollback()
		}
		return nil, err
	}
	t.checked = true
	if c.refused++; c.refused == refusals {
		c.process = 0
	}
	return tx, nil
}

// hold sees to it that the session holds t's fence, if it can.
func (c *conn) hold(ctx context.Context, t *ticket, exec driver.ExecerContext) error {
	same := c.held.Epoch == t.fence.Epoch && c.held.DecisionID == t.fence.DecisionID
	if !same && c.process != 0 {
		statement := t.dialect.Hold(t.fence, c.process)
		if statement == "" {
			return nil
		}
		no, err := c.answered(ctx, t, exec, statement)
		if no || err != nil {
			return err
		}
		c.held, c.refused, same = t.fence, 0, true
	}
	t.checked = same
	return nil
}

// answered executes a statement. no: the database's answer was an error. Any other error leaves the session in an unknown state.
func (c *conn) answered(ctx context.Context, t *ticket, exec driver.ExecerContext, statement string) (no bool, err error) {
	_, err = exec.ExecContext(ctx, statement, nil)
	if err != nil && t.dialect.RolledBack(err) {
		return true, nil
	}
	c.broken = err != nil
	return false, err
}

// A fencedTx is a transaction that beginFenced began. It ends with its context, as BeginTx documents.
type fencedTx struct {
	ctx    context.Context
	conn   *conn
	exec   driver.ExecerContext
	commit string
}

// Commit returns the database's answer. Where that is an error the transaction may still be open.
func (t *fencedTx) Commit() error {
	_, err := t.exec.ExecContext(t.ctx, t.commit, nil)
	if err != nil {
		_ = t.Rollback()
	}
	return err
}

// Rollback gives the connection up if it fails: nobody knows what is still open there.
func (t *fencedTx) Rollback() error {
	_, err := t.exec.ExecContext(t.ctx, "rollback", nil)
	if err != nil {
		t.conn.broken = true
	}
	return err
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if inner, ok := c.Conn.(driver.ExecerContext); ok {
		return inner.ExecContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if inner, ok := c.Conn.(driver.QueryerContext); ok {
		return inner.QueryContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if inner, ok := c.Conn.(driver.ConnPrepareContext); ok {
		return inner.PrepareContext(ctx, query)
	}
	stmt, err := c.Conn.Prepare(query)
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), stmt.Close())
	}
	return stmt, err
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if inner, ok := c.Conn.(driver.NamedValueChecker); ok {
		return inner.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *conn) Ping(ctx context.Context) error {
	if inner, ok := c.Conn.(driver.Pinger); ok {
		return inner.Ping(ctx)
	}
	return nil
}

func (c *conn) ResetSession(ctx context.Context) error {
	if c.broken {
		return driver.ErrBadConn
	}
	if inner, ok := c.Conn.(driver.SessionResetter); ok {
		return inner.ResetSession(ctx)
	}
	return nil
}

// IsValid is asked when the pool takes the connection back.
func (c *conn) IsValid() bool {
	if inner, ok := c.Conn.(driver.Validator); ok && !inner.IsValid() {
		return false
	}
	return !c.broken
}
