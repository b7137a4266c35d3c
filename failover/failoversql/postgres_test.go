package failoversql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

var dialect = failoversql.PostgreSQL()

func connect(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// connectOneTrip is connect by way of a Connector that does not know the server's process.
func connectOneTrip(t *testing.T, url string) *sql.DB {
	t.Helper()
	return connectBy(t, url, nil)
}

// connectHolding is connect by way of a Connector whose sessions hold the fence.
func connectHolding(t *testing.T, url string) *sql.DB {
	t.Helper()
	return connectBy(t, url, processID)
}

func processID(c driver.Conn) uint32 { return c.(*stdlib.Conn).Conn().PgConn().PID() }

func connectBy(t *testing.T, url string, processID func(driver.Conn) uint32) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(failoversql.Connector(stdlib.GetConnector(*config), processID))
	t.Cleanup(func() { db.Close() })
	return db
}

// A pool is a way to connect, on a server of its own if there is no server yet.
type pool struct {
	connect func(*testing.T, string) *sql.DB
	primary *servertest.Server
	name    string // of its database
}

// eachPool runs test over the driver's own connections and over those of both kinds of Connector, each in a database of one server.
func eachPool(t *testing.T, test func(*testing.T, pool)) {
	primary := servertest.Start(t, servertest.Postgres)
	t.Run("driver", func(t *testing.T) { test(t, pool{connect, primary, "driver"}) })
	t.Run("one trip", func(t *testing.T) { test(t, pool{connectOneTrip, primary, "one_trip"}) })
	t.Run("holding", func(t *testing.T) { test(t, pool{connectHolding, primary, "holding"}) })
}

