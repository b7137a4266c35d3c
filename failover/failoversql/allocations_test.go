package failoversql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// Over a connection that holds the fence, Tx costs no more than a transaction that is bounded by a context with a deadline and fenced by nothing.
func TestTxAllocatesNoMoreThanAPlainTransaction(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	plain := sql.OpenDB(obliging{})
	held := sql.OpenDB(failoversql.Connector(obliging{}, func(driver.Conn) uint32 { return 1 }))
	t.Cleanup(func() { _, _ = plain.Close(), held.Close() })
	client := single(t, held)
	ctx := t.Context()
	bare := testing.AllocsPerRun(200, func() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		tx, err := plain.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	})
	fenced := testing.AllocsPerRun(200, func() {
		_, err := failoversql.Tx(ctx, client, dialect, func(context.Context, *sql.Tx) (int, error) { return 1, nil }, failover.Idempotent(failover.Replicated))
		if err != nil {
			t.Fatal(err)
		}
	})
	if fenced > bare {
		t.Errorf("Tx allocates %v times, want at most the %v of a plain transaction", fenced, bare)
	}
}

// An obliging database does nothing and agrees to everything.
type obliging struct{}

func (o obliging) Connect(context.Context) (driver.Conn, error) { return o, nil }
func (obliging) Driver() driver.Driver                          { return nil }
func (obliging) Prepare(string) (driver.Stmt, error)            { return nil, errors.New("not here") }
func (obliging) Close() error                                   { return nil }
func (o obliging) Begin() (driver.Tx, error)                    { return o, nil }
func (o obliging) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return o, nil
}
func (obliging) Commit() error   { return nil }
func (obliging) Rollback() error { return nil }
func (obliging) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), nil
}
