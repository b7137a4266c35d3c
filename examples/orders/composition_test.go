package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/queue"
)

// How long TestComposition searches: -seeds=5000 is the project's own exam.
var (
	seedsFlag = flag.Int("seeds", 0, "seeds of TestComposition; 0 = 100, few with -race or -short")
	firstFlag = flag.Uint64("first", 1, "the first of the seeds of TestComposition")
)

// What users of the composition do: orders a second, and half as many reads; and in what time all must be well again.
const (
	compositionRate = 1.0
	recoverWithin   = 10 * time.Minute
)

// TestComposition plays random disasters against the whole service: all packages, the real wiring, nothing stubbed that the service does not stub.
func TestComposition(t *testing.T) {
	seeds := *seedsFlag
	switch {
	case seeds > 0:
	case testing.Short() || raceEnabled:
		seeds = 5 // with the race detector a seed takes ten times as long
	default:
		seeds = 100
	}
	thrifty(t)
	c := newComposition()
	config := c.config(seeds)
	config.World.Seed = *firstFlag
	x := drtest.Explore(t, config, c.disaster)
	t.Logf("\n%v%v", x, c)
}

// thrifty makes a seed cheap: its goroutines take turns anyway, and there is memory enough to collect less often.
func thrifty(t *testing.T) {
	procs, percent := runtime.GOMAXPROCS(1), debug.SetGCPercent(800)
	t.Cleanup(func() { runtime.GOMAXPROCS(procs); debug.SetGCPercent(percent) })
}

// A composition is one search, and what its Worlds came to.
type composition struct {
	moves     map[string]int     // of the writer that were completed, by kind
	lost      int                // acknowledged orders that were lost
	unlisted  int                // of them, those on a disk that nobody could read
	lossy     int                // Worlds that lost some
	accepted  int                // moves that a person approved with their loss
	exposed   map[string]int     // lost orders, acknowledged or not, by the exposure that each was found in
	paid      int                // acknowledged orders that were kept
	stops     int                // of processes, in good order
	fair      int                // of them, those in weather that explains no refusal
	excused   int                // refusals of stopping processes in other weather, or by young ones
	behind    int                // acknowledged orders that were kept, whose last update a move has lost
	repeated  map[queue.Rule]int // runs that followed one with an effect, by the reason
	traces    time.Duration      // longest from the end of a cause until the group asked for a move
	drained   time.Duration      // longest from the end of a process's HTTP server to a deferred call that it took on
	deploys   int
	paired    int                // Worlds with two processes in a Region
	spent     float64            // of the 10 repetitions that a budget saves up, at the most
	amplified map[string]float64 // requests for a call in 10 s, at the most, by who got them
	cut       int                // requests that their process died with
	busiest   float64            // requests to the SQS of a Region in a second
	idlest    float64            // the same, without those that orders and calls about then may have made
	handled   map[string]int     // times in a second that the same was done with a message, by what it was
	longest   time.Duration      // stop of a process
	slowest   time.Duration      // from the last fault until all was well
}

func newComposition() *composition {
	return &composition{moves: map[string]int{}, exposed: map[string]int{}, repeated: map[queue.Rule]int{ruleUnknown: 0, ruleCrashed: 0, ruleDeposed: 0, ruleLeaseLost: 0, ruleStoreLost: 0}, amplified: map[string]float64{}, handled: map[string]int{}}
}

