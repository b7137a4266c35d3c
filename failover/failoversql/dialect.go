package failoversql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// A Dialect is what the fence needs from a kind of database. Implementations are safe for concurrent use.
type Dialect interface {
	// Name is the database's name in errors.
	Name() string

	// Install creates the fence, the heartbeat and the ledger if they are not there. It may run again.
	Install(ctx context.Context, db *sql.DB) error

	// Check compares fence with the epoch that the database has learned, within tx, so that the epoch cannot be raised before tx
	// ends. It returns the learned epoch and the decision it belongs to.
	Check(ctx context.Context, tx *sql.Tx) (epoch uint64, decision string, err error)

	// OneTrip returns statements that a transaction of fence begins and ends with, each to be sent at once. Those of begin start it at
	// read committed and fail unless Check would find exactly fence; those of commit also fail if a statement of the transaction has.
	// Empty if the database has no such thing.
	OneTrip(fence failover.Fence) (begin, commit string)

	// Hold returns a statement that makes the session hold fence until it ends. It fails unless Check would find exactly fence, if
	// the server's process is not the given one, and if read committed is not the session's default. Empty if the database has no such
	// thing.
	Hold(fence failover.Fence, process uint32) string

	// Raise makes the database learn fence's epoch, unless it knows that or a higher one. It ends sessions that Hold a fence, whose
	// transactions are rolled back, and waits for other transactions that passed the check.
	Raise(ctx context.Context, db *sql.DB, fence failover.Fence) error

	// Beat writes the current instant to the heartbeat row if db is a primary, and does nothing if it is a copy.
	Beat(ctx context.Context, db *sql.DB) error

	// Lag tells the newest commit instant present in db: now on a primary, the heartbeat's on a copy.
	Lag(ctx context.Context, db *sql.DB) (failover.LagSample, error)

	// Record stores a write of unknown outcome, once.
	Record(ctx context.Context, db *sql.DB, w failover.UnknownWrite) error

	// Probe asks db for something that touches storage.
	Probe(ctx context.Context, db *sql.DB) error

	// RolledBack reports whether err, of a commit, is the database's own word that nothing was committed. All else, also what a
	// driver claims to be safe to retry, is a lost answer.
	RolledBack(err error) bool

	// Classify says what an error of the driver means for routing.
	Classify(err error) failover.Class
}

// Member returns the failover member of one Region's database.
func Member(d Dialect, region failover.Region, db *sql.DB) failover.Member[*sql.DB] {
	return failover.Member[*sql.DB]{Region: region, Client: db, Probe: d.Probe, Lag: d.Lag, Drain: drain}
}

// drain closes the idle connections of a database that was switched away, so that no pool keeps writing to it. It leaves the
// pool's settings, which cannot be read, alone.
func drain(ctx context.Context, db *sql.DB) error {
	var held []*sql.Conn
	for range db.Stats().Idle { // all at once, or the pool would hand out the same one again
		conn, err := db.Conn(ctx)
		if err != nil {
			break // nothing idle is left, and no new one can be made
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // makes the pool drop it
		conn.Close()
	}
	return nil
}

// beatEvery is the interval of the heartbeat row.
const beatEvery = time.Second

// Beat writes the heartbeat of db every second until ctx ends, then returns nil. It is a function for a stage of holdfast.Run.
// Errors are passed over: a heartbeat that stops is what the exposure guard is there to see.
func Beat(d Dialect, db *sql.DB) func(context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(beatEvery)
		defer ticker.Stop()
		for {
			bounded, cancel := context.WithTimeout(ctx, beatEvery)
			_ = d.Beat(bounded, db)
			cancel()
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	}
}

// Smoke returns a ControllerConfig.Smoke that makes the new writer's database learn its epoch, which also shows that it takes writes. From
// then on a former writer's samples are known to be that. dbs holds every Region's.
func Smoke(d Dialect, dbs map[failover.Region]*sql.DB) func(context.Context, failover.Transition) error {
	return func(ctx context.Context, t failover.Transition) error {
		db := dbs[t.To]
		if db == nil {
			return fmt.Errorf("failoversql: no database of Region %q", t.To)
		}
		return d.Raise(ctx, db, failover.Fence{Epoch: t.Epoch + 2, Region: t.To, DecisionID: t.ID})
	}
}

// A Ledger keeps writes of unknown outcome in a database's table holdfast_unknown_writes. Use one that does not share the fate of the
// writes: another Region's, or another cluster.
type Ledger struct {
	dialect Dialect
	db      *sql.DB
}

// NewLedger returns a [failover.Ledger] in db, in which the dialect is installed.
func NewLedger(d Dialect, db *sql.DB) *Ledger { return &Ledger{d, db} }

// Record stores w and returns when it is committed.
func (l *Ledger) Record(ctx context.Context, w failover.UnknownWrite) error {
	if err := l.dialect.Record(ctx, l.db, w); err != nil {
		return fmt.Errorf("failoversql: ledger: %w", err)
	}
	return nil
}

// FenceOld returns a ControllerConfig.FenceOld that makes the old Region's database learn the new epoch. dbs holds every Region's.
func FenceOld(d Dialect, dbs map[failover.Region]*sql.DB) func(context.Context, failover.Transition) error {
	return func(ctx context.Context, t failover.Transition) error {
		db := dbs[t.From]
		if db == nil {
			return fmt.Errorf("failoversql: no database of Region %q", t.From)
		}
		return d.Raise(ctx, db, failover.Fence{Epoch: t.Epoch + 1, Region: t.To, DecisionID: t.ID})
	}
}