// url is the address of the pool's database.
func (p pool) url(t *testing.T) string {
	t.Helper()
	address, err := url.Parse(p.primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if p.name != "" {
		address.Path = "/" + p.name
	}
	return address.String()
}

// single starts a one-Region controller that may write, over db.
func single(t *testing.T, db *sql.DB) *failover.Client[*sql.DB] {
	t.Helper()
	ctl, err := failover.NewController(failover.ControllerConfig{Regions: []failover.Region{"r"}, Self: "r", PollEvery: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c, err := failover.New(ctl, []failover.Member[*sql.DB]{failoversql.Member(dialect, "r", db)}, failover.ClientConfig{Classify: dialect.Classify})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ctl.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	for d := range ctl.Watch(t.Context()) {
		if epoch, _ := ctl.Epoch(); epoch != 0 || d.Epoch != 0 {
			break
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, ok := ctl.Ready(); ok {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal("the controller never became the writer")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func private(t *testing.T) (primary *servertest.Server, db *sql.DB) {
	t.Helper()
	return pool{connect: connect}.private(t)
}

func (p pool) private(t *testing.T) (primary *servertest.Server, db *sql.DB) {
	t.Helper()
	if p.primary == nil {
		p.primary = servertest.Start(t, servertest.Postgres)
	} else {
		p.primary.Query("create database " + p.name)
	}
	primary, db = p.primary, p.connect(t, p.url(t))
	if err := dialect.Install(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := dialect.Install(t.Context(), db); err != nil {
		t.Fatalf("second Install = %v, want nil", err)
	}
	if _, err := db.Exec(`create table effects (id int primary key, epoch text)`); err != nil {
		t.Fatal(err)
	}
	return primary, db
}

func insert(id int) func(context.Context, *sql.Tx) (int, error) {
	return func(ctx context.Context, tx *sql.Tx) (int, error) {
		_, err := tx.ExecContext(ctx, `insert into effects values ($1, 'x')`, id)
		return id, err
	}
}

func count(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(`select count(*) from effects`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Instances of a fleet start together.
func TestInstallRunsInManyPlacesAtOnce(t *testing.T) {
	_, db := private(t)
	errs := make(chan error)
	for range 16 {
		go func() {
			var err error
			for n := 0; n < 5 && err == nil; n++ {
				err = dialect.Install(t.Context(), db)
			}
			errs <- err
		}()
	}
	for range 16 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestTxTeachesAndObeysTheEpoch(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		direct := connect(t, p.url(t))
		c := single(t, db)
		if _, err := failoversql.Tx(t.Context(), c, dialect, insert(1)); err != nil {
			t.Fatal(err)
		}
		var learned int64
		if err := direct.QueryRow(`select epoch from holdfast_fence`).Scan(&learned); err != nil || learned != 1 {
			t.Errorf("learned epoch %d, %v, want 1", learned, err)
		}
		if err := dialect.Raise(t.Context(), db, failover.Fence{Epoch: 2, DecisionID: "other"}); err != nil {
			t.Fatal(err)
		}
		_, err := failoversql.Tx(t.Context(), c, dialect, insert(2))
		if !errors.Is(err, failoversql.ErrStaleEpoch) {
			t.Errorf("Tx below the learned epoch = %v, want ErrStaleEpoch", err)
		}
		if err := dialect.Raise(t.Context(), db, failover.Fence{Epoch: 1, DecisionID: "older"}); err != nil {
			t.Fatal(err)
		}
		if _, err := failoversql.Tx(t.Context(), c, dialect, insert(3)); !errors.Is(err, failoversql.ErrStaleEpoch) {
			t.Errorf("Tx after a lower Raise = %v, want ErrStaleEpoch: an epoch never falls", err)
		}
		if n := count(t, direct); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
	})
}

func TestTxRefusesAnEpochGrantedTwice(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		c := single(t, db)
		if err := dialect.Raise(t.Context(), db, failover.Fence{Epoch: 1, DecisionID: "another decision"}); err != nil {
			t.Fatal(err)
		}
		_, err := failoversql.Tx(t.Context(), c, dialect, insert(1))
		if stale, ok := errors.AsType[*failoversql.StaleEpochError](err); !ok || stale.Decision != "another decision" {
			t.Errorf("Tx = %v, want a StaleEpochError that names the other decision", err)
		}
	})
}

// Raise must not return while a transaction of the old epoch can still commit.
func TestRaiseWaitsForTransactionsThatPassedTheCheck(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		if p.name == "holding" {
			return // ends them instead: TestRaiseEndsSessionsThatHoldTheFence
		}
		_, db := p.private(t)
		c := single(t, db)
		inside, goOn := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		var committed, raised atomic.Int64
		wg.Go(func() {
			_, err := failoversql.Tx(t.Context(), c, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
				close(inside)
				<-goOn
				return insert(1)(ctx, tx)
			})
			if err != nil {
				t.Errorf("Tx = %v, want nil: it passed the check", err)
			}
			committed.Store(time.Now().UnixNano())
		})
		<-inside
		wg.Go(func() {
			if err := dialect.Raise(t.Context(), db, failover.Fence{Epoch: 9, DecisionID: "new"}); err != nil {
				t.Errorf("Raise = %v", err)
			}
			raised.Store(time.Now().UnixNano())
		})
		waitForLockWait(t, db)
		if raised.Load() != 0 {
			t.Error("Raise returned while a transaction of the old epoch was open")
		}
		close(goOn)
		wg.Wait()
		if n := count(t, db); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
	})
}

// waitForLockWait returns once a session waits for an advisory lock.
func waitForLockWait(t *testing.T, db *sql.DB) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		var waiting int
		if err := db.QueryRow(`select count(*) from pg_locks where locktype = 'advisory' and not granted`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
	}
	t.Fatal("nobody waits for the lock")
}

func TestErrorBeforeCommitDidNotRun(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		primary, db := p.private(t)
		c := single(t, db)
		_, err := failoversql.Tx(t.Context(), c, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
			if _, err := insert(1)(ctx, tx); err != nil {
				return 0, err
			}
			primary.Kill()
			_, err := insert(2)(ctx, tx)
			return 0, err
		})
		regions, ok := errors.AsType[*failover.RegionsError](err)
		if !ok || !regions.NotRun() {
			t.Fatalf("Tx over a killed server = %v, want an error that says it did not run", err)
		}
		primary.Restart()
		if n := count(t, connect(t, p.url(t))); n != 0 {
			t.Errorf("%d effects, want 0", n)
		}
	})
}

