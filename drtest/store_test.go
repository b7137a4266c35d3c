package drtest_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// inPair runs f with a store in the east and its replica in the west, 40 ms and 200 ms of lag away.
func inPair(t *testing.T, f func(t *testing.T, w *drtest.World, primary, replica *drtest.Store)) {
	t.Helper()
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, west := w.Region("east"), w.Region("west")
		w.Link(east, west, simnet.Shape{Latency: 40 * time.Millisecond})
		primary := east.Store("db")
		f(t, w, primary, west.Store("db-dr", drtest.ReplicaOf(primary, drtest.Lag(200*time.Millisecond))))
	})
}

func put(t *testing.T, s *drtest.Store, key string, epoch uint64) error {
	t.Helper()
	return s.Client(s.Region()).Put(t.Context(), key, "v", epoch)
}

func mustPut(t *testing.T, s *drtest.Store, key string) {
	t.Helper()
	if err := put(t, s, key, 0); err != nil {
		t.Fatal(err)
	}
}

func wantKeys(t *testing.T, s *drtest.Store, want ...string) {
	t.Helper()
	if got := s.Keys(); !slices.Equal(got, want) {
		t.Errorf("after %v: keys of %s = %q, want %q", time.Since(bubbleSecond(0)), s.Name(), got, want)
	}
}

func TestReplicationLags(t *testing.T) {
	inPair(t, func(t *testing.T, _ *drtest.World, primary, replica *drtest.Store) {
		mustPut(t, primary, "a")
		// The way back to the client took half a millisecond of the 240.
		time.Sleep(239 * time.Millisecond)
		wantKeys(t, replica)
		if got := replica.Behind().Round(time.Millisecond); got != 240*time.Millisecond && got != 239*time.Millisecond {
			t.Errorf("Behind = %v", got)
		}
		time.Sleep(time.Millisecond)
		wantKeys(t, replica, "a")
		if err := put(t, replica, "b", 0); !errors.Is(err, drtest.ErrReadOnly) {
			t.Errorf("Put in a replica = %v", err)
		}
		_ = primary.Client(primary.Region()).Delete(t.Context(), "a", 0)
		time.Sleep(time.Second)
		wantKeys(t, replica)
	})
}

func TestReplicationStopsWithTheLink(t *testing.T) {
	inPair(t, func(t *testing.T, w *drtest.World, primary, replica *drtest.Store) {
		play(w,
			drtest.At(10*time.Second, fault.PartitionOneWay("east", "west")).For(10*time.Second),
			drtest.At(30*time.Second, fault.ReplicationPause("db-dr")).For(10*time.Second),
			drtest.At(50*time.Second, fault.ReplicationLag("db-dr", 5*time.Second)).For(20*time.Second))
		for _, step := range []struct {
			at   time.Duration
			put  string
			want []string
		}{
			{9900 * time.Millisecond, "in flight", nil},
			{19 * time.Second, "", nil},
			{20100 * time.Millisecond, "", nil},
			{20300 * time.Millisecond, "", []string{"in flight"}},
			{31 * time.Second, "paused", []string{"in flight"}},
			{39 * time.Second, "", []string{"in flight"}},
			{41 * time.Second, "", []string{"in flight", "paused"}},
			{51 * time.Second, "slow", []string{"in flight", "paused"}},
			{55 * time.Second, "", []string{"in flight", "paused"}},
			{57 * time.Second, "", []string{"in flight", "paused", "slow"}},
		} {
			time.Sleep(step.at - time.Since(bubbleSecond(0)))
			wantKeys(t, replica, step.want...)
			if step.put != "" {
				mustPut(t, primary, step.put)
			}
		}
	})
}

