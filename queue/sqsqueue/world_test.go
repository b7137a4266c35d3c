package sqsqueue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// world is an application in one Region with queues in two others, on virtual time.
type world struct {
	t        *testing.T
	holdings map[string]queue.Holding
	client   *queue.Client
	worker   *queue.Worker
	ledger   *queue.Ledger
	runs     atomic.Int64
}

func newWorld(t *testing.T, w *drtest.World) *world {
	app := w.Region("app")
	x := &world{t: t, ledger: queue.NewLedger(), holdings: map[string]queue.Holding{}}
	queues := map[string]queue.Transport{}
	for _, name := range []string{"us-east-1", "us-west-2"} {
		server := sqstest.Start(w.Region(name))
		dead := server.Queue("calls-dead")
		q, err := sqsqueue.New(server.Client(app), server.Queue("calls").URL(), sqsqueue.Config{Region: name, DeadLetterURL: dead.URL()})
		if err != nil {
			t.Fatal(err)
		}
		queues[name], x.holdings[name] = q, q
	}
	group, err := breaker.NewGroup(breaker.Config{Name: "sqs", ConsecutiveFailures: 3}, breaker.GroupConfig{})
	x.check(err)
	r, err := queue.NewRegional(func() ([]string, string) { return []string{"us-east-1", "us-west-2"}, "us-east-1" }, queues, queue.RegionalConfig{Around: group.Do})
	x.check(err)
	store, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	x.check(err)
	guard, err := idempotency.New(store, idempotency.Config{})
	x.check(err)
	x.client, err = queue.NewClient(r, queue.ClientConfig{Ledger: x.ledger})
	x.check(err)
	mux := queue.NewMux()
	queue.Handle(mux, place, x.handle, queue.HandlerConfig{})
	x.worker, err = queue.NewWorker(r, mux, queue.WorkerConfig{Ledger: x.ledger, Once: guard.Once, OnceRetention: guard.OnceRetention()})
	x.check(err)
	app.Go("worker", x.worker.Run)
	return x
}

func (x *world) check(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// handle has one call in twenty run for 20 s, so that the loss of a Region meets some of them.
func (x *world) handle(ctx context.Context, o order) error {
	x.runs.Add(1)
	if o.N%20 == 0 {
		select {
		case <-time.After(20 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// TestARegionIsLost takes home away under load, in every way a Region goes, and brings it back: every call is accepted, none
// is lost, none completes twice.
func TestARegionIsLost(t *testing.T) {
	for name, mode := range map[string]simnet.Mode{"answers nothing": simnet.ModeHang, "refuses": simnet.ModeRefuse} {
		t.Run(name, func(t *testing.T) {
			drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
				x := newWorld(t, w)
				w.Play(drtest.Timeline("loss", drtest.At(10*time.Second, fault.RegionDown("us-east-1", mode)).For(2*time.Minute)))
				regions := map[string]int{}
				for n := range 1000 {
					r, err := place.Defer(t.Context(), x.client, order{n}, queue.ID(fmt.Sprint("call-", n)))
					if err != nil || !r.Durable {
						t.Errorf("call %d: %+v, %v", n, r, err)
					}
					regions[r.Region]++
					time.Sleep(200 * time.Millisecond)
				}
				time.Sleep(5 * time.Minute)
				if _, err := x.worker.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				rep := x.ledger.Check(t.Context(), x.holdings)
				if !rep.Balanced() || rep.Accepted != 1000 || rep.Done != 1000 || rep.Held != 0 || len(rep.Repeated) > 0 || len(rep.Unverified) > 0 {
					t.Errorf("ledger %+v", rep)
				}
				if regions["us-east-1"] < 100 || regions["us-west-2"] < 300 {
					t.Errorf("calls by Region %v, want some at home before and after and the rest in the other", regions)
				}
				t.Logf("by Region %v, %d runs, %+v", regions, x.runs.Load(), x.worker.Stats())
			})
		})
	}
}
