package drtest_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// rich is a World in which every kind of fault has a target.
func rich(t testing.TB, w *drtest.World, secure bool) {
	east, west, users := w.Region("us-east-1"), w.Region("us-west-2"), w.Region("users")
	db := east.Zone("a").Store("db")
	dr := west.Store("db-dr", drtest.ReplicaOf(db))
	api := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, db.Client(east.Zone("b")).Put(r.Context(), r.URL.Path, "1", 0))
	})
	scheme := "http"
	if secure {
		scheme = "https"
		east.Zone("b").ServeTLS("api", api, time.Now(), time.Now().Add(time.Hour))
	} else {
		east.Zone("b").Serve("api", api)
	}
	west.Serve("route53", drtest.ControlPlane(http.HandlerFunc(hello)))
	server := sqstest.Start(east)
	url := server.Queue("q").URL()
	queue := server.Client(users, func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
	client, reader := users.HTTPClient(), dr.Client(users)
	west.Go("janitor", func(ctx context.Context) error {
		c := west.HTTPClient()
		for sleep(ctx, 7*time.Second) {
			once, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, _ = get(once, c, "http://route53/")
			cancel()
		}
		return nil
	})
	w.Load(drtest.Load{Name: "calls", Clients: 3, Rate: drtest.Poisson(0.5), Timeout: 4 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
		switch op.Client() {
		case 0:
			_, err := get(ctx, client, scheme+"://api/"+op.Key())
			return err
		case 1:
			_, _, err := reader.Get(ctx, "/calls/0/1")
			return err
		}
		body := op.Key()
		_, err := queue.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
		return err
	}})
	w.Check(check.Availability(0))
}

// Every kind of fault is drawn somewhere, and one seed gives one order of events with one processor and with two.
func TestExploreRepeatsWithEveryFault(t *testing.T) {
	seeds := 30
	if raceEnabled || testing.Short() {
		seeds = 6
	}
	fired := map[fault.Kind]int{}
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		search := func(procs int) (hashes []string) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			var worlds []*drtest.World
			x := drtest.Explore(t, drtest.ExploreConfig{
				World: drtest.Config{Fidelity: fidelity, Settle: 30 * time.Second, TieFree: true}, Seeds: seeds, Safety: 2 * time.Minute, Events: 10, Core: []string{"us-east-1", "users"},
				Also: []fault.Fault{fault.CapacityLimit("api", 0.5), fault.RegionCapacity("us-east-1", 1), fault.FlagStoreDown("route53")},
			}, func(t testing.TB, w *drtest.World) {
				worlds = append(worlds, w)
				rich(t, w, fidelity == drtest.FidelityMessages)
			})
			for k, n := range x.Fired {
				fired[k] += n
			}
			for _, w := range worlds {
				hashes = append(hashes, w.Report().Hash)
			}
			return hashes
		}
		two, one := search(2), search(1)
		for i := range two {
			if two[i] != one[i] {
				t.Errorf("seed %d: %s with two processors, %s with one", i+1, two[i], one[i])
			}
		}
	})
	for _, k := range fault.Kinds() {
		if fired[k] == 0 && seeds > 20 {
			t.Errorf("no %s fault in %d seeds", k, seeds)
		}
	}
}
