package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// What users of the composition do: orders and reads a second.
const (
	compositionRate = .5
	recoverWithin   = 10 * time.Minute
)

// TestComposition plays random disasters against the whole service: all packages, the real wiring, nothing stubbed that the service does
// not stub. HOLDFAST_SEEDS=5000 makes it search longer: a seed takes some seconds of CPU.
func TestComposition(t *testing.T) {
	seeds := 10
	if testing.Short() || raceEnabled {
		seeds = 2 // with the race detector a seed takes half a minute
	}
	x := drtest.Explore(t, composition(seeds), disaster)
	t.Logf("\n%v", x)
}

func composition(seeds int) drtest.ExploreConfig {
	return drtest.ExploreConfig{
		World:  drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 12 * time.Minute, Watchdog: 2 * time.Minute},
		Name:   "Composition",
		Seeds:  seeds,
		Safety: 3 * time.Minute,
		Events: 4,
		Faults: menu(),

		AcceptDivergence: "go-redis and the SDK draw their back-off from the process",
	}
}

// menu is what may happen, at its full strength.
func menu() []fault.Fault {
	all := []fault.Fault{
		fault.Partition(embedded.East, embedded.West), fault.Latency(embedded.East, embedded.West, 300*time.Millisecond), fault.Loss(embedded.East, embedded.West, .3),
		fault.Gray("payments.internal", .5), fault.Throttle("payments.internal", .5, 429, time.Second),
		fault.ReplicationLag("orders-west", 5*time.Second), fault.ReplicationPause("orders-west"),
	}
	for _, region := range []string{embedded.East, embedded.West} {
		all = append(all, fault.RegionDown(region, fault.ModeBlackhole), fault.RegionDown(region, fault.ModeRefuse), fault.PartitionOneWay(region, embedded.Third), fault.Partition(region, embedded.Third),
			fault.Crash(region+"/app-0"))
	}
	return all
}

// disaster is one World: users, the storm, an operator who puts things right, and the account at the end.
func disaster(t testing.TB, w *drtest.World) {
	f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Instances: 1, Settings: (&options{lease: 8 * time.Second, probe: time.Second}).settings()})
	for range 60 {
		if f.Writer() != nil {
			break
		}
		time.Sleep(time.Second)
	}
	operator := f.StartOperator()
	w.Gauge("features below normal", func() float64 { return float64(f.Degraded()) })
	w.Check(check.AppliedOnce("charge"), check.SingleWriter().Except(embedded.KeyHeartbeat),
		check.Amplification(1.2+3/compositionRate).For("POST /orders"), check.Drained("features below normal", recoverWithin))
	for name, do := range map[string]embedded.Shopper{"buy": f.Buy(), "look": f.Look()} {
		w.Load(drtest.Load{Name: name, Clients: 2, Rate: drtest.Poisson(compositionRate / 2), Timeout: 10 * time.Second, Do: do})
	}
	w.Play(w.Storm())
	w.Wait()
	f.Stop()
	if err := closeBooks(t.Context(), w, f, operator); err != nil {
		t.Error(err)
	}
}

// closeBooks demands that every acknowledged order is in the writer's database or in the loss list, none is charged twice, every deferred call is accounted
// for, and a mail that went out twice has its reason.
func closeBooks(ctx context.Context, w *drtest.World, f *embedded.Fleet, operator *embedded.Operator) error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	kept := map[string]service.Order{}
	for _, o := range f.Orders() {
		kept[o.ID] = o
	}
	lost := operator.Lost()
	for _, ack := range w.History().Acks() {
		id := strings.TrimPrefix(ack.Key, embedded.OrderKey(""))
		if _, ok := kept[id]; ok {
			continue
		}
		if _, listed := lost[id]; !listed {
			say("order %s, acknowledged at %v, is neither in the database nor in the loss list", id, ack.At)
		}
	}
	holdings, release, err := f.Holdings()
	if err != nil {
		return err
	}
	defer release()
	report := f.Ledger.Check(ctx, holdings)
	if !report.Balanced() {
		say("deferred calls: lost %v, run twice without a reason %v", report.Lost, report.Unexplained)
	}
	charges := f.Payments.Charges()
	for _, id := range slices.Sorted(maps.Keys(charges)) {
		if n := charges[id]; n > 1 {
			say("order %s is charged %d times", id, n)
		}
	}
	for id, n := range f.Relays.Sent() {
		if n > 1 && len(f.Ledger.Rules("mail-"+id)) == 0 {
			say("order %s: %d mails and no reason", id, n)
		}
	}
	if longest := f.LongestStop(); longest > holdfast.StopTimeout {
		say("a process took %v to stop, want at most %v", longest, holdfast.StopTimeout)
	}
	return errors.Join(errs...)
}