// String is what the search has seen, for the record.
func (c *composition) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "moves: %v, %d of them approved with their loss; deployments: %d\n", c.moves, c.accepted, c.deploys)
	fmt.Fprintf(&b, "Worlds with two processes in a Region: %d; requests that their process died with: %d\n", c.paired, c.cut)
	fmt.Fprintf(&b, "Worlds that lost acknowledged orders: %d, %d orders in all: %d in loss lists, %d on disks that nobody could read\n", c.lossy, c.lost, c.lost-c.unlisted, c.unlisted)
	fmt.Fprintf(&b, "lost orders, acknowledged or not, by what they were found within: %v; acknowledged orders that were kept: %d, %d of them without their last update\n", c.exposed, c.paid, c.behind)
	fmt.Fprintf(&b, "calls that ran twice, by the reason: %v\n", c.repeated)
	fmt.Fprintf(&b, "stops of processes: %d, %d of them in weather that explains no refusal; refusals that weather or youth may explain: %d\n", c.stops, c.fair, c.excused)
	fmt.Fprintf(&b, "longest stop of a process: %v; work taken on after the last request for up to %v\n", c.longest, c.drained)
	fmt.Fprintf(&b, "longest until all was well: %v; longest from the end of a cause to the move: %v\n", c.slowest.Round(time.Second), c.traces.Round(time.Second))
	fmt.Fprintf(&b, "most requests to the SQS of a Region in a second: %.0f, or %.0f without those that orders and calls may have made\n", c.busiest, c.idlest)
	fmt.Fprintf(&b, "most times in a second that the same was done with one message: %v\n", c.handled)
	fmt.Fprintf(&b, "most requests for a call in 10 s: %v; most of the 10 repetitions that a budget saves up: %.1f\n", c.amplified, c.spent)
	return b.String()
}

func (c *composition) config(seeds int) drtest.ExploreConfig {
	return drtest.ExploreConfig{
		World:  drtest.Config{Fidelity: drtest.FidelityMessages, Watchdog: 2 * time.Minute},
		Name:   "Composition",
		Seeds:  seeds,
		Safety: safety,
		Events: 8,
		Faults: menu(), Patterns: patterns(),

		AcceptDivergence: "back-off and probes draw their jitter from the process",
	}
}

// safety is how long anything may happen.
const safety = 3 * time.Minute

// menu is what may happen, at its full strength.
func menu() []fault.Fault {
	const east, west, third = embedded.East, embedded.West, embedded.Third
	all := []fault.Fault{
		fault.Partition(east, west), fault.Latency(east, west, 300*time.Millisecond), fault.Loss(east, west, .3),
		fault.ReplicationLag("orders-west", 5*time.Second), fault.ReplicationPause("orders-west"), fault.ReplicationBreak("orders-west"),
		fault.Gray(embedded.PaymentsHost, 1), fault.Gray(embedded.PaymentsHost, .3).WithStatus(mislaid), fault.Throttle(embedded.PaymentsHost, .5, 429, time.Second),
		fault.Slow(embedded.PaymentsHost, 8*time.Second), fault.LostReply(embedded.PaymentsHost, .5),
		fault.FlagStoreDown(redisIn(third)), fault.RegionDown(third, fault.ModeBlackhole), fault.Crash(third + "/witness-0"),
	}
	for _, region := range []string{east, west} {
		sqs, redis, mail := "sqs."+region+".amazonaws.com", redisIn(region), embedded.RelayHost(region)
		all = append(all,
			fault.RegionDown(region, fault.ModeBlackhole), fault.RegionDown(region, fault.ModeRefuse), fault.RegionDown(region, fault.ModeHang),
			fault.PartitionOneWay(region, third), fault.Partition(region, third), fault.PartitionOneWay(third, region),
			fault.Crash(region+"/app-0"), fault.ClockSkew(region, 500*time.Millisecond), fault.ClockSkew(region, -500*time.Millisecond),
			fault.DNS(region, "", fault.FailServerFailure),
			fault.Gray(redis, 1), fault.Gray(redis, .3), fault.Throttle(redis, 1, 503, 0),
			fault.Gray(sqs, 1), fault.Gray(sqs, .3), fault.Throttle(sqs, .7, 503, time.Second), fault.Duplicate(sqs, .3), fault.Poison(sqs, .1),
			fault.AZDown(region, embedded.Databases, fault.ModeRefuse), fault.AZDown(region, embedded.Databases, fault.ModeHang),
			fault.Latency(region, zone(region), 200*time.Millisecond), fault.Loss(region, zone(region), .2),
			fault.Slow(redis, 2*time.Second), fault.LostReply(redis, .3), fault.Slow(sqs, 5*time.Second), fault.LostReply(sqs, .3),
			fault.Gray(mail, 1), fault.Gray(mail, .7), fault.Slow(mail, 8*time.Second), fault.LostReply(mail, .5))
	}
	return all
}

