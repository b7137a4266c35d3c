package failoversql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/failover"
)

// ErrStaleEpoch matches the refusal of a transaction whose epoch is below the one that the database has learned.
var ErrStaleEpoch = errors.New("failoversql: stale epoch")

// A StaleEpochError says that the database knows a newer writer. The transaction was rolled back. errors.Is(err, ErrStaleEpoch) holds.
type StaleEpochError struct {
	Fence    failover.Fence // of the transaction
	Learned  uint64         // the database's epoch
	Decision string         // that it belongs to
}

// Error names both epochs.
func (e *StaleEpochError) Error() string {
	if e.Learned == e.Fence.Epoch {
		return fmt.Sprintf("failoversql: epoch %s was granted twice: the database knows decision %q, the write carries %q",
			e.Fence.Token(), e.Decision, e.Fence.DecisionID)
	}
	return fmt.Sprintf("failoversql: write of epoch %s refused: the database has learned %s", e.Fence.Token(), failover.FormatEpoch(e.Learned))
}

// Is matches [ErrStaleEpoch].
func (e *StaleEpochError) Is(target error) bool { return target == ErrStaleEpoch }

// NotRun is true: the transaction was rolled back.
func (e *StaleEpochError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *StaleEpochError) OutcomeUnknown() bool { return false }

// A TxError is the error of a transaction whose connection failed. Before the commit nothing has happened; a commit
// without an answer is unknown.
type TxError struct {
	Step string // "begin", "fence", "run" or "commit"
	Err  error
}

// Error names the step.
func (e *TxError) Error() string {
	return fmt.Sprintf("failoversql: transaction broke off at %s: %v", e.Step, e.Err)
}

// Unwrap returns the driver's error.
func (e *TxError) Unwrap() error { return e.Err }

// NotRun is true before the commit was sent.
func (e *TxError) NotRun() bool { return e.Step != "commit" }

// OutcomeUnknown is true for a commit without an answer.
func (e *TxError) OutcomeUnknown() bool { return e.Step == "commit" }

// Tx runs fn in a transaction of the writer's database that the database accepts only at this process's epoch: begin, check the
// fence, fn, commit. The isolation level is read committed. fn's context ends with the lease. Errors: those of [failover.Write]; a [*StaleEpochError]; a
// [*TxError]; fn's own, after a rollback. A lost commit is a [*failover.UnknownOutcomeError].
func Tx[R any](ctx context.Context, c *failover.Client[*sql.DB], d Dialect, fn func(context.Context, *sql.Tx) (R, error), opts ...failover.WriteOption) (R, error) {
	return failover.Write(ctx, c, func(ctx context.Context, db *sql.DB, fence failover.Fence) (R, error) {
		return fenced(ctx, db, d, fence, fn)
	}, opts...)
}

// fenced runs one transaction. A database that has not learned the epoch yet learns it first.
func fenced[R any](ctx context.Context, db *sql.DB, d Dialect, fence failover.Fence, fn func(context.Context, *sql.Tx) (R, error)) (R, error) {
	var zero R
	for raised := false; ; raised = true {
		v, behind, err := once(ctx, db, d, fence, fn)
		if !behind {
			return v, err
		}
		if raised {
			return zero, &TxError{Step: "fence", Err: fmt.Errorf("%s still has not learned epoch %s", d.Name(), fence.Token())}
		}
		if err := d.Raise(ctx, db, fence); err != nil {
			return zero, &TxError{Step: "fence", Err: err}
		}
	}
}

// readCommitted is the level of every transaction, whatever the database's default: under a higher one the snapshot is older than the fence's
// lock, and the check would pass on an epoch that has just been raised.
var readCommitted = sql.TxOptions{Isolation: sql.LevelReadCommitted}

// once runs begin, fence, fn, commit. behind: nothing was done, the database knows only a lower epoch.
func once[R any](ctx context.Context, db *sql.DB, d Dialect, fence failover.Fence, fn func(context.Context, *sql.Tx) (R, error)) (v R, behind bool, err error) {
	pass := &ticket{Context: ctx, dialect: d, fence: fence}
	tx, err := db.BeginTx(pass, &readCommitted)
	if err != nil {
		return v, false, &TxError{Step: "begin", Err: err}
	}
	defer tx.Rollback() // does nothing after a commit
	learned, decision := fence.Epoch, fence.DecisionID
	if !pass.checked {
		learned, decision, err = d.Check(ctx, tx)
	}
	switch {
	case err != nil:
		return v, false, &TxError{Step: "fence", Err: err}
	case learned < fence.Epoch:
		return v, true, nil
	case learned > fence.Epoch, decision != fence.DecisionID:
		return v, false, &StaleEpochError{Fence: fence, Learned: learned, Decision: decision}
	}
	result, err := fn(ctx, tx)
	if err != nil {
		return result, false, broken(d, err)
	}
	if err := tx.Commit(); err != nil {
		if d.RolledBack(err) {
			return v, false, err
		}
		return v, false, &TxError{Step: "commit", Err: err}
	}
	return result, false, nil
}

// broken marks an error of the function that is the connection's: whatever it says of itself, the database rolls
// back. An answer of the application or the database stays as it is.
func broken(d Dialect, err error) error {
	switch d.Classify(err) {
	case failover.ClassNotSent, failover.ClassUnknown, failover.ClassNeutral:
		return &TxError{Step: "run", Err: err}
	}
	return err
}

// Class is what a TxError means for routing: a connection that failed speaks against the Region, a wait for
// a place in the pool does not. Dialects call it.
func (e *TxError) Class() failover.Class {
	switch {
	case e.Step == "commit":
		return failover.ClassUnknown
	case e.Step == "begin" && (e.Err == context.DeadlineExceeded || e.Err == context.Canceled): //nolint:errorlint // bare: database/sql returns these so only while it waits for a connection
		return failover.ClassNeutral
	}
	return failover.ClassNotSent
}
