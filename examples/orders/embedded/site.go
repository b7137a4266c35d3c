package embedded

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/spool"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// A Site is one Region of the service: what it stands on, and its processes.
type Site struct {
	Name   failover.Region
	Region *drtest.Region
	Store  *drtest.Store
	Redis  *redistest.Server
	SQS    *sqstest.Server
	Queues []*sqstest.Queue // of deferred calls and of charges
	Dead   []*sqstest.Queue // their dead-letter queues

	*Pool // its processes

	fleet   *Fleet
	primary atomic.Bool // takes writes, as the promotion and the operator left it

	mu       sync.Mutex                                   // guards the following
	machines map[string]machine                           // that processes run on, by name
	spools   map[string]*spool.Spool                      // of the running processes, by their directory
	failures map[string]map[failover.Region]*atomic.Int64 // of requests to queues, by the running process
}

// queueRetention is what sqsqueue's Check demands of a queue and its dead-letter queue.
const queueRetention = 14 * 24 * time.Hour

func (f *Fleet) newSite(r *drtest.Region) *Site {
	s := &Site{Name: r.Name(), Region: r, fleet: f, failures: map[string]map[failover.Region]*atomic.Int64{}}
	db := r.Zone(Databases)
	f.World.RTT(drtest.Matrix{{r.Name(), db.Name()}: databaseRTT})
	if s.Name == East {
		s.Store = db.Store("orders-east")
		s.primary.Store(true)
	} else {
		s.Store = db.Store("orders-west", drtest.ReplicaOf(f.Sites[East].Store, drtest.Lag(f.Config.Lag)))
	}
	s.Redis = redistest.Start(r)
	s.SQS = sqstest.Start(r)
	for _, lane := range lanes {
		s.Queues, s.Dead = append(s.Queues, mustQueue(s.SQS, lane)), append(s.Dead, mustQueue(s.SQS, lane+"-dead"))
	}
	s.Pool = NewPool(r, f.Crew, s.parts)
	s.Pool.blames, s.Pool.abandon = s.blames, s.abandon
	return s
}

// lanes are the queues' names: calls and charges.
var lanes = []string{"orders", "charges"}

func mustQueue(s *sqstest.Server, name string) *sqstest.Queue {
	q, err := s.CreateQueue(name, map[string]string{"MessageRetentionPeriod": strconv.Itoa(int(queueRetention.Seconds()))})
	if err != nil {
		panic(err) // of the constants above
	}
	return q
}

// Host is where the Region's service answers, for faults.
func (s *Site) Host() string { return Address(s.Name).Host }

// Rebuild makes the Region's database a copy of the writer's, as an operator does with a former writer. It returns the orders that only this one
// had: acknowledged, and lost.
func (s *Site) Rebuild(writer *Site) (lost []string, err error) {
	keys, err := s.Store.Rejoin(writer.Store)
	if err != nil {
		return nil, err
	}
	s.primary.Store(false)
	s.fleet.moves.rebuiltNow(s.Store.Name())
	for _, k := range keys {
		if id, ok := cutOrder(k); ok {
			lost = append(lost, id)
		}
	}
	return lost, nil
}

// order reads from the store past every client.
func (s *Site) order(id string) (o service.Order) {
	db := sql.OpenDB(s.Store.Connector(s.Region))
	defer db.Close()
	o, err := Database{}.Find(context.Background(), db, id)
	if err != nil {
		panic(fmt.Sprintf("embedded: order %s: %v", id, err)) // the network is up and the key was there
	}
	return o
}

// dirOf is where a process keeps its state.
func (f *Fleet) dirOf(instance string) string {
	return filepath.Join(f.Config.Dir, strings.ReplaceAll(instance, "/", "-"))
}

