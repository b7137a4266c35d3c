package service_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// instantly is the network of the benchmark: payments that take every charge at once.
type instantly struct{}

func (instantly) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// inMemory returns the service on stores in memory, its controller running, its parts, and the database of its Region as others use it.
func inMemory(b testing.TB) (svc *service.Service, p service.Parts, db *sql.DB) {
	p = service.Parts{
		Regions: []failover.Region{embedded.East, embedded.West}, Self: embedded.East, Home: embedded.East, Witnesses: []failover.Region{embedded.Third},
		Instance: "bench", Coordinator: failover.NewMemoryCoordinator(embedded.East, embedded.West), Database: embedded.Database{},
		SQL: map[failover.Region]*sql.DB{}, Keys: map[failover.Region]idempotency.Store{}, Peers: map[failover.Region]*url.URL{},
		Promote: func(failover.Transition) []runbook.Step { return nil }, Journal: runbook.NewMemoryJournal(), Net: instantly{},
		Payments: &url.URL{Scheme: "http", Host: "payments"}, Mail: &url.URL{Scheme: "http", Host: "mail"},
		Listen: func(http.Handler) service.HTTPServer { return nil }, Authorize: func(*http.Request) (string, error) { return "", nil },
		Settings: service.Settings{SettleAfter: 1}, // so that the queue can be emptied
	}
	lane := func() service.Lane {
		return service.Lane{Queues: map[failover.Region]queue.Transport{
			embedded.East: holdfast.Must(queue.NewMemory(queue.MemoryConfig{Region: embedded.East})),
			embedded.West: holdfast.Must(queue.NewMemory(queue.MemoryConfig{Region: embedded.West})),
		}}
	}
	p.Calls, p.Charges = lane(), lane()
	for _, r := range p.Regions {
		fenced, plain := openMap()
		p.SQL[r], p.Peers[r] = fenced, &url.URL{Host: r}
		if r == p.Self {
			db = plain
		}
		b.Cleanup(func() { _ = plain.Close() })
		p.Keys[r] = holdfast.Must(idempotency.NewMemory(idempotency.MemoryConfig{MaxEntries: 10_000}))
	}
	svc = holdfast.Must(service.New(p))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = svc.Controller.Run(ctx) })
	running.Go(func() { _ = svc.Modes.Run(ctx) })
	running.Go(func() { _ = svc.Guard.Run(ctx) })
	b.Cleanup(func() {
		stop()
		running.Wait()
		for _, db := range p.SQL {
			_ = db.Close()
		}
	})
	for {
		if _, ok := svc.Controller.Ready(); ok {
			time.Sleep(2 * time.Second) // until the levels have followed
			return svc, p, db
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A contender is a handler and what it spent: per post, one value a turn.
type contender struct {
	http.Handler
	empty  func() // its queues
	spent  []float64
	allocs []float64
}

// turn is how many posts a contender serves before the other one does.
const turn = 200

// serve lets c serve a turn of posts with keys of their own. CPU time and allocations are the process's.
func (c *contender) serve(b testing.TB, posts []*http.Request) {
	answers := make([]*httptest.ResponseRecorder, len(posts))
	for i := range answers {
		answers[i] = httptest.NewRecorder()
	}
	runtime.GC() // of what others left
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpu()
	for i, r := range posts {
		c.ServeHTTP(answers[i], r)
	}
	spent := cpu() - start
	runtime.ReadMemStats(&after)
	for _, a := range answers {
		if a.Code != http.StatusCreated {
			b.Fatalf("POST = %d %s", a.Code, a.Body)
		}
	}
	c.empty()
	c.spent = append(c.spent, float64(spent.Nanoseconds())/float64(len(posts)))
	c.allocs = append(c.allocs, float64(after.Mallocs-before.Mallocs)/float64(len(posts)))
}

// posts returns a turn of orders as a server hands them over, each with a context that can be cancelled.
func posts(b testing.TB, first int) []*http.Request {
	list := make([]*http.Request, turn)
	for i := range list {
		ctx, cancel := context.WithCancel(context.Background())
		b.Cleanup(cancel)
		r := httptest.NewRequestWithContext(ctx, "POST", "/orders", strings.NewReader(anvil))
		r.Header.Set("Authorization", "Bearer user-"+strconv.Itoa(first+i)) // a first order each: a list of orders that grows is JSON for both
		r.Header.Set("Idempotency-Key", "key-"+strconv.Itoa(first+i))
		list[i] = r
	}
	return list
}

// contenders returns the handler without the packages and the one with all of them.
func contenders(b testing.TB) (plain, all *contender) {
	svc, p, db := inMemory(b)
	hand := &byHand{db: db, payments: p.Payments, client: &http.Client{Transport: instantly{}}, placed: svc.Placed}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", hand)
	plain = &contender{Handler: mux, empty: hand.outbox.empty}
	return plain, &contender{Handler: svc.Handler(), empty: func() { empty(b, p.Calls, p.Charges) }}
}

// addedAllocations is what the packages may add to a post: docs/decisions/092 says by which package. The bar is 40.
const addedAllocations = 38

// The packages add no more allocations to a post than they are known to.
func TestPostAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // with one, on a busy machine, what the goroutines of database/sql allocate is chance
	plain, all := contenders(t)
	for n := range 10 {
		for i, c := range []*contender{plain, all} {
			c.serve(t, posts(t, (2*n+i)*turn))
		}
	}
	if added := median(all.allocs) - median(plain.allocs); added > addedAllocations {
		t.Errorf("the packages add %.1f allocations to a post of %.1f, want at most %d", added, median(plain.allocs), addedAllocations)
	}
}

// BenchmarkPost measures POST /orders with all packages and the same handler without them, in turns, so that a busy machine bears on both. It reports
// the medians of the turns, and what the packages add.
func BenchmarkPost(b *testing.B) {
	plain, all := contenders(b)
	n := 0
	for b.Loop() {
		for _, c := range []*contender{plain, all} {
			c.serve(b, posts(b, n))
			n += turn
		}
	}
	report := func(name, unit string, values []float64) { b.ReportMetric(median(values), name+"-"+unit+"/post") }
	for _, m := range []struct {
		unit       string
		plain, all []float64
	}{{"cpu-ns", plain.spent, all.spent}, {"allocs", plain.allocs, all.allocs}} {
		report("plain", m.unit, m.plain)
		report("all", m.unit, m.all)
		added := make([]float64, len(m.all))
		for i := range added {
			added[i] = m.all[i] - m.plain[i]
		}
		report("added", m.unit, added)
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// empty takes all messages out of lanes, as workers do: a queue that only grows is not what is measured.
func empty(b testing.TB, lanes ...service.Lane) {
	ctx := context.Background()
	for _, lane := range lanes {
		for _, q := range lane.Queues {
			for {
				got, err := q.Receive(ctx, queue.ReceiveRequest{Max: 10, Lease: time.Minute})
				if err != nil {
					b.Fatal(err)
				}
				if len(got) == 0 {
					break
				}
				if err := errors.Join(q.Delete(ctx, got)...); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
