package embedded

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/redisflags"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/queue"
)

// The places of the World.
const (
	East  = "us-east-1" // the preferred writer, and the home of payments
	West  = "us-west-2" // the warm standby
	Third = "us-east-2" // witness, coordinator, flags
	Web   = "users"     // where users sit

	Databases = "db" // the zone of each Region that has its database
)

// databaseRTT is the way between two zones of a Region.
const databaseRTT = time.Millisecond

// Config configures a [Fleet]. The zero value is ready to use but for Dir.
type Config struct {
	// Dir is where processes keep state files and spools over a restart. Required.
	Dir string

	// Instances is how many processes each Region runs. Zero means 2. With one the Third Region needs a second witness.
	Instances int

	// Lag is how far the standby's database stays behind, beside the way. Zero means 200 ms.
	Lag time.Duration

	// LostDisks is the share of former writers' databases, 0 to 1, whose disk the operator cannot read any more: what only they had is in no list.
	LostDisks float64

	// Capacity is how many orders a second a Region can take after it has taken over. Zero means unlimited.
	Capacity int

	// Latency is what payments and the relays take for a request. Zero means 20 ms.
	Latency time.Duration

	// PaymentsAtOnce is how many charges payments work on at a time; the others queue there. Zero means any number.
	PaymentsAtOnce int

	// Persistence is how often a careful user tries. Zero means 3.
	Persistence int

	// Settings are the service's. Their zero value is the default everywhere.
	Settings service.Settings

	// Ledger is the account of deferred calls. Nil means a new one.
	Ledger *queue.Ledger

	// OnAnswer is told of every request that the users' way in has sent to a Region, on the request's goroutine: the answer, whose body it may replace, or the
	// error. Nil means nobody.
	OnAnswer func(to failover.Region, r *http.Request, answer *http.Response, err error)

	// Audit receives what people and the group did, each entry once; Logger a line per change of state. Nil means nobody.
	Audit  io.Writer
	Logger *slog.Logger
}

// A Fleet is the whole system: two Sites, the third Region and the users' way in.
type Fleet struct {
	World   *drtest.World
	Config  Config
	Sites   map[failover.Region]*Site
	Ledger  *queue.Ledger          // of deferred calls
	Unknown *failover.MemoryLedger // writes of unknown outcome
	Journal *runbook.MemoryJournal
	Flags   *redistest.Server // the flag backend

	Payments *Payments
	Relays   *Relays

	*Crew
	moves    moves
	keyLog   keyLog
	requests requestLog
	handles  handledLog
	lives    atomic.Int64 // of processes, so far

	third *drtest.Region
	web   *drtest.Region
	front *Front
}

// Start makes the parts in w and starts every process. It returns at once: the first writer opens after a few polls.
func Start(w *drtest.World, cfg Config) *Fleet {
	cfg = cfg.withDefaults()
	cfg.Audit = onceTo(cfg.Audit)
	w.RTT(drtest.AWSRTT())
	f := &Fleet{
		World: w, Config: cfg, Sites: map[failover.Region]*Site{}, Ledger: cfg.Ledger, Unknown: failover.NewMemoryLedger(cfg.Logger),
		Journal: runbook.NewMemoryJournal(), third: w.Region(Third), web: w.Region(Web),
	}
	f.Crew = NewCrew()
	redis.SetLogger(silent{})
	f.Flags = redistest.Start(f.third)
	ServeCoordinator(f.third, f.moves.note)
	f.Payments = StartPayments(w.Region(East), cfg.Latency, cfg.PaymentsAtOnce)
	f.Relays = StartRelays(cfg.Latency, w.Region(East), w.Region(West))
	for _, name := range []string{East, West} {
		f.Sites[name] = f.newSite(w.Region(name))
	}
	f.front = NewFront(f.web, cfg.Settings.ProbeEvery, cfg.OnAnswer)
	f.third.Go("deploy", f.deploy)
	for _, name := range []string{East, West} {
		for n := range cfg.Instances {
			f.Sites[name].Start(n)
		}
	}
	for n := range max(1, 3-cfg.Instances) {
		f.startWitness(n)
	}
	return f
}

func (c Config) withDefaults() Config {
	if c.Instances == 0 {
		c.Instances = 2
	}
	if c.Persistence == 0 {
		c.Persistence = 3
	}
	if c.Lag == 0 {
		c.Lag = 200 * time.Millisecond
	}
	if c.Latency == 0 {
		c.Latency = 20 * time.Millisecond
	}
	if c.Ledger == nil {
		c.Ledger = queue.NewLedger()
	}
	return c
}

// silent is for go-redis, which prints every failed dial.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Users returns the users' way to the service: through the load balancer, to the Region that is active.
func (f *Fleet) Users() http.RoundTripper { return f.front }

// Writer returns the Site whose processes may write, nil while there is none.
func (f *Fleet) Writer() *Site {
	for _, s := range f.Sites {
		for _, svc := range s.Services() {
			if _, ok := svc.Controller.Ready(); ok {
				return s
			}
		}
	}
	return nil
}

// Orders returns every order that the writer's database has; of both Sites the one promoted last, when no process runs.
func (f *Fleet) Orders() (orders []service.Order) {
	site := f.Sites[East]
	if other := f.Other(site); other.Store.Epoch() > site.Store.Epoch() {
		site = other
	}
	for _, key := range site.Store.Keys() {
		if id, ok := cutOrder(key); ok {
			orders = append(orders, site.order(id))
		}
	}
	return orders
}

// Other returns the other Site.
func (f *Fleet) Other(s *Site) *Site {
	if s.Name == East {
		return f.Sites[West]
	}
	return f.Sites[East]
}

// flags connects a Region to the flag backend.
func (f *Fleet) flags(from *drtest.Region) (*redisflags.Flags, *redis.Client, error) {
	client := connectRedis(f.Flags, from)
	flags, err := redisflags.New(client, redisflags.Config{Key: "orders"})
	return flags, client, err
}

// deploy publishes "no flags" and fills the warehouse, once.
func (f *Fleet) deploy(ctx context.Context) error {
	flags, client, err := f.flags(f.third)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := flags.Publish(ctx, degrade.FlagSet{Version: "1", Levels: map[string]degrade.Level{}}); err != nil {
		return err
	}
	return fillWarehouse(ctx, f.Sites[East].Store.Client(f.third))
}

// connectRedis returns a client that heeds deadlines.
func connectRedis(s *redistest.Server, from *drtest.Region) *redis.Client {
	o := s.Options(from)
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = time.Second, time.Second, time.Second
	o.MaxRetries = -1  // the callers know what may be repeated
	o.MinIdleConns = 8 // a new connection to the other Region takes three round trips: longer than the second copy of a key is waited for
	o.PoolSize = 256   // a call to the other Region keeps its connection for a round trip of 60 ms
	return redis.NewClient(o)
}
