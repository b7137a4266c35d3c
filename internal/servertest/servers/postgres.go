//go:build unix

package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// pgUser is the superuser of every cluster, pgDatabase the database that clients use.
const (
	pgUser     = "holdfast"
	pgDatabase = "postgres"
)

// pgConfig is what both servers of a pair run with. Durability ends at the operating system: a
// killed server loses nothing it has committed, a machine that loses power would.
const pgConfig = `
fsync = off
wal_log_hints = on
wal_keep_size = 256MB
max_wal_senders = 10
max_connections = 200
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
wal_retrieve_retry_interval = 200ms
wal_receiver_timeout = 5s
wal_sender_timeout = 5s
`

// A Postgres is a PostgreSQL server: a primary, or a hot standby.
type Postgres struct {
	*Server
	bin      string // folder of the programs
	password string
}

// StartPostgres starts a primary and a standby that streams from it. As root it runs both as an
// unprivileged user. The caller closes both.
func StartPostgres(ctx context.Context, primary, standby Place) (*Postgres, *Postgres, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, nil, &MissingError{What: "PostgreSQL", Reason: err.Error()}
	}
	first, err := newPostgres(primary, bin, as, rand.Text())
	if err != nil {
		return nil, nil, err
	}
	if err := first.create(ctx); err != nil {
		return nil, nil, errors.Join(err, first.Close())
	}
	second, err := newPostgres(standby, bin, as, first.password)
	if err != nil {
		return nil, nil, errors.Join(err, first.Close())
	}
	if err := second.follow(ctx, first); err != nil {
		return nil, nil, errors.Join(err, second.Close(), first.Close())
	}
	return first, second, nil
}

