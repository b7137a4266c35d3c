package service_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
)

// A gone is a row of the table in docs/orders.md: what stops when something is gone, and what goes on.
type gone struct {
	what  string                                          // as in the table
	lose  func(*testing.T, *embedded.Fleet) (heal func()) // takes it away
	after time.Duration                                   // how long it has been gone when users come; zero means 30 s

	post  int            // status of POST /orders; GET /orders and GET /stock go on in every row
	paid  service.Status // of the order, if it was taken
	check func(*testing.T, *embedded.Fleet)
}

// injected takes away what a fault names.
func injected(faults ...fault.Fault) func(*testing.T, *embedded.Fleet) func() {
	return func(t *testing.T, f *embedded.Fleet) func() {
		t.Helper()
		var heal []func()
		for _, x := range faults {
			undo, err := f.World.Inject(x)
			if err != nil {
				t.Fatal(err)
			}
			heal = append(heal, undo)
		}
		return func() {
			for _, undo := range heal {
				undo()
			}
		}
	}
}

// sqsGone makes the SQS of Regions refuse everything.
func sqsGone(regions ...string) func(*testing.T, *embedded.Fleet) func() {
	return func(_ *testing.T, f *embedded.Fleet) func() {
		var heal []func()
		for _, r := range regions {
			heal = append(heal, f.Sites[r].SQS.Inject(sqstest.Fault{Code: "InternalFailure"}))
		}
		return func() {
			for _, undo := range heal {
				undo()
			}
		}
	}
}

var rows = []gone{
	{
		what: "flag backend", post: 201, paid: service.StatusPaid,
		lose: func(_ *testing.T, f *embedded.Fleet) func() { return f.Flags.Pause() },
	},
	{what: "coordinator", post: 503, after: time.Minute, // more than a lease
		lose: injected(fault.RegionDown(embedded.Third, fault.ModeBlackhole)), check: routesStand},
	{
		what: "key store of the writer Region", post: 503,
		lose: func(_ *testing.T, f *embedded.Fleet) func() { return f.Sites[embedded.East].Redis.Pause() },
	},
	{
		what: "key store of the standby", post: 201, paid: service.StatusPaid,
		lose: func(_ *testing.T, f *embedded.Fleet) func() { return f.Sites[embedded.West].Redis.Pause() }, check: unprotected,
	},
	{what: "SQS of the writer Region", post: 201, paid: service.StatusPaid, lose: sqsGone(embedded.East)},
	{what: "SQS of both Regions", post: 201, paid: service.StatusPaid, lose: sqsGone(embedded.East, embedded.West), check: spooled},
	{what: "payments", post: 201, paid: service.StatusPending, lose: injected(fault.Gray("payments.internal", 1).WithStatus(503))},
	{what: "mail relay", post: 201, paid: service.StatusPaid, lose: injected(fault.Gray("mail.us-east-1.internal", 1))},
	{
		what: "replication", post: 201, paid: service.StatusPaid, after: 3 * time.Minute,
		lose: injected(fault.ReplicationPause("orders-west")), check: moveRefused,
	},
	{what: "the standby Region", post: 201, paid: service.StatusPaid, after: 2 * time.Minute, lose: injected(fault.RegionDown(embedded.West, fault.ModeBlackhole))},
	{what: "the writer Region", post: 201, paid: service.StatusPending, after: 3 * time.Minute, lose: injected(fault.RegionDown(embedded.East, fault.ModeBlackhole))},
}

func TestWhatStopsWhenItIsGone(t *testing.T) {
	table, err := os.ReadFile("../../../docs/orders.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			if !strings.Contains(string(table), "| "+row.what+" |") {
				t.Errorf("docs/orders.md has no row %q", row.what)
			}
			drtest.Run(t, drtest.Config{Watchdog: time.Minute, Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) { row.run(t, w) })
		})
	}
}

