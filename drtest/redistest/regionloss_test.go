package redistest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// TestRegionLoss takes a Region with its queue and its Redis away for an hour, from under the real
// SDK and go-redis clients, and gives it back.
func TestRegionLoss(t *testing.T) {
	drtest.Run(t, drtest.Config{Seed: 3}, func(t *testing.T, w *drtest.World) {
		east, west, users := w.Region("us-east-1"), w.Region("us-west-2"), w.Region("users")
		w.Link(users, east, simnet.Shape{Latency: 10 * time.Millisecond})
		w.Link(users, west, simnet.Shape{Latency: 40 * time.Millisecond})
		primary := redistest.Start(east)
		replica := primary.Replicate(west, 200*time.Millisecond)
		a := &shop{w: w, replica: replica, active: "us-east-1", sites: map[string]*site{
			"us-east-1": newSite(sqstest.Start(east), primary, users),
			"us-west-2": newSite(sqstest.Start(west), replica, users),
		}}
		w.Load(drtest.Load{Name: "orders", Clients: 4, Rate: drtest.Poisson(0.1), Timeout: 5 * time.Second, Do: a.place})
		for name, r := range map[string]*drtest.Region{"us-east-1": east, "us-west-2": west} {
			r.Go("worker in "+name, func(ctx context.Context) error { return a.work(ctx, sqstestClient(a.sites[name], r), name) })
		}
		w.Gauge("queued", func() float64 { return float64(a.queued()) })
		w.Play(drtest.Timeline("lose us-east-1", drtest.At(time.Minute, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(time.Hour)))
		w.Check(
			check.RTO(15*time.Second).For("orders"),
			check.Drained("queued", time.Minute).To(3), // what five minutes of normal traffic keep under way
			check.LostWrites(0),                        // an order is safe in its Region's queue, whatever happens to Redis
		)
		w.Wait()
		a.report(t)
		wantAlive(t, a.sites["us-east-1"])
	})
}

// wantAlive uses the clients that were cut off for an hour: pools and SDK must have recovered.
func wantAlive(t *testing.T, s *site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.cache.Set(ctx, "alive", "1", 0).Err(); err != nil {
		t.Errorf("go-redis after the heal: %v", err)
	}
	if _, err := s.queue.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &s.url}); err != nil {
		t.Errorf("the SDK after the heal: %v", err)
	}
}

// A site is what one Region has: a queue and a Redis, and the users' clients of both.
type site struct {
	server *sqstest.Server
	queue  *sqs.Client
	url    string
	cache  *redis.Client
}

func newSite(server *sqstest.Server, cache *redistest.Server, from *drtest.Region) *site {
	return &site{server: server, queue: server.Client(from, noRetry), url: server.Queue("orders").URL(), cache: cache.Client(from)}
}

func noRetry(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }

func sqstestClient(s *site, from *drtest.Region) *sqs.Client { return s.server.Client(from, noRetry) }

// A shop is a failing-over client written by hand: it leaves a Region after three failures in a row.
type shop struct {
	w       *drtest.World
	replica *redistest.Server
	sites   map[string]*site

	mu       sync.Mutex // guards all below
	active   string
	failures int
	lost     []redistest.Write
	handled  int
}

func (a *shop) here() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.active
}

// place tries the active Region twice: the second time it may be another one.
func (a *shop) place(ctx context.Context, op *drtest.Op) error {
	var last error
	for range 2 {
		region := a.here()
		if last = a.placeIn(ctx, a.sites[region], op.Key()); last == nil {
			op.Served(region)
			op.Acked(op.Key())
		}
		if a.judge(region, last); last == nil {
			return nil
		}
	}
	return last
}

// placeIn remembers the order in Redis and queues it.
func (a *shop) placeIn(ctx context.Context, s *site, key string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := s.queue.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &s.url, MessageBody: &key}); err != nil {
		return err
	}
	return s.cache.Set(ctx, "order:"+key, "placed", time.Hour).Err()
}

// judge counts failures and fails over at the third in a row.
func (a *shop) judge(region string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case region != a.active:
	case err == nil:
		a.failures = 0
	case a.active == "us-east-1":
		if a.failures++; a.failures == 3 {
			a.w.Mark(history.MarkDetected, "users", "three failures in a row")
			a.lost = a.replica.Promote()
			a.active = "us-west-2"
			a.w.Mark(history.MarkSwitched, "users", "us-west-2 is active, its Redis promoted")
		}
	}
}

// work handles the orders of one Region's queue, with the Redis that is active to skip what was done.
func (a *shop) work(ctx context.Context, queue *sqs.Client, region string) error {
	url := a.sites[region].url
	for ctx.Err() == nil {
		got, err := queue.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 20})
		if err != nil {
			continue
		}
		for _, m := range got.Messages {
			first, err := a.sites[a.here()].cache.SetNX(ctx, "done:"+*m.Body, "1", time.Hour*24).Result()
			if err != nil {
				continue // the lease ends, somebody tries again
			}
			if first {
				a.w.Applied("order", *m.Body)
				a.count()
			}
			_, _ = queue.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
		}
	}
	return nil
}

func (a *shop) count() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handled++
}

func (a *shop) queued() (n int) {
	for _, s := range a.sites {
		n += s.server.Queue("orders").Depth()
	}
	return n
}

func (a *shop) report(t *testing.T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.active != "us-west-2" {
		t.Error("the shop never failed over")
	}
	if a.handled < 1000 {
		t.Errorf("%d orders handled", a.handled)
	}
	t.Logf("%d orders handled; the promoted Redis had lost %d writes", a.handled, len(a.lost))
}

// TestRegionLossAndBack is the bare minimum: one call before, in and after an hour of silence.
func TestRegionLossAndBack(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, app := w.Region("us-east-1"), w.Region("app")
		s := newSite(sqstest.Start(east), redistest.Start(east), app)
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := s.queue.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &s.url, MessageBody: aws.String("x")})
			return errors.Join(err, s.cache.Set(ctx, "k", "v", 0).Err())
		}
		if err := call(); err != nil {
			t.Fatalf("before: %v", err)
		}
		w.Play(drtest.Timeline("silence", drtest.At(0, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(time.Hour)))
		time.Sleep(time.Second)
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in the silence: %v, want a deadline", err)
		}
		time.Sleep(time.Hour)
		if err := call(); err != nil {
			t.Errorf("after: %v", err)
		}
	})
}
