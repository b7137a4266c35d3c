//go:build unix

package sqsqueue_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/servertest"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/spool"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// guard is the smallest Once: a completed call is not run again, a running one is in flight.
type guard struct {
	mu    sync.Mutex
	state map[string]bool // false = running
}

type inFlight struct{}

func (inFlight) Error() string             { return "in flight" }
func (inFlight) NotRun() bool              { return true }
func (inFlight) OutcomeUnknown() bool      { return false }
func (inFlight) RetryAfter() time.Duration { return time.Second }

func (g *guard) Once(ctx context.Context, key string, call func(context.Context) error) error {
	g.mu.Lock()
	done, known := g.state[key]
	if !known {
		g.state[key] = false
	}
	g.mu.Unlock()
	switch {
	case done:
		return nil
	case known:
		return inFlight{}
	}
	err := call(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.state[key] = true
	} else {
		delete(g.state, key)
	}
	return err
}

type order struct{ N int }

var place = queue.Define[order]("freeze.order.v1", queue.Repeatable())

// TestARegionsServerFreezes stops one Region's real server for a while under load (SIGSTOP: connections stay open and nothing
// answers), resumes it and closes the ledger: nothing accepted is lost, and every call that completed more than once is
// explained by a rule. Without Once, copies run twice; with it, none does.
func TestARegionsServerFreezes(t *testing.T) {
	for _, name := range []string{"without Once", "with Once"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			east, west := servertest.Start(t, servertest.SQSEast), servertest.Start(t, servertest.SQSWest)
			a, _ := open(t, client("http://"+trim(east.Addr()), "us-east-1"), false, "us-east-1")
			b, _ := open(t, client("http://"+trim(west.Addr()), "us-west-2"), false, "us-west-2")
			f := newFreeze(t, a, b, name == "with Once")
			f.start()
			f.load(5 * time.Second)
			east.Freeze()
			f.load(frozenFor())
			east.Resume()
			f.load(5 * time.Second)
			f.finish()
		})
	}
}

// frozenFor is 20 s, twenty times the send time-out and four leases, or with HOLDFAST_TEST_LONG=1 a minute.
func frozenFor() time.Duration {
	if os.Getenv("HOLDFAST_TEST_LONG") == "1" {
		return time.Minute
	}
	return 20 * time.Second
}

// trim takes an address with or without its scheme.
func trim(addr string) string {
	if len(addr) > 7 && addr[:7] == "http://" {
		return addr[7:]
	}
	return addr
}

type freeze struct {
	t      *testing.T
	a, b   *sqsqueue.Queue
	spool  *spool.Spool
	client *queue.Client
	worker *queue.Worker
	ledger *queue.Ledger
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   bool

	mu      sync.Mutex
	effects map[int]int
	sent    int
	refused int
	vias    map[queue.Via]int
}

func newFreeze(t *testing.T, a, b *sqsqueue.Queue, once bool) *freeze {
	f := &freeze{t: t, a: a, b: b, ledger: queue.NewLedger(), once: once, effects: map[int]int{}, vias: map[queue.Via]int{}}
	r, err := queue.NewRegional(func() ([]string, string) { return []string{"us-east-1", "us-west-2"}, "us-east-1" },
		map[string]queue.Transport{"us-east-1": a, "us-west-2": b}, queue.RegionalConfig{AttemptTimeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if f.spool, err = spool.Open(t.TempDir(), spool.Config{}); err != nil {
		t.Fatal(err)
	}
	if f.client, err = queue.NewClient(r, queue.ClientConfig{Spool: f.spool, SpoolDurable: true, Ledger: f.ledger, SendTimeout: 300 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	mux := queue.NewMux()
	queue.Handle(mux, place, f.handle, queue.HandlerConfig{})
	config := queue.WorkerConfig{Ledger: f.ledger, Lease: 5 * time.Second, Poll: 2 * time.Second}
	if once {
		config.Once, config.OnceRetention = (&guard{state: map[string]bool{}}).Once, 24*time.Hour
	}
	if f.worker, err = queue.NewWorker(r, mux, config); err != nil {
		t.Fatal(err)
	}
	return f
}

// handle has its effect and then takes a while: a lost lease meets it in between.
func (f *freeze) handle(ctx context.Context, o order) error {
	f.mu.Lock()
	f.effects[o.N]++
	f.mu.Unlock()
	if o.N%50 != 0 {
		return nil
	}
	select { // one in fifty is slow
	case <-time.After(4 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *freeze) start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	for _, run := range []func(context.Context) error{f.client.Run, f.worker.Run} {
		f.wg.Go(func() {
			if err := run(ctx); err != nil {
				f.t.Error(err)
			}
		})
	}
}

// load defers 50 calls a second.
func (f *freeze) load(d time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < d; <-tick.C {
		f.sent++
		n := f.sent
		wg.Go(func() {
			r, err := place.Defer(context.Background(), f.client, order{n}, queue.ID(fmt.Sprint("call-", n)))
			f.mu.Lock()
			defer f.mu.Unlock()
			if err != nil {
				f.refused++
				f.t.Logf("call %d refused: %v", n, err)
				return
			}
			if !r.Durable {
				f.t.Errorf("receipt %+v is not durable", r)
			}
			f.vias[r.Via]++
		})
	}
}

// finish waits until the queues are empty, stops everything and closes the ledger.
func (f *freeze) finish() {
	t := f.t
	for deadline := time.Now().Add(time.Minute); ; {
		da, errA := f.a.Stats(t.Context())
		db, errB := f.b.Stats(t.Context())
		if errA == nil && errB == nil && da.Total()+db.Total()+f.spool.Stats().Messages == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("not empty after a minute: %+v %v, %+v %v, spool %d", da, errA, db, errB, f.spool.Stats().Messages)
			break
		}
		<-time.After(200 * time.Millisecond)
	}
	f.cancel()
	f.wg.Wait()
	r := f.ledger.Check(t.Context(), map[string]queue.Holding{"us-east-1": f.a, "us-west-2": f.b, "spool": f.spool})
	if len(r.Lost) > 0 || len(r.Unexplained) > 0 || len(r.Unverified) > 0 {
		t.Errorf("ledger: lost %v, unexplained %v, unverified %v", r.Lost, r.Unexplained, r.Unverified)
	}
	twice := 0
	for n, times := range f.effects {
		if times > 1 {
			twice++
			if rules := r.Repeated[fmt.Sprint("call-", n)]; len(rules) == 0 && !f.explained(n) {
				t.Errorf("call %d had its effect %d times and no rule says why", n, times)
			}
		}
	}
	if f.refused > 0 || r.Accepted != f.sent {
		t.Errorf("%d of %d calls accepted, %d refused", r.Accepted, f.sent, f.refused)
	}
	if f.once && len(r.Repeated) > 0 {
		t.Errorf("with Once %d calls completed more than once", len(r.Repeated))
	}
	t.Logf("%d accepted (%v), %d done, %d effects repeated, %d completed twice, worker %+v", r.Accepted, f.vias, r.Done, twice, len(r.Repeated), f.worker.Stats())
}

// explained reports whether the ledger has a rule for a call that ran twice and completed once.
func (f *freeze) explained(n int) bool { return len(f.ledger.Rules(fmt.Sprint("call-", n))) > 0 }
