package failoversql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// A session that holds the fence needs no check and no statement more; raising the epoch ends it, with what it was about to commit.
func TestRaiseEndsSessionsThatHoldTheFence(t *testing.T) {
	primary, db := pool{connect: connectHolding}.private(t)
	direct := connect(t, primary.Addr())
	c := single(t, db)
	db.SetMaxIdleConns(4)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if _, err := failoversql.Tx(t.Context(), c, dialect, insert(100+i)); err != nil {
				t.Errorf("Tx = %v", err)
			}
		})
	}
	wg.Wait()
	inside, goOn := make(chan struct{}), make(chan struct{})
	var txErr error
	wg.Go(func() {
		_, txErr = failoversql.Tx(t.Context(), c, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
			if _, err := insert(1)(ctx, tx); err != nil {
				return 0, err
			}
			close(inside)
			<-goOn
			return 0, nil
		})
	})
	<-inside
	bounded, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := dialect.Raise(bounded, db, failover.Fence{Epoch: 9, DecisionID: "new"}); err != nil {
		t.Fatalf("Raise = %v", err)
	}
	close(goOn)
	wg.Wait()
	if txErr == nil {
		t.Error("Tx whose session was ended = nil, want an error")
	}
	if n := count(t, direct); n != 4 {
		t.Errorf("%d effects, want 4: the transaction in flight was rolled back", n)
	}
	if _, err := failoversql.Tx(t.Context(), c, dialect, insert(2)); !errors.Is(err, failoversql.ErrStaleEpoch) {
		t.Errorf("Tx after Raise = %v, want ErrStaleEpoch", err)
	}
	for range 3 { // again and again: knows it already, and ends nobody's session
		if err := dialect.Raise(bounded, db, failover.Fence{Epoch: 9, DecisionID: "new"}); err != nil {
			t.Errorf("Raise of a known epoch = %v", err)
		}
	}
}

// TestWhatTheFenceSends pins what the driver sends for one fenced transaction.
func TestWhatTheFenceSends(t *testing.T) {
	for _, c := range []struct {
		name      string
		processID func(driver.Conn) uint32
		want      []string
	}{
		{"a session that holds the fence", processID, []string{"begin", "insert into effects values ($1, 'x')", "commit"}},
		{"no process known", nil, []string{
			"begin isolation level read committed; select holdfast_demand(1, 'd')", "insert into effects values ($1, 'x')", "set constraints all immediate; commit",
		}},
		{"a pooler between", func(c driver.Conn) uint32 { return processID(c) + 1 }, []string{
			"begin isolation level read committed; select holdfast_demand(1, 'd')", "insert into effects values ($1, 'x')", "set constraints all immediate; commit",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			primary, _ := private(t)
			config, err := pgx.ParseConfig(primary.Addr())
			if err != nil {
				t.Fatal(err)
			}
			sent := &tracer{}
			config.Tracer = sent
			db := sql.OpenDB(failoversql.Connector(stdlib.GetConnector(*config), c.processID))
			defer db.Close()
			db.SetMaxOpenConns(1)
			client := single(t, db)
			for i := range 5 { // the first teaches the epoch and prepares; a pooler is known by then
				if _, err := failoversql.Tx(t.Context(), client, dialect, insert(i)); err != nil {
					t.Fatal(err)
				}
			}
			sent.take()
			if _, err := failoversql.Tx(t.Context(), client, dialect, insert(10)); err != nil {
				t.Fatal(err)
			}
			if got := sent.take(); !slices.Equal(got, c.want) {
				t.Errorf("a fenced transaction sends %q, want %q", got, c.want)
			}
		})
	}
}