// patterns are what is rare when each fault is drawn by itself. Five are how orders are lost: the copy does not follow when the writer's Region goes; the third takes longer than
// the RPO, and a person has to approve the move. In "commits under way" the database goes for a moment, again and again: an answer is
// lost, what repeats the write meets nobody, and its attempts have mixed outcomes. In "keys with one copy" those last until a planned move comes upon them.
func patterns() []drtest.Scenario {
	const copies, gone = "orders-west", 1500 * time.Millisecond
	database := fault.AZDown(embedded.East, embedded.Databases, fault.ModeRefuse)
	return []drtest.Scenario{
		drtest.Timeline("late copy", drtest.At(0, fault.ReplicationLag(copies, 25*time.Second)).For(80*time.Second), drtest.At(30*time.Second, fault.RegionDown(embedded.East, fault.ModeBlackhole)).For(40*time.Second)),
		drtest.Timeline("held copy", drtest.At(0, fault.ReplicationPause(copies)).For(70*time.Second), drtest.At(20*time.Second, fault.RegionDown(embedded.East, fault.ModeRefuse)).For(45*time.Second)),
		drtest.Timeline("copy far behind", drtest.At(0, fault.ReplicationPause(copies)).For(112*time.Second), drtest.At(72*time.Second, fault.RegionDown(embedded.East, fault.ModeBlackhole)).For(40*time.Second)),
		drtest.Timeline("broken copy", drtest.At(0, fault.ReplicationBreak(copies)).For(75*time.Second), drtest.At(15*time.Second, fault.Partition(embedded.East, fault.Others)).For(50*time.Second)),
		drtest.Timeline("commits under way", drtest.At(0, fault.Latency(embedded.East, zone(embedded.East), 50*time.Millisecond)).For(30*time.Second),
			drtest.At(8*time.Second, database).For(gone), drtest.At(13*time.Second, database).For(gone), drtest.At(18*time.Second, database).For(gone), drtest.At(23*time.Second, database).For(gone)),
		drtest.Timeline("keys with one copy", drtest.At(0, fault.Throttle(redisIn(embedded.West), .75, 503, 0)).For(80*time.Second)),
		drtest.Timeline("cut and lost", drtest.At(0, fault.Partition(embedded.East, embedded.West)).For(60*time.Second), drtest.At(12*time.Second, fault.RegionDown(embedded.East, fault.ModeHang)).For(45*time.Second)),
	}
}

// pairs is how many Worlds there are for each in which two processes run in a Region; in the others one does.
const pairs = 3

// lostDisks is the share of former writers' databases that nobody can read any more.
const lostDisks = .3

// mislaid is the status of a gateway that waits for payments no longer: before and after they have charged.
const mislaid = 504

func redisIn(region string) string { return "redis." + region + ".internal" }