// cutAfterCommit is a proxy that forwards everything, but loses the answer to a COMMIT.
func cutAfterCommit(t *testing.T, target string) (addr string, armed *atomic.Bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	armed = new(atomic.Bool)
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(client, target, armed) })
		}
	})
	return l.Addr().String(), armed
}

func relay(client net.Conn, target string, armed *atomic.Bool) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var lost atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if armed.Load() && containsCommit(buf[:n]) {
				lost.Store(true)
			}
			if n > 0 {
				if _, err := server.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || lost.Load() {
			break // the answer of the COMMIT goes nowhere
		}
		if _, err := client.Write(buf[:n]); err != nil {
			break
		}
	}
	client.Close()
	wg.Wait()
}

func containsCommit(b []byte) bool {
	text := strings.ReplaceAll(strings.ToLower(string(b)), "committed", "") // the isolation level of BEGIN
	return strings.Contains(text, "commit")
}

func TestLostCommitIsUnknown(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, direct := p.private(t)
		through, err := url.Parse(p.url(t))
		if err != nil {
			t.Fatal(err)
		}
		addr, armed := cutAfterCommit(t, through.Host)
		through.Host = addr
		c := single(t, p.connect(t, through.String()))
		if _, err := failoversql.Tx(t.Context(), c, dialect, insert(1)); err != nil {
			t.Fatal(err)
		}
		armed.Store(true)
		_, err = failoversql.Tx(t.Context(), c, dialect, insert(2))
		unknown, ok := errors.AsType[*failover.UnknownOutcomeError](err)
		if !ok || unknown.Epoch != 1 {
			t.Fatalf("Tx whose commit got no answer = %v, want an UnknownOutcomeError of epoch 1", err)
		}
		if n := count(t, direct); n != 2 {
			t.Errorf("%d effects, want 2: the lost commit had happened", n)
		}
	})
}

func TestLagOfAStandby(t *testing.T) {
	primary, db := private(t)
	standby := connect(t, primary.Standby().Addr())
	if err := dialect.Beat(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	primary.Standby().AwaitReplay(primary)
	first, err := dialect.Lag(t.Context(), standby)
	if err != nil {
		t.Fatal(err)
	}
	if err := dialect.Beat(t.Context(), standby); err != nil {
		t.Errorf("Beat on a standby = %v, want nil and no write", err)
	}
	if err := dialect.Beat(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	primary.Standby().AwaitReplay(primary)
	second, err := dialect.Lag(t.Context(), standby)
	if err != nil || !second.ReplicatedThrough.After(first.ReplicatedThrough) {
		t.Errorf("second sample %v, %v, want one after %v", second.ReplicatedThrough, err, first.ReplicatedThrough)
	}
	_, err = standby.Exec(`insert into effects values (1, 'x')`)
	if got := dialect.Classify(err); got != failover.ClassRejected {
		t.Errorf("Classify(%v) = %v, want rejected", err, got)
	}
	primary.Kill()
	primary.Standby().Promote()
	if sample, err := dialect.Lag(t.Context(), standby); err != nil || time.Since(sample.ReplicatedThrough) > time.Minute {
		t.Errorf("Lag of a promoted standby = %v, %v, want now", sample, err)
	}
	if err := dialect.Probe(t.Context(), db); dialect.Classify(err).String() == "ok" {
		t.Errorf("Probe of a killed server = %v, want an error", err)
	}
}

func TestCheckHoldsUnderASerializableDefault(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		if _, err := db.Exec(`alter database ` + p.name + ` set default_transaction_isolation = 'serializable'`); err != nil {
			t.Fatal(err)
		}
		db.SetMaxIdleConns(0) // new connections take the new default
		c := single(t, db)
		level, err := failoversql.Tx(t.Context(), c, dialect, func(ctx context.Context, tx *sql.Tx) (level string, err error) {
			return level, tx.QueryRowContext(ctx, `show transaction_isolation`).Scan(&level)
		})
		if err != nil || level != "read committed" {
			t.Errorf("Tx runs at %q, %v, want read committed: a snapshot taken before the lock would miss a raised epoch", level, err)
		}
	})
}