// Many sessions ask to hold an epoch at once. Those that were refused just before another taught it to the database hold it next time.
func TestSessionRefusedOnceHoldsTheFenceLater(t *testing.T) {
	primary, _ := private(t)
	config, err := pgx.ParseConfig(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	sent := &tracer{}
	config.Tracer = sent
	db := sql.OpenDB(failoversql.Connector(stdlib.GetConnector(*config), processID))
	defer db.Close()
	db.SetMaxOpenConns(1)
	client, late := single(t, db), &lateHold{Dialect: dialect, refuse: 2} // the first is refused anyhow, on the connection that Raise gives up
	const direct = "begin"
	for i, want := range []string{"begin isolation level read committed; select holdfast_demand(1, 'd')", direct, direct} {
		sent.take()
		if _, err := failoversql.Tx(t.Context(), client, late, insert(i)); err != nil {
			t.Fatal(err)
		}
		if got := sent.take(); !slices.Contains(got, want) {
			t.Errorf("transaction %d sends %q, want %q among it", i, got, want)
		}
	}
}

// A lateHold asks for an epoch that nobody knows, as often as refuse says.
type lateHold struct {
	failoversql.Dialect
	refuse int
}

func (d *lateHold) Hold(f failover.Fence, process uint32) string {
	if d.refuse > 0 {
		d.refuse--
		f.Epoch += 1000
	}
	return d.Dialect.Hold(f, process)
}

// A tracer remembers statements, with decisions' names taken out.
type tracer struct {
	mu   sync.Mutex // guards sent
	sent []string
}

var decisionName = regexp.MustCompile(`'[A-Z2-7]{12}'`)

func (r *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if data.SQL != "select epoch from holdfast_fence" && !strings.Contains(data.SQL, "clock_timestamp") { // probe, lag
		r.sent = append(r.sent, decisionName.ReplaceAllString(data.SQL, "'d'"))
	}
	return ctx
}

func (r *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r *tracer) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

// What the database has learned while a write commits is never above the write's epoch, however epochs are raised meanwhile. A trigger at
// commit compares, in the database's own view.
func TestNoWriteBelowALearnedEpochCommits(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		direct := connect(t, p.url(t)) // its sessions hold nothing, and stay
		for _, statement := range []string{
			`create table seen (wrote bigint not null, learned bigint not null)`,
			`create table work (epoch bigint not null)`,
			`create function look() returns trigger language plpgsql as $$ begin insert into seen select new.epoch, epoch from holdfast_fence; return null; end $$`,
			`create constraint trigger look after insert on work deferrable initially deferred for each row execute function look()`,
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var learned atomic.Bool
		var stale, done atomic.Int64
		var wg sync.WaitGroup
		client := single(t, db) // at epoch 1: a Region that has not heard
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil && stale.Load() < 100 {
					late := learned.Load()
					_, err := failoversql.Tx(ctx, client, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
						_, err := tx.ExecContext(ctx, `insert into work values (1)`)
						return 0, err
					})
					switch {
					case err == nil:
						done.Add(1)
						if late {
							t.Error("a write of epoch 1 was acknowledged that began after epoch 2 was learned")
						}
					case errors.Is(err, failoversql.ErrStaleEpoch):
						stale.Add(1)
					case ended(err): // a session that held the fence
					case ctx.Err() == nil:
						t.Errorf("Tx = %v, want nil, ErrStaleEpoch or the end of its session", err)
					}
				}
			})
		}
		for deadline := time.Now().Add(time.Minute); done.Load() < 200; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d writes in a minute", done.Load())
			}
		}
		for e := uint64(2); e < 5; e++ {
			if err := dialect.Raise(ctx, db, failover.Fence{Epoch: e, DecisionID: fmt.Sprint("decision ", e)}); err != nil {
				t.Fatal(err)
			}
			learned.Store(true)
			var committed int64
			if err := direct.QueryRow(`select count(*) from work`).Scan(&committed); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond) // writers go on meanwhile
			var now int64
			if err := direct.QueryRow(`select count(*) from work`).Scan(&now); err != nil || now != committed {
				t.Errorf("%d writes once epoch %d was learned, %d later, %v: want no more", committed, e, now, err)
			}
		}
		wg.Wait()
		var wrong, all int
		if err := direct.QueryRow(`select count(*), count(*) filter (where learned > wrote) from seen`).Scan(&all, &wrong); err != nil || wrong != 0 || all < 200 {
			t.Errorf("%d of %d writes committed below the learned epoch, %v; want none of at least 200", wrong, all, err)
		}
		t.Logf("%d committed, %d refused", all, stale.Load())
	})
}

// ended reports whether the session of a transaction was ended.
func ended(err error) bool {
	_, broke := errors.AsType[*failoversql.TxError](err)
	return broke
}

// A function that swallows the error of a statement must not be told that its transaction is committed.
func TestFailedStatementFailsTheCommit(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		c := single(t, db)
		swallow := func(ctx context.Context, tx *sql.Tx) (int, error) {
			_, _ = tx.ExecContext(ctx, `insert into effects values (1, 'x')`)
			_, _ = tx.ExecContext(ctx, `insert into effects values (1, 'again')`)
			return 0, nil
		}
		_, err := failoversql.Tx(t.Context(), c, dialect, swallow)
		unknown, is := errors.AsType[*failover.UnknownOutcomeError](err)
		if err == nil || is {
			t.Errorf("Tx whose statement failed = %v (%v), want an error that is not unknown", err, unknown)
		}
		if _, err := failoversql.Tx(t.Context(), c, dialect, insert(2)); err != nil {
			t.Errorf("Tx after one that was rolled back = %v", err)
		}
		if n := count(t, db); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
	})
}