func TestPromotionLosesWhatWasNotSent(t *testing.T) {
	inPair(t, func(t *testing.T, _ *drtest.World, primary, replica *drtest.Store) {
		mustPut(t, primary, "kept")
		time.Sleep(time.Second)
		mustPut(t, primary, "lost")
		if err := replica.Promote(5); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, replica, "kept")
		if err := replica.Promote(5); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("second promotion under one epoch = %v", err)
		}
		if err := put(t, replica, "new", 5); err != nil {
			t.Errorf("Put after promotion = %v", err)
		}
		if err := put(t, replica, "stale", 4); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("Put under an old epoch = %v", err)
		}
		// The old primary has not heard of epoch 5: only the token or its own lease could stop it.
		if err := put(t, primary, "split", 4); err != nil {
			t.Errorf("Put in the old primary = %v", err)
		}
		if err := primary.Fence(5); err != nil {
			t.Error(err)
		}
		if err := put(t, primary, "late", 4); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("Put in the fenced old primary = %v", err)
		}
		gone, err := primary.Rejoin(replica)
		if want := []string{"lost", "split"}; err != nil || !slices.Equal(gone, want) {
			t.Errorf("Rejoin = %q, %v, want %q", gone, err, want)
		}
		if _, err := primary.Rejoin(primary); err == nil {
			t.Error("a store can replicate from itself")
		}
		time.Sleep(time.Second)
		wantKeys(t, primary, "kept", "new")
		if err := primary.Fence(1); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("Fence with an old epoch = %v", err)
		}
	})
}

func TestStorePanicsOnBadRegistration(t *testing.T) {
	inPair(t, func(t *testing.T, w *drtest.World, primary, replica *drtest.Store) {
		for name, f := range map[string]func(){
			"twice":      func() { w.Region("east").Store("db") },
			"cascade":    func() { w.Region("east").Store("third", drtest.ReplicaOf(replica)) },
			"negative":   func() { w.Region("east").Store("fourth", drtest.ReplicaOf(primary, -1)) },
			"no name":    func() { w.Region("") },
			"host twice": func() { w.Region("east").Serve("h", nil); w.Region("east").Serve("h", nil) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				f()
			}()
		}
	})
}

func openDB(t *testing.T, s *drtest.Store, from *drtest.Region) *sql.DB {
	t.Helper()
	db := sql.OpenDB(s.Connector(from))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestSQL(t *testing.T) {
	inPair(t, func(t *testing.T, w *drtest.World, primary, _ *drtest.Store) {
		db := openDB(t, primary, w.Region("west"))
		start := time.Now()
		if _, err := db.ExecContext(t.Context(), "PUT ? ?", "a", 1); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start).Round(time.Millisecond); got != 160*time.Millisecond { // connect and statement
			t.Errorf("PUT took %v", got)
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []struct {
			query string
			args  []any
		}{{"FENCE ?", []any{7}}, {"PUT ? ?", []any{"b", []byte("2")}}, {"DELETE ?", []any{"a"}}} {
			if _, err := tx.ExecContext(t.Context(), q.query, q.args...); err != nil {
				t.Fatalf("%s: %v", q.query, err)
			}
		}
		var inside string
		if err := tx.QueryRowContext(t.Context(), "GET ?", "b").Scan(&inside); err != nil || inside != "2" {
			t.Errorf("GET in the transaction = %q, %v", inside, err)
		}
		wantKeys(t, primary, "a")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, primary, "b")
		var epoch uint64
		if err := db.QueryRowContext(t.Context(), "EPOCH").Scan(&epoch); err != nil || epoch != 7 {
			t.Errorf("EPOCH = %d, %v", epoch, err)
		}
		if err := db.QueryRowContext(t.Context(), "GET ?", "a").Scan(&inside); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("GET of a deleted key = %v", err)
		}
		tx, _ = db.BeginTx(t.Context(), nil)
		_, _ = tx.ExecContext(t.Context(), "PUT ? ?", "c", "3")
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		wantKeys(t, primary, "b")
		if _, err := db.ExecContext(t.Context(), "DROP TABLE orders"); err == nil {
			t.Error("an unknown statement succeeded")
		}
		stmt, err := db.PrepareContext(t.Context(), "GET ?")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stmt.Close() }()
		if err := stmt.QueryRowContext(t.Context(), "b").Scan(&inside); err != nil || inside != "2" {
			t.Errorf("prepared GET = %q, %v", inside, err)
		}
	})
}