func TestLedgerKeepsEachUnknownWriteOnce(t *testing.T) {
	_, db := private(t)
	ledger := failoversql.NewLedger(dialect, db)
	w := failover.UnknownWrite{ID: "w1", Client: "orders", Region: "r", Epoch: 1<<62 + 1, At: time.Now(), Error: "lost"}
	for range 2 {
		if err := ledger.Record(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	var epoch int64
	if err := db.QueryRow(`select count(*), max(epoch) from holdfast_unknown_writes`).Scan(&n, &epoch); err != nil || n != 1 || epoch != 1<<62+1 {
		t.Errorf("%d records, epoch %d, %v, want one with its epoch", n, epoch, err)
	}
}

func TestDrainDropsIdleConnectionsAndKeepsThePool(t *testing.T) {
	_, db := private(t)
	db.SetMaxIdleConns(8)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { _, _ = db.Exec(`select pg_sleep(0.1)`) })
	}
	wg.Wait()
	before := db.Stats()
	if before.Idle < 3 {
		t.Fatalf("%d idle connections to drain, want several", before.Idle)
	}
	if err := failoversql.Member(dialect, "r", db).Drain(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if after := db.Stats(); after.OpenConnections != 0 {
		t.Errorf("%d connections open after Drain, want none", after.OpenConnections)
	}
	if err := db.Ping(); err != nil {
		t.Errorf("Ping after Drain = %v, want nil", err)
	}
}

func TestSamplesTellTheLearnedEpoch(t *testing.T) {
	_, db := private(t)
	dbs := map[failover.Region]*sql.DB{"a": db, "b": db}
	tr := failover.Transition{ID: "t", From: "a", To: "b", Epoch: 5}
	if err := failoversql.FenceOld(dialect, dbs)(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if s, err := dialect.Lag(t.Context(), db); err != nil || s.Epoch != 6 {
		t.Errorf("sample after FenceOld has epoch %d, %v, want 6", s.Epoch, err)
	}
	if err := failoversql.Smoke(dialect, dbs)(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if s, err := dialect.Lag(t.Context(), db); err != nil || s.Epoch != 7 {
		t.Errorf("sample after Smoke has epoch %d, %v, want 7", s.Epoch, err)
	}
	if err := failoversql.Smoke(dialect, nil)(t.Context(), tr); err == nil {
		t.Error("Smoke without the Region's database = nil, want an error")
	}
}

// What a session that the server ends says depends on the instant; before COMMIT it is never an unknown outcome.
func TestASessionEndedBeforeCommitIsNotRun(t *testing.T) {
	for _, step := range []string{"begin", "fence", "run"} {
		for _, code := range []string{"57P01", "57P02", "08006", "XX000"} {
			err := &failoversql.TxError{Step: step, Err: sqlState(code)}
			if got := dialect.Classify(err); got != failover.ClassNotSent {
				t.Errorf("Classify(%v) = %v, want not_sent", err, got)
			}
		}
	}
	if got := dialect.Classify(&failoversql.TxError{Step: "commit", Err: sqlState("57P01")}); got != failover.ClassUnknown {
		t.Errorf("Classify of a commit whose session was ended = %v, want unknown", got)
	}
}

type sqlState string

func (s sqlState) Error() string    { return "server: SQLSTATE " + string(s) }
func (s sqlState) SQLState() string { return string(s) }