// A constraint that is checked at the end is an answer, not an unknown outcome.
func TestDeferredConstraintIsAnAnswer(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		if _, err := db.Exec(`alter table effects add constraint one unique (epoch) deferrable initially deferred`); err != nil {
			t.Fatal(err)
		}
		c := single(t, db)
		if _, err := failoversql.Tx(t.Context(), c, dialect, insert(1)); err != nil {
			t.Fatal(err)
		}
		_, err := failoversql.Tx(t.Context(), c, dialect, insert(2))
		if state, ok := errors.AsType[interface {
			error
			SQLState() string
		}](err); !ok || state.SQLState() != "23505" || errors.Is(err, context.Canceled) {
			t.Errorf("Tx = %v, want the constraint's violation", err)
		}
		if n := count(t, db); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
	})
}

// Whatever ends a transaction, its connection is either clean or gone.
func TestNoTransactionStaysOpen(t *testing.T) {
	eachPool(t, func(t *testing.T, p pool) {
		_, db := p.private(t)
		db.SetMaxOpenConns(1)
		c := single(t, db)
		errOwn := errors.New("the application's own")
		for what, end := range map[string]func(context.Context, *sql.Tx, context.CancelFunc) (int, error){
			"an error":    func(context.Context, *sql.Tx, context.CancelFunc) (int, error) { return 0, errOwn },
			"a cancelled": func(_ context.Context, _ *sql.Tx, cancel context.CancelFunc) (int, error) { cancel(); return 0, nil },
			"a cancelled query": func(ctx context.Context, tx *sql.Tx, cancel context.CancelFunc) (int, error) {
				stop := time.AfterFunc(20*time.Millisecond, cancel)
				defer stop.Stop()
				_, err := tx.ExecContext(ctx, `select pg_sleep(10)`)
				return 0, err
			},
			"open rows": func(ctx context.Context, tx *sql.Tx, _ context.CancelFunc) (int, error) {
				_, err := tx.QueryContext(ctx, `select generate_series(1, 100000)`)
				return 0, errors.Join(err, errOwn)
			},
			"a killed session": func(ctx context.Context, tx *sql.Tx, _ context.CancelFunc) (int, error) {
				_, err := tx.ExecContext(ctx, `select pg_terminate_backend(pg_backend_pid())`)
				return 0, err
			},
			"its own rollback": func(_ context.Context, tx *sql.Tx, _ context.CancelFunc) (int, error) {
				return 0, errors.Join(tx.Rollback(), errOwn)
			},
			"a panic": func(context.Context, *sql.Tx, context.CancelFunc) (int, error) { panic("application") },
		} {
			func() {
				defer func() { _ = recover() }()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				_, err := failoversql.Tx(ctx, c, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
					if _, err := insert(1)(ctx, tx); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					return end(ctx, tx, cancel)
				})
				if err == nil {
					t.Errorf("Tx that ended with %s = nil, want an error", what)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			_, err := failoversql.Tx(ctx, c, dialect, insert(100))
			if err != nil {
				t.Errorf("Tx after %s = %v", what, err)
			}
			if _, err := db.ExecContext(ctx, `delete from effects where id = 100`); err != nil {
				t.Errorf("after %s: %v", what, err)
			}
			cancel()
			if n := count(t, db); n != 0 {
				t.Errorf("%d effects after %s, want none", n, what)
			}
		}
	})
}

// The rest of database/sql works over a Connector as over the driver.
func TestConnectorIsTheDriverOtherwise(t *testing.T) {
	_, db := pool{connect: connectHolding}.private(t)
	c := single(t, db)
	prepared, err := db.PrepareContext(t.Context(), `insert into effects values ($1, $2)`)
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	_, err = failoversql.Tx(t.Context(), c, dialect, func(ctx context.Context, tx *sql.Tx) (int, error) {
		_, err := tx.StmtContext(ctx, prepared).ExecContext(ctx, 7, "seven")
		return 0, err
	})
	if err != nil {
		t.Errorf("Tx with a prepared statement of the pool = %v", err)
	}
	var text string
	if err := db.QueryRow(`select epoch from effects where id = any($1)`, []int{7}).Scan(&text); err != nil || text != "seven" {
		t.Errorf("a query with a driver's own type = %q, %v", text, err)
	}
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(`show transaction_isolation`).Scan(&text); err != nil || text != "serializable" {
		t.Errorf("isolation %q, %v, want serializable", text, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	one, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	err = one.Raw(func(raw any) error {
		_, ok := raw.(interface{ Unwrap() driver.Conn }).Unwrap().(*stdlib.Conn)
		if !ok {
			t.Errorf("Raw's connection is %T, want one that unwraps to the driver's", raw)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
