package embedded

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
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
)

// Config configures a [Fleet]. The zero value is ready to use but for Dir.
type Config struct {
	// Dir is where processes keep state files and spools over a restart. Required.
	Dir string

	// Instances is how many processes each Region runs. Zero means 2. With one the Third Region needs a second witness.
	Instances int

	// Lag is how far the standby's database stays behind, beside the way. Zero means 200 ms.
	Lag time.Duration

	// Capacity is how many orders a second a Region can take after it has taken over. Zero means unlimited.
	Capacity int

	// Latency is what payments and the relays take for a request. Zero means 20 ms.
	Latency time.Duration

	// PaymentsAtOnce is how many charges payments work on at a time; the others queue there. Zero means any number.
	PaymentsAtOnce int

	// Settings are the service's. Their zero value is the default everywhere.
	Settings service.Settings

	// Ledger is the account of deferred calls. Nil means a new one.
	Ledger *queue.Ledger

	// OnAnswer is told of every request that the users' way in has sent to a Region, on the request's goroutine: the answer, whose body it may replace, or the
	// error. Nil means nobody.
	OnAnswer func(to failover.Region, r *http.Request, answer *http.Response, err error)

	// Audit receives what people and the group did; Logger a line per change of state. Nil means nobody.
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

	life  context.Context // ends with Stop
	end   context.CancelFunc
	alive sync.WaitGroup // processes

	slowest atomic.Int64 // of the stops of processes
	moves   moves

	mu      sync.Mutex // guards the following, and alive against an Add after stopped
	stopped bool
	refused []Refusal

	third *drtest.Region
	web   *drtest.Region
	front *Front
}

// Start makes the parts in w and starts every process. It returns at once: the first writer opens after a few polls.
func Start(w *drtest.World, cfg Config) *Fleet {
	cfg = cfg.withDefaults()
	w.RTT(drtest.AWSRTT())
	f := &Fleet{
		World: w, Config: cfg, Sites: map[failover.Region]*Site{}, Ledger: cfg.Ledger, Unknown: failover.NewMemoryLedger(cfg.Logger),
		Journal: runbook.NewMemoryJournal(), third: w.Region(Third), web: w.Region(Web),
	}
	f.life, f.end = context.WithCancel(context.Background())
	redis.SetLogger(silent{})
	f.Flags = redistest.Start(f.third)
	f.serveCoordinator(f.third)
	f.Payments = startPayments(w, w.Region(East), cfg)
	f.Relays = &Relays{sent: map[string]int{}}
	for _, name := range []string{East, West} {
		f.Sites[name] = f.newSite(w.Region(name))
	}
	f.front = newFront(f)
	f.third.Go("deploy", f.deploy)
	for _, name := range []string{East, West} {
		for n := range cfg.Instances {
			f.Sites[name].start(n)
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

// Stop ends every process of the service in good order, as a deployment does, and waits until they are gone. Their errors are the World's.
func (f *Fleet) Stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.end()
	f.alive.Wait()
}

// LongestStop returns the longest time that a process took to stop, from when it was told to.
func (f *Fleet) LongestStop() time.Duration { return time.Duration(f.slowest.Load()) }

// tookToStop notes it.
func (f *Fleet) tookToStop(took time.Duration) {
	for slowest := f.slowest.Load(); int64(took) > slowest && !f.slowest.CompareAndSwap(slowest, int64(took)); {
		slowest = f.slowest.Load()
	}
}

// A Refusal is an answer of 500 or more that a process gave while it stopped in good order.
type Refusal struct {
	Process string
	Status  int
	At      time.Time
}

// Refusals returns them, the oldest first.
func (f *Fleet) Refusals() []Refusal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.refused)
}

func (f *Fleet) refusedAtStop(process string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, Refusal{process, status, time.Now()})
}

// enter counts a process in, unless all is over.
func (f *Fleet) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return false
	}
	f.alive.Add(1)
	return true
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

// address of the service in a Region.
func address(region failover.Region) *url.URL {
	return &url.URL{Scheme: "http", Host: "orders." + region + ".internal"}
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
