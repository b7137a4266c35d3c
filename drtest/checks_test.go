package drtest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A queue of deferred work is replayed after an outage; with the bug all at once.
func replay(w *drtest.World, bug bool) {
	east, app := w.Region("east"), w.Region("app")
	east.Serve("ledger", http.HandlerFunc(hello))
	client := app.HTTPClient()
	backlog := make(chan string, 10_000)
	post := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := get(ctx, client, "http://ledger/")
		return err
	}
	w.Load(drtest.Load{Name: "postings", Clients: 5, Rate: drtest.Constant(2), Timeout: 3 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
		if post(ctx) != nil {
			backlog <- op.Key() // accepted: it is sent later
		}
		return nil
	}})
	app.Go("replayer", func(ctx context.Context) error {
		pace := time.Second
		if bug {
			pace = 20 * time.Millisecond
		}
		for sleep(ctx, pace) {
			select {
			case key := <-backlog:
				if post(ctx) != nil {
					backlog <- key
					sleep(ctx, time.Second)
				}
			default:
			}
		}
		return nil
	})
}

func TestPlantedUnpacedReplay(t *testing.T) {
	planted(t, check.Surge(2).On("ledger"), func(w *drtest.World, bug bool) {
		replay(w, bug)
		w.Play(drtest.Timeline("outage", drtest.At(30*time.Second, fault.RegionDown("east", fault.ModeRefuse)).For(time.Minute)))
	}, "requests a second, 9.83 before")
}

func TestPlantedStaleReads(t *testing.T) {
	planted(t, check.Staleness(2*time.Second), func(w *drtest.World, bug bool) {
		east, west := w.Region("east"), w.Region("west")
		db := east.Store("db")
		dr := west.Store("db-dr", drtest.ReplicaOf(db))
		writer, near, far := db.Client(east), dr.Client(west), db.Client(west)
		w.Load(drtest.Load{Name: "visits", Rate: drtest.Constant(1), Do: func(ctx context.Context, op *drtest.Op) error {
			if err := writer.Put(ctx, "page", op.Key(), 0); err != nil {
				return err
			}
			from := near
			if !bug && dr.Behind() > time.Second { // it knows how far it is behind
				from = far
			}
			_, _, err := from.Get(ctx, "page")
			return err
		}})
		w.Play(drtest.Timeline("pause", drtest.At(10*time.Second, fault.ReplicationPause("db-dr")).For(20*time.Second)))
	}, `"page" read from db-dr at`)
}

func TestPlantedDivergence(t *testing.T) {
	planted(t, check.Converged(), func(w *drtest.World, bug bool) {
		east := w.Region("east")
		db := east.Store("db")
		w.Region("west").Store("db-dr", drtest.ReplicaOf(db))
		client := db.Client(east)
		w.Load(drtest.Load{Name: "writes", Rate: drtest.Constant(1), Do: func(ctx context.Context, op *drtest.Op) error { return client.Put(ctx, op.Key(), "1", 0) }})
		f := drtest.At(10*time.Second, fault.ReplicationBreak("db-dr"))
		if !bug {
			f = f.For(10 * time.Second) // somebody rebuilds it
		}
		w.Play(drtest.Timeline("break", f))
	}, `db-dr lacks "writes/0/`)
}

// Servers that are not the World's own can be compared as well.
func TestContents(t *testing.T) {
	v := judge(t, check.Converged("cache"), func(w *drtest.World) {
		w.Contents("cache", "a", true, func() map[string]string { return map[string]string{"k": "1"} })
		w.Contents("cache", "b", false, func() map[string]string { return map[string]string{"k": "2"} })
	})
	if v.Status != check.StatusFailed {
		t.Errorf("verdict %v", v)
	}
}

func TestAged(t *testing.T) {
	v := judge(t, check.Staleness(time.Minute), func(w *drtest.World) {
		w.Load(drtest.Load{Name: "reads", Rate: drtest.Constant(1), Length: 5 * time.Second, Do: func(_ context.Context, op *drtest.Op) error {
			op.Aged(2 * time.Minute)
			op.Aged(time.Second)
			return nil
		}})
	})
	if v.Status != check.StatusFailed || v.Got != "2m0s" {
		t.Errorf("verdict %v", v)
	}
}

// An injected fault in the middle of a World is not one that stays: the writer comes home.
func TestPlantedNoFailback(t *testing.T) {
	planted(t, check.FailedBack(30*time.Second), func(w *drtest.World, bug bool) {
		east, west, users := w.Region("east"), w.Region("west"), w.Region("users")
		for _, r := range []*drtest.Region{east, west} {
			r.Serve("api."+r.Name(), http.HandlerFunc(hello))
		}
		client := users.HTTPClient()
		stuck := false
		w.Load(drtest.Load{Name: "gets", Rate: drtest.Constant(1), Do: func(ctx context.Context, _ *drtest.Op) error {
			once, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			if !stuck {
				if _, err := get(once, client, "http://api.east/"); err == nil {
					return nil
				}
				stuck = bug
			}
			_, err := get(ctx, client, "http://api.west/")
			return err
		}})
		w.Play(drtest.Timeline("outage", drtest.At(10*time.Second, fault.RegionDown("east", fault.ModeRefuse)).For(20*time.Second)))
	}, "east answers 0 %")
}

func TestPlantedSlowness(t *testing.T) {
	load := func(w *drtest.World, bug bool) {
		w.Region("east").Serve("api", http.HandlerFunc(hello))
		client := w.Region("users").HTTPClient()
		w.Load(drtest.Load{Name: "gets", Rate: drtest.Constant(1), Timeout: 5 * time.Second, Do: func(ctx context.Context, _ *drtest.Op) error {
			if !bug {
				once, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				ctx = once
			}
			if _, err := get(ctx, client, "http://api/"); err != nil && bug {
				return err
			}
			return nil // from a cache
		}})
		w.Play(drtest.Timeline("brown-out",
			drtest.At(10*time.Second, fault.Latency("east", "users", time.Second)).For(20*time.Second),
			drtest.At(40*time.Second, fault.Gray("api", 1)).For(20*time.Second)))
	}
	planted(t, check.Latency(0.99, 500*time.Millisecond), load, "99 %: 2.06")
	planted(t, check.ErrorBudget(0.999, time.Hour), load, "operations failed, the budget of 1h0m0s is 3.6")
}