// parts connects a process of this Region to everything. close lets go of it.
func (s *Site) parts(life context.Context, name string) (p service.Parts, close func(), err error) {
	f := s.fleet
	dir, from := f.dirOf(name), s.machine(name, life)
	p = service.Parts{
		Regions: []failover.Region{East, West}, Self: s.Name, Witnesses: []failover.Region{Third}, Home: East, Instance: name,
		Coordinator: ConnectCoordinator(from), Database: Database{}, SQL: map[failover.Region]*sql.DB{}, Journal: mortalJournal{f.Journal, life}, Unknown: mortalUnknown{f.Unknown, life},
		Promote: mortalSteps(life, f.promote), Keys: map[failover.Region]idempotency.Store{},
		Calls: service.Lane{Queues: map[failover.Region]queue.Transport{}}, Charges: service.Lane{Queues: map[failover.Region]queue.Transport{}},
		Net: counted{from.Transport(), f.log(), fmt.Sprintf("%s, life %d", name, f.lives.Add(1)), name, ofOrder}, Payments: &url.URL{Scheme: "http", Host: PaymentsHost}, Mail: &url.URL{Scheme: "http", Host: RelayHost(s.Name), Path: "/send"},
		Peers: map[failover.Region]*url.URL{}, Authorize: Authorize, StateDir: dir,
		Logger: f.Config.Logger, Ledger: f.Ledger, Settings: f.Config.Settings,
	}
	if f.Config.Capacity > 0 {
		p.Capacity = func(failover.Region) int { return f.Config.Capacity }
	}
	if strings.HasSuffix(name, "-0") { // one copy of the audit log for each Region
		p.Audit = f.Config.Audit
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, nil, err
	}
	var closers []func() error
	close = func() {
		for _, c := range closers {
			_ = c()
		}
	}
	for i, lane := range []*service.Lane{&p.Calls, &p.Charges} {
		local, err := spool.Open(filepath.Join(dir, "spool-"+lanes[i]), spool.Config{Logger: f.Config.Logger})
		if err != nil {
			close()
			return p, nil, err
		}
		lane.Spool = mortalSpool{local, life}
		s.hold(spoolName(name, lanes[i]), local)
		closers = append(closers, local.Close)
	}
	failures := map[failover.Region]*atomic.Int64{}
	s.mu.Lock()
	s.failures[name] = failures
	s.mu.Unlock()
	for _, there := range f.Sites {
		failures[there.Name] = &atomic.Int64{}
		if err := s.connect(&p, from, there, failures[there.Name], &closers); err != nil {
			close()
			return p, nil, err
		}
	}
	flags, client, err := f.flags(from)
	closers = append(closers, client.Close)
	p.Flags, p.Overrides = polled{flags, flags}, polled{flags, flags}
	return p, close, err
}

// A machine is what a process runs on until it dies.
type machine struct {
	life context.Context
	zone *drtest.Region
}

// machine returns that of a process: a new one for each that the World has started.
func (s *Site) machine(name string, life context.Context) *drtest.Region {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.machines[name]; ok && m.life == life {
		return m.zone
	}
	if s.machines == nil {
		s.machines = map[string]machine{}
	}
	m := machine{life, s.Region.Machine(life)}
	s.machines[name] = m
	return m.zone
}

// abandon takes the spools from a dead process, so that the next can open them.
func (s *Site) abandon(name string) {
	for _, lane := range lanes {
		s.mu.Lock()
		local := s.spools[spoolName(name, lane)]
		s.mu.Unlock()
		_ = local.Close() // it says what could not be written
	}
}

func spoolName(process, lane string) string { return process + " " + lane + "-spool" }

// hold keeps a process's spool in sight; the next process of the name brings the same directory.
func (s *Site) hold(name string, local *spool.Spool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spools == nil {
		s.spools = map[string]*spool.Spool{}
	}
	s.spools[name] = local
}

// polled hides that flags can be watched: go-redis holds a lock while it dials for a subscription, and virtual time would stop when the
// Region is cut off. The load every ten seconds is what counts anyway.
type polled struct {
	degrade.Provider
	degrade.Store
}

// connect adds what another Region has to the parts of a process here.
func (s *Site) connect(p *service.Parts, from *drtest.Region, there *Site, failed *atomic.Int64, closers *[]func() error) error {
	db := OpenSQL(there.Store.Connector(from))
	db.SetMaxIdleConns(32)
	client := connectRedis(there.Redis, from)
	*closers = append(*closers, db.Close, client.Close)
	store, err := redisstore.New(client, redisstore.Config{})
	if err != nil {
		return err
	}
	api := there.SQS.Client(from)
	for i, lane := range []*service.Lane{&p.Calls, &p.Charges} {
		q, err := sqsqueue.New(api, there.Queues[i].URL(), sqsqueue.Config{DeadLetterURL: there.Dead[i].URL(), Region: there.Name, Retention: queueRetention})
		if err != nil {
			return err
		}
		lane.Queues[there.Name] = heardQueue{q, failed, func() { s.polled(p.Instance) }, func(what string, ids ...string) { s.fleet.handled(what, there.Name, ids...) }}
	}
	p.SQL[there.Name], p.Keys[there.Name], p.Peers[there.Name] = db, s.fleet.heard(loggedStore{store, there.Name, p.Instance, &s.fleet.keyLog}), Address(there.Name)
	return nil
}

// startWitness runs a witness in the third Region.
func (f *Fleet) startWitness(n int) {
	name := fmt.Sprintf("%s/witness-%d", Third, n)
	f.third.Go(name, func(ctx context.Context) error {
		from := f.third.Machine(ctx)
		p := service.Parts{
			Regions: []failover.Region{East, West}, Self: Third, Witnesses: []failover.Region{Third}, Instance: name,
			Coordinator: ConnectCoordinator(from), Database: Database{}, SQL: map[failover.Region]*sql.DB{}, Settings: f.Config.Settings, Logger: f.Config.Logger,
		}
		for _, s := range f.Sites {
			db := sql.OpenDB(s.Store.Connector(from))
			defer db.Close()
			p.SQL[s.Name] = db
		}
		return service.Witness(ctx, p)
	})
}
