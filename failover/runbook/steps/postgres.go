package steps

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// PromotePostgres promotes a standby of PostgreSQL 12 or later with pg_promote and verifies that recovery has ended and the server is
// writable. It is the point of no return. It does not decide whether promoting is right: the failover controller's exposure
// guard has, before its runbook starts.
func PromotePostgres(name string, standby *sql.DB) runbook.Step {
	return runbook.Step{
		Name: name, PointOfNoReturn: true,
		Check: when(func(ctx context.Context) (writable bool, err error) {
			err = standby.QueryRowContext(ctx, `select not pg_is_in_recovery()`).Scan(&writable)
			return writable, err
		}),
		Do: func(ctx context.Context) error {
			var ok bool
			// Without waiting: the reply of a long wait is the one that gets lost. Verify polls.
			if err := standby.QueryRowContext(ctx, `select pg_promote(false)`).Scan(&ok); err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("pg_promote answered false")
			}
			return nil
		},
	}
}

// WaitReplication waits until standby has replayed everything that primary had written when the step began. It is for planned runs,
// with the writers stopped: while they write it says nothing about what comes after.
func WaitReplication(name string, primary, standby *sql.DB) runbook.Step {
	step := waitFor(name, when(func(ctx context.Context) (bool, error) {
		var written string
		if err := primary.QueryRowContext(ctx, `select pg_current_wal_lsn()::text`).Scan(&written); err != nil {
			return false, fmt.Errorf("primary: %w", err)
		}
		var replayed bool
		err := standby.QueryRowContext(ctx, `select coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)`, written).Scan(&replayed)
		if err != nil {
			return false, fmt.Errorf("standby: %w", err)
		}
		return replayed, nil
	}))
	step.Only = runbook.OnlyPlanned
	return step
}

// A Divergence is what one side has and the other lacks of one table, by its key as text.
type Divergence struct {
	Table   string
	OnlyOld []string // acknowledged by the old writer, absent from the new one: lost unless someone carries them over
	OnlyNew []string // written since the switch
}

// ListDivergence compares tables of the old and the new writer by key and hands what differs to report. It reads whole key columns: for
// tables that fit in memory, or views of the rows since the switch. tables maps each table to its key column; both names go into
// the statement as they are, so they must not come from outside. It runs when the old Region is back, before it is rebuilt.
func ListDivergence(name string, old, current *sql.DB, tables map[string]string, report func(context.Context, []Divergence) error) runbook.Step {
	done := false
	return runbook.Step{
		Name: name,
		Check: func(context.Context) (runbook.State, error) {
			if done { // of this process: listing again is harmless
				return runbook.StateDone, nil
			}
			return runbook.StateNeeded, nil
		},
		Do: func(ctx context.Context) error {
			var all []Divergence
			for table, key := range tables {
				d, err := diverged(ctx, old, current, table, key)
				if err != nil {
					return err
				}
				all = append(all, d)
			}
			if err := report(ctx, all); err != nil {
				return err
			}
			done = true
			return nil
		},
	}
}

func diverged(ctx context.Context, old, current *sql.DB, table, key string) (d Divergence, err error) {
	d.Table = table
	before, err := keys(ctx, old, table, key)
	if err != nil {
		return d, fmt.Errorf("old side: %w", err)
	}
	now, err := keys(ctx, current, table, key)
	if err != nil {
		return d, fmt.Errorf("new side: %w", err)
	}
	d.OnlyOld, d.OnlyNew = missing(before, now), missing(now, before)
	return d, nil
}

// keys returns the key column as text, sorted by bytes.
func keys(ctx context.Context, db *sql.DB, table, key string) (list []string, err error) {
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`select (%s)::text collate "C" from %s order by 1`, key, table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, rows.Err()
}

// missing returns what is in a but not in b; both are sorted.
func missing(a, b []string) (only []string) {
	for _, k := range a {
		for len(b) > 0 && b[0] < k {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != k {
			only = append(only, k)
		}
	}
	return only
}

// RebuildReplica makes the old primary a standby of the new one: rewind first, which is quick and discards what the new primary never
// received; if that fails, base, a full copy. Both are the operator's commands, such as pg_rewind and pg_basebackup through
// [Exec]; both must leave the server started. The new primary gets a CHECKPOINT first: without it pg_rewind right after a promotion
// sees no new timeline and does nothing. Verified by the standby being in recovery and streaming.
func RebuildReplica(name string, primary, replica *sql.DB, rewind, base func(context.Context) error) runbook.Step {
	return runbook.Step{
		Name: name,
		Check: when(func(ctx context.Context) (follows bool, err error) {
			err = replica.QueryRowContext(ctx, `select pg_is_in_recovery() and exists (select from pg_stat_wal_receiver where status = 'streaming')`).Scan(&follows)
			if err != nil {
				return false, nil // a server that is down or broken is what the step is for
			}
			return follows, nil
		}),
		Do: func(ctx context.Context) error {
			if _, err := primary.ExecContext(ctx, `checkpoint`); err != nil {
				return fmt.Errorf("checkpoint on the new primary: %w", err)
			}
			rewound := rewind(ctx)
			if rewound == nil {
				return nil
			}
			if base == nil || ctx.Err() != nil {
				return rewound
			}
			if err := base(ctx); err != nil {
				return fmt.Errorf("base backup after a failed rewind (%v): %w", rewound, err)
			}
			return nil
		},
	}
}
