//go:build unix

package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/queue"
)

// The places beside the two Regions of package real.
const (
	third = "us-east-2"
	web   = "users"
)

// instances is how many processes each Region runs.
const instances = 2

// Config configures a [Lab].
type Config struct {
	Dir      string           // for servers, state and spools. Required
	Settings service.Settings // of the service
	Say      func(format string, args ...any)
	Audit    io.Writer    // of one process in each Region; nil = nobody
	Logger   *slog.Logger // of all processes; nil = silent
}

// A Lab is the service on its own servers, under load from nobody.
type Lab struct {
	world    *drtest.World
	cfg      Config
	servers  map[failover.Region]*machines
	at       map[failover.Region]real.Endpoints
	dbs      map[failover.Region]*sql.DB // the operator's, past the World
	links    map[failover.Region]string  // by which the other Region's PostgreSQL follows this one's
	queues   map[string]queue.Holding    // past the World
	pools    map[failover.Region]*embedded.Pool
	crew     *embedded.Crew
	users    *tally
	payments *embedded.Payments
	relays   *embedded.Relays
	calls    *queue.Ledger
	unknown  *failover.MemoryLedger
	rebuilds runbook.Journal
	remove   func() // of what is told of faults

	mu       sync.Mutex               // guards the following
	spools   map[string]queue.Holding // of processes, by their names
	rebuilt  int                      // rebuilds that are complete
	diverged []string                 // orders that only the former writer has, of the rebuild under way
}

// Start starts servers and processes in w, a World in real time. The servers are up when it returns; the first writer opens a few polls later.
// An error that wraps a servers.MissingError says what is not installed.
func Start(ctx context.Context, w *drtest.World, cfg Config) (_ *Lab, err error) {
	if cfg.Say == nil {
		cfg.Say = func(string, ...any) {}
	}
	redis.SetLogger(silent{})
	l := &Lab{
		world: w, cfg: cfg, at: map[failover.Region]real.Endpoints{}, dbs: map[failover.Region]*sql.DB{}, links: map[failover.Region]string{},
		queues: map[string]queue.Holding{}, pools: map[failover.Region]*embedded.Pool{}, crew: embedded.NewCrew(), calls: queue.NewLedger(),
		unknown: failover.NewMemoryLedger(nil), rebuilds: runbook.NewMemoryJournal(), spools: map[string]queue.Holding{}, remove: func() {},
	}
	if l.servers, err = startServers(ctx, cfg.Dir); err != nil {
		return nil, err
	}
	for _, r := range regions {
		m := l.servers[r]
		cfg.Say("started in %s: PostgreSQL pid %d, Redis pid %d, SQS pid %d", r, m.pg.Proc().PID, m.redis.Proc().PID, m.sqs.Proc().PID)
	}
	for _, step := range []func(context.Context) error{l.attach, l.connect, l.follow, l.run} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, l.Kill())
		}
	}
	return l, nil
}

// Close stops processes in good order, and then servers, whatever state they are in.
func (l *Lab) Close() error {
	l.crew.Stop()
	l.remove()
	for _, db := range l.dbs {
		_ = db.Close()
	}
	return closeServers(l.servers)
}

// Kill ends the servers at once, whatever state they are in, and waits for nobody: in an outage it can take half a minute until processes of the service
// have given up what they cannot end in good order. They end with this process.
func (l *Lab) Kill() error {
	return killServers(l.servers)
}

// silent is for go-redis, which prints every failed dial.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// attach makes the servers hosts of the World, and has it tell of faults that need signals.
func (l *Lab) attach(context.Context) (err error) {
	l.world.RTT(drtest.AWSRTT())
	for _, name := range regions {
		r, m := l.world.Region(name), l.servers[name]
		if l.at[name], err = m.endpoints(name); err != nil {
			return err
		}
		pg, err := pgx.ParseConfig(m.pg.Addr())
		if err != nil {
			return err
		}
		for address, target := range map[string]string{
			host("postgres", name) + ":5432": net.JoinHostPort(pg.Host, fmt.Sprint(pg.Port)),
			host("redis", name) + ":6379":    m.redis.Addr(),
			host("sqs", name) + ":80":        strings.TrimPrefix(m.sqs.Addr(), "http://"),
		} {
			if err := r.Attach(address, target); err != nil {
				return err
			}
		}
	}
	l.remove = l.world.OnFault(l.onFault)
	return nil
}

