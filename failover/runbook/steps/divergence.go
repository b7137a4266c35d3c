package steps

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// A Divergence is where two sides differ in one table, by its key as text.
type Divergence struct {
	Table   string   `json:"table"`
	OnlyOld []string `json:"only_old,omitempty"` // on the old side alone: acknowledged there and lost, unless someone carries it over
	OnlyNew []string `json:"only_new,omitempty"` // on the new side alone: written since the switch, or a delete that was lost
	Changed []string `json:"changed,omitempty"`  // on both sides, with different contents
}

// Empty reports whether the two sides have the same.
func (d Divergence) Empty() bool { return len(d.OnlyOld)+len(d.OnlyNew)+len(d.Changed) == 0 }

// ListDivergence compares tables of the old and the new writer, row by row in the order of their keys, and hands what differs to report, a
// Divergence for each table. It reads both sides in one snapshot each and keeps only the differences in memory; a large table is
// better given as a view of the rows since the switch. tables maps each table to the expression of its key, unique and not null; both
// go into the statement as they are, so they must not come from outside. It runs when the old Region is back and before
// it is rebuilt, while nobody can write there.
func ListDivergence(name string, old, current *sql.DB, tables map[string]string, report func(context.Context, []Divergence) error) runbook.Step {
	return once(runbook.Step{Name: name, Phase: "list"}, func(ctx context.Context) error {
		before, err := snapshot(ctx, old)
		if err != nil {
			return fmt.Errorf("old side: %w", err)
		}
		defer before.Rollback()
		now, err := snapshot(ctx, current)
		if err != nil {
			return fmt.Errorf("new side: %w", err)
		}
		defer now.Rollback()
		var all []Divergence
		for _, table := range slices.Sorted(maps.Keys(tables)) {
			d, err := diverged(ctx, before, now, table, tables[table])
			if err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
			all = append(all, d)
		}
		return report(ctx, all)
	})
}

// snapshot begins a transaction that sees one instant and writes values as text in one way, whatever the server's settings are.
func snapshot(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	for _, set := range []string{`timezone = 'UTC'`, `datestyle = 'ISO'`, `intervalstyle = 'postgres'`, `extra_float_digits = 3`, `bytea_output = 'hex'`} {
		if _, err := tx.ExecContext(ctx, `set local `+set); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
	}
	return tx, nil
}

func diverged(ctx context.Context, old, current *sql.Tx, table, key string) (d Divergence, err error) {
	d.Table = table
	before, err := openRows(ctx, old, table, key)
	if err != nil {
		return d, fmt.Errorf("old side: %w", err)
	}
	defer before.rows.Close()
	now, err := openRows(ctx, current, table, key)
	if err != nil {
		return d, fmt.Errorf("new side: %w", err)
	}
	defer now.rows.Close()
	for before.more || now.more {
		switch {
		case !now.more || before.more && before.key < now.key:
			d.OnlyOld = append(d.OnlyOld, before.key)
			before.next()
		case !before.more || now.key < before.key:
			d.OnlyNew = append(d.OnlyNew, now.key)
			now.next()
		default:
			if before.contents != now.contents {
				d.Changed = append(d.Changed, now.key)
			}
			before.next()
			now.next()
		}
	}
	return d, errors.Join(before.err, now.err)
}

// A cursor walks the rows of a table in the order of their keys' bytes.
type cursor struct {
	rows          *sql.Rows
	key, contents string
	more          bool
	err           error
}

func openRows(ctx context.Context, tx *sql.Tx, table, key string) (*cursor, error) {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(`select (%s)::text collate "C", md5(t::text) from %s as t order by 1`, key, table))
	if err != nil {
		return nil, err
	}
	c := &cursor{rows: rows}
	c.next()
	return c, nil
}

func (c *cursor) next() {
	if c.more = c.rows.Next(); !c.more {
		c.err = c.rows.Err()
		return
	}
	if err := c.rows.Scan(&c.key, &c.contents); err != nil {
		c.more, c.err = false, err
	}
}
