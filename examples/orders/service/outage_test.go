package service_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
)

// cpu is what this process has used so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The loss of the writer Region for an hour, with every setting at its default: found out, moved by the group, healed, rebuilt and moved back as planned. The
// load is thinned: users send an order a second about the faults and a twentieth of that between them, where the command sends 200.
func TestAnHourWithoutTheWriterRegion(t *testing.T) {
	before := cpu()
	var lost []string
	var f *embedded.Fleet
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Watchdog: time.Minute}, func(t *testing.T, w *drtest.World) {
		f = embedded.Start(w, embedded.Config{Dir: t.TempDir(), Instances: 1})
		ready(t, f)
		east, west := f.Sites[embedded.East], f.Sites[embedded.West]
		w.Check(check.RTO(2*time.Minute).For("POST /orders"), check.RPO(time.Minute), check.AppliedOnce("charge"), check.SingleWriter().Except(embedded.KeyHeartbeat))
		w.Load(drtest.Load{
			Name: "buy", Clients: 20, Rate: drtest.Poisson(.05), Timeout: 30 * time.Second, Length: 69 * time.Minute, Do: f.Buy(),
			Edges: drtest.Edges{Before: time.Minute, After: 3 * time.Minute, Thin: 40},
		})
		w.Load(drtest.Load{Name: "look", Rate: drtest.Poisson(.05), Length: 80 * time.Minute, Do: f.Look()})
		w.Play(drtest.Timeline("lose the writer", drtest.At(5*time.Minute, fault.RegionDown(embedded.East, fault.ModeBlackhole)).For(time.Hour)))

		time.Sleep(30 * time.Minute)
		if got := f.Writer(); got != west {
			t.Fatalf("25 min into the outage the writer is %v, want %s", got, west.Name)
		}
		time.Sleep(40 * time.Minute) // healed 5 min ago
		var err error
		if lost, err = east.Rebuild(west); err != nil {
			t.Fatal(err)
		}
		w.Load(drtest.Load{Name: "buy on", Clients: 5, Rate: drtest.Poisson(.05), Length: 15 * time.Minute, Do: as("POST /orders, moving back", f.Buy())})
		w.Check(check.Availability(.9).For("POST /orders, moving back"))
		failBack(t, f, west, east)
		w.Wait()
		time.Sleep(5 * time.Minute) // deferred charges
		f.Stop()
		closeLedger(t, f, lost)
	})
	t.Logf("%v of CPU, %d orders lost", cpu()-before, len(lost))
}

// as is shop under another class: a planned move stops writes for as long as the lease lasts, which is no part of the outage.
func as(class string, shop embedded.Shopper) embedded.Shopper {
	return func(ctx context.Context, op *drtest.Op) error {
		err := shop(ctx, op)
		op.As(class)
		return err
	}
}

// failBack asks for a planned move and waits until it is complete.
func failBack(t *testing.T, f *embedded.Fleet, from, to *embedded.Site) {
	t.Helper()
	var err error
	for range 30 { // until the rebuilt copy is known to be ready
		_, err = from.Services()[0].Controller.Failover(t.Context(), to.Name, failover.Request{Reason: "the Region is back", By: "ann", Second: "bob", Planned: true})
		if err == nil {
			break
		}
		time.Sleep(30 * time.Second)
	}
	if err != nil {
		t.Fatalf("failback: %v", err)
	}
	for range 60 {
		time.Sleep(15 * time.Second)
		if d := to.Services()[0].Controller.Decision(); d.Phase == failover.PhaseSteady && d.Writer == to.Name {
			return
		}
	}
	t.Fatalf("failback has not ended after 15 min: %+v", to.Services()[0].Controller.Status())
}

// closeLedger compares what users and queues were promised with what there is, after the fleet has stopped.
func closeLedger(t *testing.T, f *embedded.Fleet, lost []string) {
	t.Helper()
	holdings, release, err := f.Holdings()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	report := f.Ledger.Check(t.Context(), holdings)
	if !report.Balanced() {
		t.Errorf("deferred calls: lost %v, repeated without a reason %v", report.Lost, report.Unexplained)
	}
	for id, n := range f.Payments.Charges() {
		if n > 1 {
			t.Errorf("order %s was charged %d times", id, n)
		}
	}
	for id, n := range f.Relays.Sent() {
		if rules := f.Ledger.Rules("mail-" + id); n > 1 && len(rules) == 0 {
			t.Errorf("order %s: %d mails and no reason", id, n)
		}
	}
	t.Logf("deferred calls: %d accepted, %d done, %d dead, %d held by %v", report.Accepted, report.Done, report.Dead, report.Held, report.HeldBy)
	for _, o := range f.Orders() {
		if o.Status != service.StatusPaid || !o.Settled {
			t.Errorf("order %s is %q, settled %v, after everything has ended", o.ID, o.Status, o.Settled)
		}
	}
	if len(lost) > 0 {
		t.Logf("lost with the Region: %v", lost)
	}
}