// connect opens what the operator has, past the World.
func (l *Lab) connect(ctx context.Context) error {
	for _, name := range regions {
		cfg, err := pgx.ParseConfig(l.servers[name].pg.Addr())
		if err != nil {
			return err
		}
		l.dbs[name] = stdlib.OpenDB(*cfg)
		queues, err := real.Queues(ctx, name, l.servers[name].sqs.Addr())
		if err != nil {
			return err
		}
		for q, holding := range queues {
			l.queues[name+" "+q] = held{holding}
		}
	}
	return real.Database{Dialect: failoversql.PostgreSQL()}.Install(ctx, l.dbs[real.East])
}

// follow leads the replication through the World.
func (l *Lab) follow(ctx context.Context) error {
	for _, name := range regions {
		exposed, err := l.world.Region(other(name)).Expose(host("postgres", name) + ":5432")
		if err != nil {
			return err
		}
		pg, err := pgx.ParseConfig(l.servers[name].pg.Addr())
		if err != nil {
			return err
		}
		at, port, err := net.SplitHostPort(exposed)
		if err != nil {
			return err
		}
		l.links[name] = fmt.Sprintf("host=%s port=%s user=%s password=%s", at, port, pg.User, pg.Password)
	}
	return l.link(ctx, real.West, real.East)
}

// link makes a standby follow primary through the World.
func (l *Lab) link(ctx context.Context, standby, primary failover.Region) error {
	for _, statement := range []string{`alter system set primary_conninfo = '` + l.links[primary] + `'`, `select pg_reload_conf()`} {
		if _, err := l.dbs[standby].ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("lab: %s follows %s: %w", standby, primary, err)
		}
	}
	return nil
}

// other is the other Region.
func other(r failover.Region) failover.Region {
	if r == real.East {
		return real.West
	}
	return real.East
}

// run starts the processes.
func (l *Lab) run(context.Context) error {
	east, west := l.world.Region(real.East), l.world.Region(real.West)
	embedded.ServeCoordinator(l.world.Region(third), func(failover.Record) {})
	l.payments = embedded.StartPayments(east, payLatency, 0)
	l.relays = embedded.StartRelays(payLatency, east, west)
	for _, r := range []*drtest.Region{east, west} {
		l.pools[r.Name()] = embedded.NewPool(r, l.crew, l.parts(r))
	}
	l.users = &tally{RoundTripper: embedded.NewFront(l.world.Region(web), l.cfg.Settings.ProbeEvery, nil)}
	for _, pool := range l.pools {
		for n := range instances {
			pool.Start(n)
		}
	}
	l.world.Region(third).Go(third+"/witness", l.witness)
	return nil
}

// config is what processes of a Region know.
func (l *Lab) config(r *drtest.Region, instance string, w *wire) real.Config {
	return real.Config{
		Self: r.Name(), Instance: instance, Dir: filepath.Join(l.cfg.Dir, "state"), Regions: l.at, Witnesses: []failover.Region{third}, Coordinator: embedded.ConnectCoordinator(r),
		Payments: "http://" + embedded.PaymentsHost, Mail: "http://" + embedded.RelayHost(r.Name()) + "/send", Dial: w.dial,
	}
}

// parts connects processes of a Region.
func (l *Lab) parts(r *drtest.Region) func(context.Context, string) (service.Parts, func(), error) {
	return func(life context.Context, instance string) (service.Parts, func(), error) {
		w := &wire{from: r, open: map[net.Conn]bool{}}
		context.AfterFunc(life, func() {
			if errors.Is(context.Cause(life), drtest.ErrCrashed) {
				w.cut()
			}
		})
		p, release, err := real.Open(life, l.config(r, instance, w), l.cfg.Settings, l.cfg.Logger)
		if err != nil {
			return p, nil, err
		}
		p.Ledger, p.Unknown, p.Audit, p.Authorize = l.calls, l.unknown, nil, embedded.Authorize
		if strings.HasSuffix(instance, "-0") {
			p.Audit = l.cfg.Audit
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for lane, s := range map[string]queue.Spool{"orders": p.Calls.Spool, "charges": p.Charges.Spool} {
			l.spools[instance+" "+lane] = s.(queue.Holding)
		}
		return p, release, nil
	}
}

// witness votes from the third Region.
func (l *Lab) witness(ctx context.Context) error {
	r := l.world.Region(third)
	p, release, err := real.OpenWitness(l.config(r, third+"/witness", &wire{from: r, open: map[net.Conn]bool{}}), l.cfg.Settings, l.cfg.Logger)
	if err != nil {
		return err
	}
	defer release()
	return service.Witness(ctx, p)
}
