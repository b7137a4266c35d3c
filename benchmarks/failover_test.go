package benchmarks

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strconv"
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

// BenchmarkFailoverSQLFence: transactions a second of 64 writers with and without the fence, over the driver's own connections and over
// those of failoversql.Connector. Bursts of both go in turns, so that both meet the same neighbours, and the cost is the median over the
// pairs. Both have a deadline. Client and server share the machine's processors: the work of both counts, and its CPU time is what neighbours
// disturb least.
func BenchmarkFailoverSQLFence(b *testing.B) {
	server := servertest.Start(b, servertest.Postgres) // its own: it is set to write through to the disk, as one in production is
	config, err := pgx.ParseConfig(server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	setUp := stdlib.OpenDB(*config)
	for _, statement := range []string{`alter system set fsync = on`, `alter system set synchronous_commit = on`, `select pg_reload_conf()`} {
		if _, err := setUp.Exec(statement); err != nil {
			b.Fatal(err)
		}
	}
	if err := failoversql.PostgreSQL().Install(b.Context(), setUp); err != nil {
		b.Fatal(err)
	}
	if _, err := setUp.Exec(`create table bench (id bigserial primary key, note text)`); err != nil {
		b.Fatal(err)
	}
	setUp.Close()
	awaitDurable(b, config)
	b.Run("driver", func(b *testing.B) { sqlFence(b, stdlib.GetConnector(*config)) })
	b.Run("connector", func(b *testing.B) { sqlFence(b, failoversql.Connector(stdlib.GetConnector(*config), nil)) })
	b.Run("connector, held", func(b *testing.B) { sqlFence(b, failoversql.Connector(stdlib.GetConnector(*config), processID)) })
}

// awaitDurable returns when new sessions of the server write through to the disk.
func awaitDurable(b *testing.B, config *pgx.ConnConfig) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		fresh := stdlib.OpenDB(*config)
		var on bool
		err := fresh.QueryRow(`select current_setting('fsync') = 'on' and current_setting('synchronous_commit') = 'on'`).Scan(&on)
		fresh.Close()
		if on {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("the server still does not write through (error %v)", err)
		}
	}
}

func processID(c driver.Conn) uint32 { return c.(*stdlib.Conn).Conn().PgConn().PID() }

const sqlWriters = 64

func sqlFence(b *testing.B, connector driver.Connector) {
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(sqlWriters)
	db.SetMaxIdleConns(sqlWriters)
	if _, err := db.Exec(`update holdfast_fence set epoch = 0, decision = ''; truncate bench; checkpoint`); err != nil {
		b.Fatal(err)
	}
	var pidFile string
	if err := db.QueryRow(`select pg_read_file('postmaster.pid')`).Scan(&pidFile); err != nil {
		b.Fatal(err)
	}
	line, _, _ := strings.Cut(pidFile, "\n")
	server, err := strconv.Atoi(line)
	if err != nil {
		b.Fatal(err)
	}
	dialect := failoversql.PostgreSQL()
	ctl, err := failover.NewController(failover.ControllerConfig{Regions: []failover.Region{"r"}, Self: "r"})
	if err != nil {
		b.Fatal(err)
	}
	client, err := failover.New(ctl, []failover.Member[*sql.DB]{failoversql.Member(dialect, "r", db)}, failover.ClientConfig{Classify: dialect.Classify})
	if err != nil {
		b.Fatal(err)
	}
	run(b, ctl)
	const insert = `insert into bench (note) values ('x')`
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
	burst(b, server, plain)
	burst(b, server, fenced)
	var without, with, costs, cpuWithout, cpuWith, cpuCosts []float64
	for pair := 0; b.Loop(); pair++ {
		var tps, cpus [2]float64
		for i := range 2 {
			which := (pair + i) % 2 // each is first in half of the pairs
			tps[which], cpus[which] = burst(b, server, []func() error{plain, fenced}[which])
		}
		without, with, costs = append(without, tps[0]), append(with, tps[1]), append(costs, 100*(1-tps[1]/tps[0]))
		cpuWithout, cpuWith, cpuCosts = append(cpuWithout, cpus[0]), append(cpuWith, cpus[1]), append(cpuCosts, 100*(cpus[1]/cpus[0]-1))
	}
	b.ReportMetric(median(without), "plain-tx/s")
	b.ReportMetric(median(with), "fenced-tx/s")
	b.ReportMetric(median(costs), "%cost")
	b.ReportMetric(median(cpuWithout), "plain-cpu-ns")
	b.ReportMetric(median(cpuWith), "fenced-cpu-ns")
	b.ReportMetric(median(cpuCosts), "%cpu")
	b.ReportMetric(0, "ns/op")
}

// burst is the rate, a second, at which all writers do, and the CPU time for one, of this process and the server's.
func burst(b *testing.B, server int, do func() error) (rate, cpuNanos float64) {
	const each = 40
	used := cpuTime() + childrenCPU(server)
	start := time.Now()
	var wg sync.WaitGroup
	for range sqlWriters {
		wg.Go(func() {
			for range each {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	const n = sqlWriters * each
	took := time.Since(start)
	return n / took.Seconds(), float64(cpuTime()+childrenCPU(server)-used) / n
}