// run takes it away, looks, gives it back, and expects everything to be whole again: new orders at once, deferred ones done, nothing twice.
func (row *gone) run(t *testing.T, w *drtest.World) {
	f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
	ready(t, f)
	ann, ctx := newUser(t, f, "ann"), t.Context()
	if status, _, body := ann.do(ctx, "POST", "/orders", "before", anvil); status != http.StatusCreated {
		t.Fatalf("before: POST = %d %s", status, body)
	}
	ann.do(ctx, "GET", "/stock/anvil", "", "")
	heal := row.lose(t, f)
	time.Sleep(max(row.after, 30*time.Second))

	status, header, body := ann.do(ctx, "POST", "/orders", "during", anvil)
	if status != row.post {
		t.Errorf("POST /orders = %d %s, want %d", status, body, row.post)
	}
	if status == http.StatusServiceUnavailable && header.Get("Retry-After") == "" {
		t.Errorf("503 without Retry-After: %v %s", header, body)
	}
	if status == http.StatusCreated && order(t, body).Status != row.paid {
		t.Errorf("order = %s, want it %q", body, row.paid)
	}
	for _, path := range []string{"/orders", "/stock/anvil"} {
		if status, _, body := ann.do(ctx, "GET", path, "", ""); status != http.StatusOK {
			t.Errorf("GET %s = %d %s, want 200", path, status, body)
		}
	}
	if row.check != nil {
		row.check(t, f)
	}
	heal()
	row.whole(t, f, ann)
}

// whole checks that nothing is left of it ten minutes later.
func (row *gone) whole(t *testing.T, f *embedded.Fleet, ann *user) {
	time.Sleep(10 * time.Minute)
	if writer := f.Writer(); row.what == "the writer Region" && writer != nil && writer.Name == embedded.West {
		if _, err := f.Sites[embedded.East].Rebuild(writer); err != nil {
			t.Error(err)
		}
		failBack(t, f, writer, f.Sites[embedded.East])
		time.Sleep(10 * time.Minute)
	}
	for _, key := range []string{"during", "later"} {
		status, _, body := ann.do(t.Context(), "POST", "/orders", key, anvil)
		if status != http.StatusCreated {
			t.Errorf("after: POST with key %q = %d %s", key, status, body)
		}
	}
	time.Sleep(5 * time.Minute)
	f.Stop()
	closeLedger(t, f, nil)
	for _, o := range f.Orders() {
		if charges, mails := f.Payments.Charges()[o.ID], f.Relays.Sent()[o.ID]; charges != 1 || mails < 1 {
			t.Errorf("order %s was charged %d times, with %d mails", o.ID, charges, mails)
		}
	}
	if n := len(f.Orders()); n != 3 {
		t.Errorf("%d orders in the end, want 3", n)
	}
}

// routesStand: no instance has moved anything.
func routesStand(t *testing.T, f *embedded.Fleet) {
	t.Helper()
	for _, site := range f.Sites {
		for _, svc := range site.Services() {
			if _, writer := svc.Controller.Route(); writer != embedded.East {
				t.Errorf("in %s the writer is %q, want %s as before", site.Name, writer, embedded.East)
			}
		}
	}
}

// unprotected: somebody knows that keys are in one Region only.
func unprotected(t *testing.T, f *embedded.Fleet) {
	t.Helper()
	for _, svc := range f.Sites[embedded.East].Services() {
		if !svc.Keys.UnprotectedSince().IsZero() {
			return
		}
	}
	t.Error("keys are in one Region and UnprotectedSince is zero")
}

// spooled: what no queue took is on disk.
func spooled(t *testing.T, f *embedded.Fleet) {
	t.Helper()
	waiting := 0
	for _, svc := range f.Sites[embedded.East].Services() {
		waiting += svc.Client.Stats().Spool.Messages
	}
	if waiting == 0 {
		t.Error("no queue takes calls and the spool is empty")
	}
}

// moveRefused: the guard knows that too much would be lost.
func moveRefused(t *testing.T, f *embedded.Fleet) {
	t.Helper()
	_, err := f.Sites[embedded.East].Services()[0].Controller.Failover(t.Context(), embedded.West, failover.Request{Reason: "try", By: "ann", Second: "bob"})
	refused, ok := errors.AsType[*failover.RefusedError](err)
	if !ok || refused.Guard != failover.GuardExposure {
		t.Errorf("a move while nothing is replicated: %v, want a refusal for exposure", err)
	}
}