// A fence that was raised after the transaction began is found at its commit.
func TestSQLFenceAtCommit(t *testing.T) {
	inPair(t, func(t *testing.T, w *drtest.World, primary, _ *drtest.Store) {
		db := openDB(t, primary, w.Region("east"))
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tx.ExecContext(t.Context(), "FENCE ?", 3)
		_, _ = tx.ExecContext(t.Context(), "PUT ? ?", "a", "1")
		if err := primary.Fence(4); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("Commit = %v", err)
		}
		if _, err := db.ExecContext(t.Context(), "FENCE ?", 3); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("FENCE below the store's epoch = %v", err)
		}
		wantKeys(t, primary)
	})
}

// A connection that holds an epoch is refused from the commit on that raises it, which writes its row in the same step.
func TestSQLHoldAndRaise(t *testing.T) {
	inPair(t, func(t *testing.T, w *drtest.World, primary, _ *drtest.Store) {
		db := openDB(t, primary, w.Region("east"))
		raise := func(epoch int) error {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			_, _ = tx.ExecContext(t.Context(), "FENCE ?", primary.Epoch())
			_, _ = tx.ExecContext(t.Context(), "PUT ? ?", "fence", epoch)
			if _, err := tx.ExecContext(t.Context(), "RAISE ?", epoch); err != nil {
				return err
			}
			return tx.Commit()
		}
		if err := raise(3); err != nil || primary.Epoch() != 3 {
			t.Fatalf("RAISE 3 = %v, epoch %d", err, primary.Epoch())
		}
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		write := func() error {
			tx, err := conn.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			_, _ = tx.ExecContext(t.Context(), "PUT ? ?", "a", "1")
			return tx.Commit()
		}
		if _, err := conn.ExecContext(t.Context(), "HOLD 3 fence 4"); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("HOLD of a row with another value = %v", err)
		}
		if _, err := conn.ExecContext(t.Context(), "HOLD 3 fence 3"); err != nil {
			t.Fatal(err)
		}
		if err := write(); err != nil {
			t.Errorf("a write at the epoch held = %v", err)
		}
		if err := raise(3); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("RAISE to the epoch known = %v", err)
		}
		if err := raise(4); err != nil {
			t.Fatal(err)
		}
		if err := write(); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("a write below the epoch = %v", err)
		}
		if _, err := conn.ExecContext(t.Context(), "HOLD 3 fence 4"); !errors.Is(err, drtest.ErrFenced) {
			t.Errorf("HOLD below the epoch = %v", err)
		}
		for _, bad := range []string{"HOLD 3", "HOLD x fence 4", "RAISE ?"} {
			if _, err := conn.ExecContext(t.Context(), bad); err == nil || errors.Is(err, drtest.ErrFenced) {
				t.Errorf("%s = %v, want an error of its form", bad, err)
			}
		}
		wantKeys(t, primary, "a", "fence")
	})
}

// database/sql waits for statements under its locks. A statement, a commit and a ping must therefore end with
// the context of their transaction, or virtual time stops.
func TestSQLEndsWithItsContextInABlackhole(t *testing.T) {
	inPair(t, func(t *testing.T, w *drtest.World, primary, _ *drtest.Store) {
		db := openDB(t, primary, w.Region("west"))
		if err := db.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, last := range []func(*sql.Tx) error{
			func(tx *sql.Tx) error { _, err := tx.ExecContext(t.Context(), "PUT ? ?", "k", "v"); return err },
			func(tx *sql.Tx) error { var v string; return tx.QueryRowContext(t.Context(), "GET ?", "k").Scan(&v) },
			func(tx *sql.Tx) error { return tx.Commit() },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			heal := w.Net().Overlay("west", "east", func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
			if err := last(tx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("in a blackhole: %v", err)
			}
			_ = tx.Rollback()
			cancel()
			heal()
			time.Sleep(time.Minute)
		}
	})
}

// What a client deletes is known to those who judge copies.
func TestDeleteIsRecorded(t *testing.T) {
	var world *drtest.World
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		world = w
		east := w.Region("east")
		db := east.Store("db")
		w.Region("west").Store("dr", drtest.ReplicaOf(db))
		c := db.Client(east)
		if err := c.Put(t.Context(), "k", "1", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := c.Delete(t.Context(), "k", 0); err != nil {
			t.Fatal(err)
		}
	})
	if at, ok := world.History().Deleted("db", "k"); !ok || at < 10*time.Second {
		t.Errorf("Deleted = %v, %v", at, ok)
	}
}
