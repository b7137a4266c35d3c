package steps

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// RebuildReplica makes the old primary a standby of the new one: rewind first, which is quick and discards what the new primary never
// received; if that fails, or the server does not follow within a minute of it, base, a full copy. Nil leaves either out. Both must
// leave the server started; [Cluster] has them for a server on this machine. The new primary gets a CHECKPOINT first: without it pg_rewind
// right after a promotion sees no new timeline and does nothing. Verified by the standby streaming from the new primary's cluster, on its
// timeline, which takes a user who may see pg_stat_wal_receiver.
func RebuildReplica(name string, primary, replica *sql.DB, rewind, base func(context.Context) error) runbook.Step {
	check := when(func(ctx context.Context) (bool, error) {
		err := following(ctx, primary, replica)
		if _, unasked := errors.AsType[*primaryError](err); unasked {
			return false, err
		}
		return err == nil, nil // a server that is down or broken is what the step is for
	})
	return runbook.Step{
		Name: name, Timeout: time.Hour, Phase: "rebuild", Check: check,
		Do: func(ctx context.Context) error {
			if _, err := primary.ExecContext(ctx, `checkpoint`); err != nil {
				return notRun{fmt.Errorf("checkpoint on the new primary: %w", err)}
			}
			rewound := rebuiltBy(ctx, primary, replica, rewind)
			if rewound == nil || base == nil || ctx.Err() != nil {
				return rewound
			}
			if err := rebuiltBy(ctx, primary, replica, base); err != nil {
				return fmt.Errorf("base backup after a failed rewind (%v): %w", rewound, err) //nolint:errorlint // what became of the base backup is the step's end
			}
			return nil
		},
	}
}

// rebuiltBy runs rebuild and waits until the replica follows.
func rebuiltBy(ctx context.Context, primary, replica *sql.DB, rebuild func(context.Context) error) error {
	if rebuild == nil {
		return errors.New("not tried")
	}
	if err := rebuild(ctx); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, followWithin)
	defer cancel()
	for {
		err := following(soon, primary, replica)
		if err == nil {
			return nil
		}
		if pause(soon, 200*time.Millisecond) != nil {
			return fmt.Errorf("the replica does not follow: %w", err)
		}
	}
}

// followWithin is how long a rebuilt server has to follow.
const followWithin = time.Minute

// A primaryError says that the new primary could not be asked.
type primaryError struct{ error }

func (e *primaryError) Unwrap() error { return e.error }

// following returns nil if replica streams from primary's cluster on primary's timeline.
func following(ctx context.Context, primary, replica *sql.DB) error {
	var cluster, streams string
	var timeline, received sql.NullInt64
	err := primary.QueryRowContext(ctx, `select system_identifier::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
		from pg_control_system()`).Scan(&cluster, &timeline)
	if err != nil {
		return &primaryError{fmt.Errorf("new primary: %w", err)}
	}
	err = replica.QueryRowContext(ctx, `select case when pg_is_in_recovery() and r.status = 'streaming' then system_identifier::text else 'none' end, r.received_tli
		from pg_control_system() left join pg_stat_wal_receiver r on true`).Scan(&streams, &received)
	switch {
	case err != nil:
		return fmt.Errorf("replica: %w", err)
	case streams != cluster:
		return fmt.Errorf("the replica streams from cluster %s, not %s", streams, cluster)
	case received != timeline:
		return fmt.Errorf("the replica is on timeline %d, the new primary on %d", received.Int64, timeline.Int64)
	}
	return nil
}

// A Cluster is a PostgreSQL server on this machine that is to follow another. Its methods are the functions of [RebuildReplica].
type Cluster struct {
	// Data is the server's data directory. Required.
	Data string

	// Source is the connection string of the new primary, of a user who may replicate and, for Rewind, read its files. Required. A
	// password belongs into the server user's pgpass file.
	Source string

	// Bin is the directory of PostgreSQL's programs. Empty means the PATH.
	Bin string

	// As begins every command line, such as "sudo", "-n", "-u", "postgres": the programs refuse to run as root.
	As []string

	// Stop and Start stop and start the server; Stop is called also when it does not run. Nil means pg_ctl.
	Stop, Start func(context.Context) error
}

// Rewind stops the server, takes it back with pg_rewind to where it diverged, and starts it as a standby. The server must have run with data
// checksums or wal_log_hints.
func (c Cluster) Rewind(ctx context.Context) error {
	if err := c.stop(ctx); err != nil {
		return err
	}
	if err := c.run(ctx, "pg_rewind", "--target-pgdata", c.Data, "--source-server", c.Source, "--write-recovery-conf"); err != nil {
		return err
	}
	return c.start(ctx)
}

// BaseBackup stops the server, replaces its data directory by a copy of the new primary's, configuration files included, and starts it as a
// standby. The old directory stays beside it with the ending ".diverged" and the run's token: whatever is only there is not lost yet.
func (c Cluster) BaseBackup(ctx context.Context) error {
	if err := c.stop(ctx); err != nil {
		return err
	}
	kept := filepath.Clean(c.Data) + ".diverged" + runbook.Token(ctx)
	err := c.run(ctx, "test", "-e", kept)
	if err == nil { // an earlier attempt of this run has moved it, and what is at Data now is its half copy
		err = c.run(ctx, "rm", "-rf", "--", c.Data)
	} else {
		err = c.run(ctx, "mv", "--", c.Data, kept)
	}
	if err != nil {
		return err
	}
	err = c.run(ctx, "pg_basebackup", "--pgdata", c.Data, "--dbname", c.Source, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast")
	if err != nil {
		return err
	}
	return c.start(ctx)
}

func (c Cluster) stop(ctx context.Context) error {
	if c.Stop != nil {
		return c.Stop(ctx)
	}
	if _, err := os.Stat(filepath.Join(c.Data, "postmaster.pid")); os.IsNotExist(err) {
		return nil
	}
	err := c.run(ctx, "pg_ctl", "--pgdata", c.Data, "--mode=fast", "--wait", "stop")
	if c.run(ctx, "pg_ctl", "--pgdata", c.Data, "status") == nil {
		return err
	}
	return nil // it does not run: killed, and its pid file stayed
}

func (c Cluster) start(ctx context.Context) error {
	if c.Start != nil {
		return c.Start(ctx)
	}
	return c.run(ctx, "pg_ctl", "--pgdata", c.Data, "--wait", "--log", filepath.Join(c.Data, "rebuilt.log"), "start")
}

func (c Cluster) run(ctx context.Context, program string, args ...string) error {
	if c.Bin != "" && strings.HasPrefix(program, "pg_") {
		program = filepath.Join(c.Bin, program)
	}
	return Exec(slices.Concat(c.As, []string{program}, args)...)(ctx)
}
