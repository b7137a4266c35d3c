package drtest_test

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"strings"
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

// A pattern comes whole, in half of the seeds, at another moment and pace each time; one that no safety phase can hold is refused.
func TestExplorePatterns(t *testing.T) {
	pattern := drtest.Timeline("loss", drtest.At(0, fault.ReplicationPause("db-dr")).For(20*time.Second), drtest.At(10*time.Second, fault.RegionDown("us-east-1", fault.ModeRefuse)).For(20*time.Second))
	config := drtest.ExploreConfig{
		World: drtest.Config{Fidelity: drtest.FidelityMessages, Settle: time.Second}, Seeds: 40, Safety: time.Minute, Kinds: []fault.Kind{fault.KindGray},
		Patterns: []drtest.Scenario{pattern}, Dir: t.TempDir(),
	}
	with, starts := 0, map[time.Duration]bool{}
	x := drtest.Explore(t, config, func(t testing.TB, w *drtest.World) {
		db := w.Region("us-east-1").Store("db")
		w.Region("us-west-2").Store("db-dr", drtest.ReplicaOf(db))
		api(w)
		s := w.Storm()
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		w.Play(s)
		paused, down := eventOf(s, fault.KindReplicationPause), eventOf(s, fault.KindRegionDown)
		switch {
		case (paused == nil) != (down == nil):
			t.Errorf("half a pattern: %v", s.Go())
		case paused != nil:
			with, starts[paused.Start] = with+1, true
			if d := down.Start - paused.Start; d < 5*time.Second || d > 15*time.Second || down.Start+down.Length > time.Minute {
				t.Errorf("a pattern out of shape: %v", s.Go())
			}
		}
	})
	if with < 10 || with > 30 || len(starts) < with/2 || x.Fired[fault.KindRegionDown] != with {
		t.Errorf("%d of 40 seeds have the pattern, at %d moments, and it came %d times", with, len(starts), x.Fired[fault.KindRegionDown])
	}
	for want, event := range map[string]drtest.Event{
		"when: a pattern has no conditions":     drtest.When(drtest.OnFailures(1), fault.Gray("api", 1)).For(time.Second),
		"for: an event of a pattern needs a le": drtest.At(0, fault.Gray("api", 1)),
		"a pattern may take 33.333333333s of a": drtest.At(0, fault.Gray("api", 1)).For(40 * time.Second),
		"fault.share: 7 is not":                 drtest.At(0, fault.Gray("api", 7)),
	} {
		config.Patterns = []drtest.Scenario{drtest.Timeline("p", event)}
		if _, _, err := drtest.Explored(t, config, empty); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A pattern as long as one may be is over when the safety phase is, at whatever pace it comes.
func TestExploreEndsPatternsInTime(t *testing.T) {
	const safety, longest = 55 * time.Second, 30 * time.Second // two thirds of what is behind the warm-up
	pattern := drtest.Timeline("long", drtest.At(0, fault.Gray("api", 1)).For(3700*time.Millisecond), drtest.At(7300*time.Millisecond, fault.Slow("api", time.Second)).For(longest-7300*time.Millisecond))
	config := drtest.ExploreConfig{
		World: drtest.Config{Fidelity: drtest.FidelityMessages, Settle: time.Second}, Seeds: 400, Safety: safety, Kinds: []fault.Kind{fault.KindTLS},
		Patterns: []drtest.Scenario{pattern}, Dir: t.TempDir(),
	}
	drtest.Explore(t, config, func(t testing.TB, w *drtest.World) {
		api(w)
		s := w.Storm()
		for _, e := range s.Events {
			if end := e.Start + e.Length; end > safety {
				t.Errorf("%v ends %v after the safety phase", e.Fault, end-safety)
			}
		}
		w.Play(s)
	})
}

func empty(testing.TB, *drtest.World) {}

func eventOf(s drtest.Scenario, k fault.Kind) *drtest.Event {
	if i := slices.IndexFunc(s.Events, func(e drtest.Event) bool { return e.Fault.Kind == k }); i >= 0 {
		return &s.Events[i]
	}
	return nil
}
