package failoversql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// PostgreSQL returns the dialect of PostgreSQL 13 and later, with any driver whose errors have SQLState() (pgx, lib/pq).
func PostgreSQL() Dialect { return postgres{} }

type postgres struct{}

// Keys of advisory locks, "hold" and four letters in ASCII.
const (
	fenceLock = 0x686f6c64_66617374 // shared while a write may commit, exclusive while the epoch is raised
	heldLock  = 0x686f6c64_68656c64 // shared by sessions that hold fenceLock until they end
	gateLock  = 0x686f6c64_67617465 // shared while a session begins to hold, exclusive from before they are ended until the epoch is raised
	makeLock  = 0x686f6c64_6d616b65 // exclusive while Install runs: instances start together
)

func (postgres) Name() string { return "PostgreSQL" }

func (postgres) Install(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("failoversql: install: %w", err)
	}
	defer tx.Rollback()
	for _, statement := range []string{
		fmt.Sprintf(`select pg_advisory_xact_lock(%d)`, int64(makeLock)),
		`create table if not exists holdfast_fence (
			one boolean primary key default true check (one),
			epoch bigint not null check (epoch >= 0),
			decision text not null,
			learned timestamptz not null default now())`,
		`insert into holdfast_fence (epoch, decision) values (0, '') on conflict do nothing`,
		`create table if not exists holdfast_heartbeat (
			one boolean primary key default true check (one),
			at timestamptz not null)`,
		`create table if not exists holdfast_unknown_writes (
			id text primary key,
			client text not null,
			region text not null,
			epoch bigint not null,
			at timestamptz not null,
			error text not null)`,
		// Each statement of a volatile function sees what was committed before it began: the epoch is read after the lock is held.
		fmt.Sprintf(`create or replace function holdfast_check() returns table (epoch bigint, decision text) language plpgsql volatile as $$
			begin
				perform pg_advisory_xact_lock_shared(%d);
				return query select f.epoch, f.decision from holdfast_fence f;
			end $$`, int64(fenceLock)),
		fmt.Sprintf(`create or replace function holdfast_demand(wanted bigint, by text) returns void language plpgsql volatile as $$
			begin
				perform pg_advisory_xact_lock_shared(%d);
				if not exists (select from holdfast_fence f where f.epoch = wanted and f.decision = by) then
					raise exception 'holdfast: the fence knows another epoch' using errcode = 'HF001';
				end if;
			end $$`, int64(fenceLock)),
		// heldLock comes first: whoever holds fenceLock for its session can be found.
		fmt.Sprintf(`create or replace function holdfast_hold(wanted bigint, by text, process bigint) returns void language plpgsql volatile as $$
			begin
				if process <> pg_backend_pid() then
					raise exception 'holdfast: this session is a pooler''s' using errcode = 'HF002';
				end if;
				if current_setting('default_transaction_isolation') <> 'read committed' then
					raise exception 'holdfast: this session''s transactions need their level said' using errcode = 'HF002';
				end if;
				perform pg_advisory_xact_lock_shared(%[1]d);
				perform pg_advisory_lock_shared(%[2]d);
				perform pg_advisory_lock_shared(%[3]d);
				if not exists (select from holdfast_fence f where f.epoch = wanted and f.decision = by) then
					perform pg_advisory_unlock_shared(%[3]d);
					perform pg_advisory_unlock_shared(%[2]d);
					raise exception 'holdfast: the fence knows another epoch' using errcode = 'HF001';
				end if;
			end $$`, int64(gateLock), int64(heldLock), int64(fenceLock)),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("failoversql: install: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("failoversql: install: %w", err)
	}
	return nil
}

// Check takes the lock and reads the row in one round trip.
func (postgres) Check(ctx context.Context, tx *sql.Tx) (epoch uint64, decision string, err error) {
	var learned int64
	err = tx.QueryRowContext(ctx, `select epoch, decision from holdfast_check()`).Scan(&learned, &decision)
	return uint64(learned), decision, err
}

// OneTrip: a commit of a transaction in which a statement has failed is answered with a ROLLBACK that looks like success; a statement
// before it is not. The constraints would be checked then anyway.
func (postgres) OneTrip(fence failover.Fence) (begin, commit string) {
	decision, ok := literal(fence.DecisionID)
	if !ok {
		return "", ""
	}
	return fmt.Sprintf(`begin isolation level read committed; select holdfast_demand(%d, %s)`, fence.Epoch, decision),
		`set constraints all immediate; commit`
}

func (postgres) Hold(fence failover.Fence, process uint32) string {
	decision, ok := literal(fence.DecisionID)
	if !ok {
		return ""
	}
	return fmt.Sprintf(`select holdfast_hold(%d, %s, %d)`, fence.Epoch, decision, process)
}

// literal quotes text. What depends on the server's settings is not ok.
func literal(text string) (quoted string, ok bool) {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'", !strings.ContainsAny(text, "\\\x00")
}

// Raise may run again after anything but an answer: it does so as long as the pool may hand out sessions that an earlier one has ended.
func (p postgres) Raise(ctx context.Context, db *sql.DB, fence failover.Fence) error {
	for open := db.Stats().OpenConnections; ; open-- {
		err := raiseOnce(ctx, db, fence)
		switch {
		case err == nil:
			return nil
		case open <= 0 || ctx.Err() != nil || p.RolledBack(err):
			return fmt.Errorf("failoversql: raise: %w", err)
		}
	}
}