// disaster is one World: users, the storm, deployments, an operator who puts things right, and the account at the end.
func (c *composition) disaster(t testing.TB, w *drtest.World) {
	instances := 1
	if w.Stream("instances").IntN(pairs) == 0 {
		instances = 2
		c.paired++
	}
	f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Instances: instances, Persistence: persistent, LostDisks: lostDisks, Settings: (&options{lease: 4 * time.Second, probe: time.Second}).settings()})
	for range 60 {
		if f.Writer() != nil {
			break
		}
		time.Sleep(time.Second)
	}
	w.OnFault(func(ft fault.Fault) (func(), error) {
		if ft.Host == embedded.PaymentsHost && ft.Status == mislaid {
			return f.Payments.Mislay(ft.Share), nil
		}
		return nil, nil
	})
	operator := f.StartOperator()
	w.Gauge("features below normal", func() float64 { return float64(f.Degraded()) })
	w.Check(promises()...)
	var loads []*drtest.Traffic
	for _, load := range []drtest.Load{
		{Name: "buy", Clients: rush / 2, Rate: drtest.Poisson(compositionRate / 2), Edges: atEdges, Do: f.Buy()},
		{Name: "buy once", Clients: rush, Rate: drtest.Poisson(compositionRate / 2), Edges: atEdges, Do: f.BuyOnce()},
		{Name: "look", Clients: 2, Rate: drtest.Poisson(compositionRate / 4), Do: f.Look()},
	} {
		loads = append(loads, w.Load(load))
	}
	storm := w.Storm()
	w.Play(storm)
	healed := time.Now().Add(lastOf(storm))
	c.disturb(t.Context(), w, f, operator, lastOf(storm))
	unwell := wellAgain(healed, f.Unrest, steadyFor)
	for _, l := range loads {
		l.Stop()
	}
	if len(unwell) == 0 {
		unwell = wellAgain(healed, func() (why []string) {
			for place, n := range f.Waiting() {
				why = append(why, fmt.Sprintf("%d calls wait in %s", n, place))
			}
			return why
		}, 0)
	}
	c.slowest = max(c.slowest, time.Since(healed))
	f.Stop()
	c.cut += f.Cut()
	if len(unwell) > 0 {
		t.Errorf("not well %v after the last fault: %s", recoverWithin, strings.Join(unwell, "; "))
	}
	for _, err := range c.closeBooks(t.Context(), w, f, operator, len(unwell) == 0) {
		t.Error(err)
	}
}

// promises are the checks of every World, beside its books.
func promises() []check.Check {
	return []check.Check{
		check.AppliedOnce("charge"), check.SingleWriter().Except(embedded.KeyHeartbeat),
		check.Drained("features below normal", recoverWithin),
	}
}

// Users come in numbers when something begins or ends to be wrong: what goes wrong then is over in milliseconds, and a lone order meets it once in a hundred Worlds. The first
// of them comes always. Two of three of them believe the first answer; the others try so often that only their budget holds
// them.
const (
	rush       = 8
	persistent = 10
)

var atEdges = drtest.Edges{Before: 500 * time.Millisecond, After: 2 * time.Second, Thin: 50}

// lastOf is when the last fault of a storm is over. Those that wait for a moment are over with the safety phase.
func lastOf(s drtest.Scenario) (last time.Duration) {
	for _, e := range s.Events {
		if e.Cond != nil {
			return safety
		}
		last = max(last, e.Start+e.Length)
	}
	return last
}

// deploys is how many times a World restarts the processes of a Region.
const deploys = 3

// disturb does what people do to a service, whatever the weather, at instants that the seed draws: it restarts the processes of a Region, and exercises a move of the
// writer. It returns when the faults are over.
func (c *composition) disturb(ctx context.Context, w *drtest.World, f *embedded.Fleet, operator *embedded.Operator, last time.Duration) {
	rng := w.Stream("deployments")
	start := time.Now()
	within := func() time.Duration { return time.Duration(rng.Int64N(int64(last + 10*time.Second))) }
	var at []time.Duration
	for range deploys {
		at = append(at, within())
	}
	exercise := within()
	for _, instant := range slices.Sorted(slices.Values(append(at, exercise))) {
		time.Sleep(time.Until(start.Add(instant)))
		if instant == exercise {
			operator.Exercise(ctx)
			continue
		}
		f.Sites[[]string{embedded.East, embedded.West}[rng.IntN(2)]].Deploy()
		c.deploys++
	}
	time.Sleep(time.Until(start.Add(last)))
}

// Well is what is well for so long, looked at so often.
const (
	steadyFor = 20 * time.Second
	lookEvery = 2 * time.Second
)

// wellAgain waits until nothing has been amiss for a time, and returns what still is recoverWithin after the last fault: one clock for all that is waited for.
func wellAgain(healed time.Time, amiss func() []string, steady time.Duration) []string {
	deadline, since := healed.Add(recoverWithin), time.Now()
	for {
		why := amiss()
		switch {
		case len(why) == 0 && time.Since(since) >= steady:
			return nil
		case len(why) > 0:
			since = time.Now()
			if since.After(deadline) {
				return why
			}
		}
		time.Sleep(lookEvery)
	}
}
