package benchmarks

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// writer starts a controller of two Regions that may write, and a client of nothing.
func writer(b *testing.B) (*failover.Controller, *failover.Client[int]) {
	b.Helper()
	regions := []failover.Region{"us-east-1", "us-west-2"}
	ctl, err := failover.NewController(failover.ControllerConfig{Regions: regions, Self: regions[0], Coordinator: failover.NewMemoryCoordinator(regions...)})
	if err != nil {
		b.Fatal(err)
	}
	var members []failover.Member[int]
	for _, r := range regions {
		members = append(members, failover.Member[int]{Region: r, Probe: func(context.Context, int) error { return nil }})
	}
	client, err := failover.New(ctl, members, failover.ClientConfig{})
	if err != nil {
		b.Fatal(err)
	}
	run(b, ctl)
	return ctl, client
}

// run runs ctl until b ends, and returns when it may write.
func run(b *testing.B, ctl *failover.Controller) {
	b.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ctl.Run(ctx) })
	b.Cleanup(func() { stop(); wg.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, ok := ctl.Ready(); ok {
			return
		}
		if time.Now().After(end) {
			b.Fatal("the controller may not write")
		}
	}
}

// BenchmarkFailoverRoute: what routing costs, beside the least that any router must do and the way routers are written by hand.
func BenchmarkFailoverRoute(b *testing.B) {
	ctl, client := writer(b)
	ctx := context.Background()
	type decision struct{ regions []string }
	var floor atomic.Pointer[decision]
	floor.Store(&decision{[]string{"us-east-1", "us-west-2"}})
	var mu sync.RWMutex
	routes := map[string][]string{"orders": {"us-east-1", "us-west-2"}}
	read := func(context.Context, int) (int, error) { return 1, nil }
	write := func(context.Context, int, failover.Fence) (int, error) { return 1, nil }
	var sink int
	for _, bm := range []struct {
		name string
		call func()
	}{
		{"floor: atomic pointer load", func() { sink += len(floor.Load().regions) }},
		{"floor: clock read", func() { sink += time.Now().Nanosecond() & 1 }},
		{"by hand: RWMutex and map", func() { mu.RLock(); sink += len(routes["orders"]); mu.RUnlock() }},
		{"Controller.Route", func() { r, _ := ctl.Route(); sink += len(r) }},
		{"Controller.Epoch", func() { e, _ := ctl.Epoch(); sink += int(e) }},
		{"Read", func() { n, _ := failover.Read(ctx, client, read); sink += n }},
		{"Write", func() { n, _ := failover.Write(ctx, client, write); sink += n }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				bm.call()
			}
		})
	}
}

// BenchmarkFailoverSQLFence: transactions a second of 64 writers with and without the fence, in turns, so that both meet the
// same neighbours. Both have a deadline. The fence is one round trip more, of four: on a machine that is short of CPU it costs that share, on one
// that waits for its disk, as most do, less.
func BenchmarkFailoverSQLFence(b *testing.B) {
	server := servertest.Start(b, servertest.Postgres) // its own: it is set to write through to the disk, as one in production is
	db, err := sql.Open("pgx", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{`alter system set fsync = on`, `alter system set synchronous_commit = on`, `select pg_reload_conf()`} {
		if _, err := db.Exec(statement); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(time.Second) // until all of its processes have read that
	const writers = 64
	db.SetMaxOpenConns(writers)
	db.SetMaxIdleConns(writers)
	dialect := failoversql.PostgreSQL()
	table := fmt.Sprintf("bench_%d", rand.Uint32())
	if err := dialect.Install(b.Context(), db); err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec(`update holdfast_fence set epoch = 0, decision = ''; create table ` + table + ` (id bigserial primary key, note text)`); err != nil {
		b.Fatal(err)
	}
	defer db.Exec(`drop table ` + table)
	ctl, err := failover.NewController(failover.ControllerConfig{Regions: []failover.Region{"r"}, Self: "r"})
	if err != nil {
		b.Fatal(err)
	}
	client, err := failover.New(ctl, []failover.Member[*sql.DB]{failoversql.Member(dialect, "r", db)}, failover.ClientConfig{Classify: dialect.Classify})
	if err != nil {
		b.Fatal(err)
	}
	run(b, ctl)
	insert := `insert into ` + table + ` (note) values ('x')`
	plain := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // as every caller should: drivers do more for one that can end
		defer cancel()
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, insert); err != nil {
			return err
		}
		return tx.Commit()
	}
	fenced := func() error {
		_, err := failoversql.Tx(context.Background(), client, dialect, func(ctx context.Context, tx *sql.Tx) (struct{}, error) {
			_, err := tx.ExecContext(ctx, insert)
			return struct{}{}, err
		})
		return err
	}
	burst := func(do func() error) time.Duration {
		start := time.Now()
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range 20 {
					if err := do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	burst(plain)
	burst(fenced)
	var without, with time.Duration
	n := 0
	for b.Loop() {
		without += burst(plain)
		with += burst(fenced)
		n += writers * 20
	}
	b.ReportMetric(float64(n)/without.Seconds(), "plain-tx/s")
	b.ReportMetric(float64(n)/with.Seconds(), "fenced-tx/s")
	b.ReportMetric(100*(1-without.Seconds()/with.Seconds()), "%cost")
	b.ReportMetric(0, "ns/op")
}