// raiseOnce runs on a connection that it gives up afterwards: it may be one that holds the fence itself.
func raiseOnce(ctx context.Context, db *sql.DB, fence failover.Fence) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	return raise(ctx, conn, fence)
}

func raise(ctx context.Context, conn *sql.Conn, fence failover.Fence) error {
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, lock := range []int64{gateLock, fenceLock} {
		var learned int64
		if err := tx.QueryRowContext(ctx, `select epoch from holdfast_fence`).Scan(&learned); err != nil || uint64(learned) >= fence.Epoch {
			return err
		}
		if lock == fenceLock {
			if err := endHolders(ctx, tx); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(`select pg_advisory_xact_lock(%d)`, lock)); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `update holdfast_fence set epoch = $1, decision = $2, learned = now() where epoch < $1`,
		int64(fence.Epoch), fence.DecisionID); err != nil {
		return err
	}
	return tx.Commit()
}

// endHolders ends the sessions that hold the fence, but this one. No new ones can begin to: the gate is shut.
func endHolders(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `select pg_terminate_backend(pid) from pg_locks
		where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
		and classid::bigint = $1 and objid::bigint = $2 and objsubid = 1 and granted and pid <> pg_backend_pid()`,
		int64(heldLock>>32), int64(heldLock&0xffffffff))
	if err != nil {
		return fmt.Errorf("ending sessions that hold the fence: %w", err)
	}
	return nil
}

func (postgres) Beat(ctx context.Context, db *sql.DB) error {
	var copied bool
	if err := db.QueryRowContext(ctx, `select pg_is_in_recovery()`).Scan(&copied); err != nil || copied {
		return err
	}
	_, err := db.ExecContext(ctx, `insert into holdfast_heartbeat (at) values (clock_timestamp())
		on conflict (one) do update set at = excluded.at where holdfast_heartbeat.at < excluded.at`)
	return err
}

func (postgres) Lag(ctx context.Context, db *sql.DB) (failover.LagSample, error) {
	var through sql.NullTime
	var epoch int64
	err := db.QueryRowContext(ctx, `select case when pg_is_in_recovery() then (select at from holdfast_heartbeat) else clock_timestamp() end, epoch
		from holdfast_fence`).Scan(&through, &epoch)
	if err != nil {
		return failover.LagSample{}, err
	}
	if !through.Valid {
		return failover.LagSample{}, errors.New("failoversql: no heartbeat has arrived")
	}
	return failover.LagSample{ReplicatedThrough: through.Time, MeasuredAt: time.Now(), Epoch: uint64(epoch)}, nil
}

func (postgres) Probe(ctx context.Context, db *sql.DB) error {
	var epoch int64
	return db.QueryRowContext(ctx, `select epoch from holdfast_fence`).Scan(&epoch)
}

func (postgres) Record(ctx context.Context, db *sql.DB, w failover.UnknownWrite) error {
	_, err := db.ExecContext(ctx, `insert into holdfast_unknown_writes (id, client, region, epoch, at, error) values ($1, $2, $3, $4, $5, $6)
		on conflict (id) do nothing`, w.ID, w.Client, w.Region, int64(w.Epoch), w.At, w.Error)
	return err
}

// Classify knows SQLSTATE classes (PostgreSQL manual, appendix A). Anything with an SQLSTATE that is not listed is an answer.
func (postgres) Classify(err error) failover.Class {
	if errors.Is(err, ErrStaleEpoch) {
		return failover.ClassRejected
	}
	code, ok := sqlState(err)
	broke, is := errors.AsType[*TxError](err)
	switch {
	case is && (!ok || broke.OutcomeUnknown()):
		return broke.Class()
	case !ok:
		return classifyDriver(err)
	}
	class := classOf(code)
	if is && class == failover.ClassUnknown {
		return failover.ClassNotSent // the session ended before COMMIT was sent: the database has rolled back
	}
	return class
}

func classOf(code string) failover.Class {
	switch {
	case code == "25006", strings.HasPrefix(code, "28"): // read-only, not authorised
		return failover.ClassRejected
	case code == "57P03": // starting up or shutting down
		return failover.ClassNotSent
	case code == "53300", code == "53400": // too many connections, a configured limit
		return failover.ClassOverload
	case code == "57P01", code == "57P02", code == "57P05", strings.HasPrefix(code, "08"): // the connection was ended
		return failover.ClassUnknown
	case strings.HasPrefix(code, "XX"), strings.HasPrefix(code, "58"): // internal and system errors
		return failover.ClassUnknown
	}
	return failover.ClassAnswer
}

// RolledBack: an SQLSTATE that does not say that the session was ended is the server's answer to the commit.
func (p postgres) RolledBack(err error) bool {
	_, ok := sqlState(err)
	return ok && p.Classify(err) == failover.ClassAnswer || err.Error() == commitRollback
}

// commitRollback is what pgx says when the server answers a commit with ROLLBACK because the transaction had failed.
const commitRollback = "commit unexpectedly resulted in rollback"

// sqlState returns the SQLSTATE of the server's answer, if err is one.
func sqlState(err error) (string, bool) {
	state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	if !ok {
		return "", false
	}
	return state.SQLState(), true
}

// classifyDriver classifies what is not the server's answer. Drivers say of some errors that nothing was sent.
func classifyDriver(err error) failover.Class {
	safe, ok := errors.AsType[interface {
		error
		SafeToRetry() bool
	}](err)
	if ok && safe.SafeToRetry() {
		return failover.ClassNotSent
	}
	return failover.Classify(err)
}
