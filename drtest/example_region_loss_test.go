package drtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A shop takes orders in two Regions. It fails over by hand: a monitor in the second Region probes the first,
// and promotes its own store after three misses; clients try the Region that answered last and then the other.
type shop struct {
	w      *drtest.World
	stores map[string]*drtest.Store

	mu     sync.Mutex
	writer string
	epoch  uint64
}

const (
	eastName, westName = "us-east-1", "us-west-2"
	probeEvery         = 5 * time.Second
	probeMisses        = 3
	promotionTakes     = 30 * time.Second
)

func openShop(w *drtest.World) *shop {
	w.RTT(drtest.AWSRTT())
	east, west := w.Region(eastName), w.Region(westName)
	primary := east.Store("orders")
	s := &shop{w: w, writer: eastName, epoch: 1, stores: map[string]*drtest.Store{
		eastName: primary, westName: west.Store("orders-dr", drtest.ReplicaOf(primary, drtest.Lag(200*time.Millisecond))),
	}}
	for _, r := range []*drtest.Region{east, west} {
		db := s.stores[r.Name()].Client(r)
		r.Serve("api."+r.Name(), http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) { s.order(rw, req, r, db) }))
	}
	west.Go("monitor", func(ctx context.Context) error { return s.monitor(ctx, west) })
	for name := range s.stores {
		w.Follow(name, func() (uint64, time.Time) { return s.mayWrite(name) })
	}
	return s
}

// order stores an order, unless this Region is not the writer.
func (s *shop) order(rw http.ResponseWriter, req *http.Request, r *drtest.Region, db *drtest.StoreClient) {
	epoch, _ := s.mayWrite(r.Name())
	key := strings.TrimPrefix(req.URL.Path, "/orders/")
	if req.URL.Path == "/health" {
		return
	}
	if epoch == 0 {
		http.Error(rw, "not the writer", http.StatusServiceUnavailable)
		return
	}
	err := db.Put(req.Context(), key, "order", epoch)
	if err == nil {
		s.w.Applied("order", key+"@"+r.Name())
	}
	answer(rw, err)
}

func answer(rw http.ResponseWriter, err error) {
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	}
}

func (s *shop) mayWrite(region string) (uint64, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer != region {
		return 0, time.Time{}
	}
	return s.epoch, time.Time{}
}

// monitor probes the first Region and takes over when it is gone.
func (s *shop) monitor(ctx context.Context, west *drtest.Region) error {
	client := west.HTTPClient()
	client.Timeout = time.Second
	for misses := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(probeEvery):
		}
		if _, err := get(ctx, client, "http://api."+eastName+"/health"); err == nil {
			misses = 0
			continue
		}
		if misses++; misses == probeMisses {
			return s.takeOver(ctx)
		}
	}
}

func (s *shop) takeOver(ctx context.Context) error {
	s.w.Mark(history.MarkDetected, "monitor", fmt.Sprintf("%d probes missed", probeMisses))
	s.mu.Lock()
	s.writer, s.epoch = "", s.epoch+1 // a real fleet needs a lease for this: the old writer cannot be told
	epoch := s.epoch
	s.mu.Unlock()
	s.w.Mark(history.MarkDecided, "monitor", "to "+westName)
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(promotionTakes):
	}
	if err := s.stores[westName].Promote(epoch); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer = westName
	return nil
}

// A buyer is a client that prefers the Region which answered last.
type buyer struct {
	http   *http.Client
	mu     sync.Mutex
	prefer int
}

var regionNames = []string{eastName, westName}

// place sends an order to one Region after the other. Orders have a key, so that sending one twice is safe
// as long as the key survives.
func (b *buyer) place(ctx context.Context, key string) error {
	b.mu.Lock()
	first := b.prefer
	b.mu.Unlock()
	var errs []error
	for i := range regionNames {
		at := (first + i) % len(regionNames)
		err := b.try(ctx, regionNames[at], key)
		if err == nil {
			b.mu.Lock()
			b.prefer = at
			b.mu.Unlock()
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (b *buyer) try(ctx context.Context, region, key string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := get(ctx, b.http, "http://api."+region+"/orders/"+key)
	return err
}

// orders is the load: n clients that place orders.
func (s *shop) orders(n int, rate drtest.Rate, edges drtest.Edges) drtest.Load {
	users := s.w.Region("users")
	buyers := make([]*buyer, n)
	for i := range buyers {
		buyers[i] = &buyer{http: users.HTTPClient()}
	}
	return drtest.Load{
		Name: "orders", Clients: n, Rate: rate, Timeout: 5 * time.Second, Edges: edges,
		Do: func(ctx context.Context, op *drtest.Op) error {
			op.As("POST /orders")
			err := buyers[op.Client()].place(ctx, op.Key())
			if err == nil {
				op.Acked(op.Key())
			}
			return err
		},
	}
}

// loseEast is an hour without us-east-1.
var loseEast = drtest.Timeline("lose us-east-1", drtest.At(5*time.Minute, fault.RegionDown(eastName, fault.ModeBlackhole)).For(time.Hour))

func TestRegionLoss(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity, TieFree: true}, func(t *testing.T, w *drtest.World) {
			s := openShop(w)
			w.Load(s.orders(10, drtest.Poisson(1), drtest.Edges{Before: 10 * time.Second, After: 2 * time.Minute, Thin: 50}))
			w.Play(loseEast)
			w.Check(
				check.RTO(time.Minute).For("POST /orders").Floor(
					check.Setting{Name: "probe interval × misses", Took: probeMisses * probeEvery},
					check.Setting{Name: "promotion", Took: promotionTakes}),
				check.RPO(time.Second), check.LostWrites(20), check.AppliedOnce("order"), check.SingleWriter(),
				check.Availability(0.97).For("POST /orders"), check.Amplification(2))
		})
	})
}