func newPostgres(p Place, bin string, as *account, password string) (*Postgres, error) {
	pg := &Postgres{Server: (&Server{as: as, death: syscall.SIGQUIT}).init(p), bin: bin, password: password}
	dir, err := as.folder(filepath.Join(p.Dir, p.Name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	pg.dir = dir
	pg.argv = func(port int) []string {
		return []string{filepath.Join(bin, "postgres"), "-D", pg.data(), "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-k", ""}
	}
	pg.address = func(port int) string {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(pgUser, password), Host: loopback(port), Path: pgDatabase, RawQuery: "sslmode=disable"}
		return u.String()
	}
	pg.answers = func(ctx context.Context) error {
		_, err := pg.Query(ctx, "select 1")
		return err
	}
	pg.cleanup = pg.removeSharedMemory
	return pg, nil
}

func (pg *Postgres) data() string { return filepath.Join(pg.dir, "data") }

// create makes a new cluster and starts it.
func (pg *Postgres) create(ctx context.Context) error {
	secret := filepath.Join(pg.dir, "password")
	if err := os.WriteFile(secret, []byte(pg.password), 0o600); err != nil {
		return err
	}
	if pg.as != nil {
		if err := os.Chown(secret, pg.as.uid, pg.as.gid); err != nil {
			return err
		}
	}
	_, err := pg.run(ctx, "initdb", "-D", pg.data(), "-U", pgUser, "--pwfile", secret, "--auth=scram-sha-256",
		"--data-checksums", "--no-sync", "--locale=C", "--encoding=UTF8")
	if err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(pg.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(pgConfig)
	if err := errors.Join(err, conf.Close()); err != nil {
		return err
	}
	return pg.open(ctx)
}

// follow makes pg a standby of primary from a copy of its data, and waits until it streams.
func (pg *Postgres) follow(ctx context.Context, primary *Postgres) error {
	_, err := pg.runAt(ctx, primary, "pg_basebackup", "-D", pg.data(), "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	if err != nil {
		return err
	}
	if err := pg.open(ctx); err != nil {
		return err
	}
	return pg.awaitStream(ctx)
}

func (pg *Postgres) awaitStream(ctx context.Context) error {
	if !pg.becomes(ctx, "select count(*) = 1 from pg_stat_wal_receiver where status = 'streaming'") {
		return fmt.Errorf("%s: does not stream from its primary%s", pg.name, pg.lastWords())
	}
	return nil
}

// AwaitReplay waits until the standby pg shows all that primary has committed so far.
func (pg *Postgres) AwaitReplay(ctx context.Context, primary *Postgres) error {
	position, err := primary.Query(ctx, "select pg_current_wal_flush_lsn()")
	if err != nil {
		return err
	}
	if !pg.becomes(ctx, "select pg_last_wal_replay_lsn() >= '"+position+"'") {
		return fmt.Errorf("%s: does not replay up to %s%s", pg.name, position, pg.lastWords())
	}
	return nil
}

// becomes asks condition until its answer is true, for as long as a start may take.
func (pg *Postgres) becomes(ctx context.Context, condition string) bool {
	ctx, cancel := context.WithTimeout(ctx, startPatience())
	defer cancel()
	return poll(ctx, func() bool {
		out, err := pg.Query(ctx, condition)
		return err == nil && out == "t"
	})
}

// Promote makes a standby a primary and returns when it accepts writes.
func (pg *Postgres) Promote(ctx context.Context) error {
	out, err := pg.Query(ctx, "select pg_promote(true, 30)")
	if err == nil && out != "t" {
		err = errors.New("not finished within 30s")
	}
	if err != nil {
		return fmt.Errorf("%s: promote: %w", pg.name, err)
	}
	return nil
}

// Rejoin makes pg, which was a primary and may hold writes that primary never saw, a standby of
// primary: it discards them with pg_rewind, starts and waits until it streams.
func (pg *Postgres) Rejoin(ctx context.Context, primary *Postgres) error {
	pg.mu.Lock()
	err := pg.endLocked()
	pg.mu.Unlock()
	if err != nil {
		return err
	}
	// The timeline that pg_rewind compares with is written by the first checkpoint after a promotion.
	if _, err := primary.Query(ctx, "checkpoint"); err != nil {
		return err
	}
	source := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s", primary.port, pgUser, pgDatabase)
	if _, err := pg.runAt(ctx, primary, "pg_rewind", "-D", pg.data(), "--source-server", source, "--write-recovery-conf", "--no-sync"); err != nil {
		return err
	}
	if err := pg.Start(ctx); err != nil {
		return err
	}
	return pg.awaitStream(ctx)
}

// Query runs one statement with psql and returns its rows, columns separated by "|".
func (pg *Postgres) Query(ctx context.Context, sql string) (string, error) {
	return pg.runAt(ctx, pg, "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql)
}

// runAt runs one of PostgreSQL's client programs against the server at.
func (pg *Postgres) runAt(ctx context.Context, at *Postgres, program string, args ...string) (string, error) {
	return pg.runEnv(ctx, []string{
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(at.port), "PGUSER=" + pgUser, "PGPASSWORD=" + at.password,
		"PGDATABASE=" + pgDatabase, "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=5",
	}, program, args...)
}

func (pg *Postgres) run(ctx context.Context, program string, args ...string) (string, error) {
	return pg.runEnv(ctx, nil, program, args...)
}

// runEnv runs one of PostgreSQL's programs as the server's user.
func (pg *Postgres) runEnv(ctx context.Context, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(pg.bin, program), args...)
	cmd.Dir = pg.dir
	cmd.Env = append(os.Environ(), append(env, "HOME="+pg.dir, "LC_ALL=C")...)
	cmd.SysProcAttr = pg.as.attr(syscall.SIGKILL)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w: %s", pg.name, program, err, strings.TrimSpace(problems.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// removeSharedMemory removes the segment that a killed PostgreSQL leaves in the kernel. Its id
// is the last word of the seventh line of postmaster.pid, which a clean end removes.
func (pg *Postgres) removeSharedMemory() {
	data, err := os.ReadFile(filepath.Join(pg.data(), "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) < 7 {
		return
	}
	if key := strings.Fields(lines[6]); len(key) == 2 {
		exec.Command("ipcrm", "-m", key[1]).Run() //nolint:errcheck // gone already, or no ipcrm: 56 bytes stay until the next boot
	}
}
