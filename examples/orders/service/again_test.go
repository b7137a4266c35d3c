package service_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/retry"
)

// forget drops the keys of requests from both Regions, as time does after a day. Those of deferred calls, kept for longer, stay.
func forget(f *embedded.Fleet) {
	for _, s := range f.Sites {
		for _, key := range s.Redis.Inside().Keys() {
			if !strings.Contains(key, "|orders.") {
				s.Redis.Inside().Del(key)
			}
		}
	}
}

// A key that the guard has forgotten still stands for its order, which the database knows.
func TestKeysThatAreForgotten(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
		ready(t, f)
		ann, ctx := newUser(t, f, "ann"), t.Context()
		const dear = `{"sku":"anvil","quantity":100,"email":"ann@example.com"}`
		_, _, first := ann.do(ctx, "POST", "/orders", "paid", anvil)
		if status, _, body := ann.do(ctx, "POST", "/orders", "declined", dear); status != http.StatusPaymentRequired {
			t.Fatalf("a declined payment = %d %s", status, body)
		}
		forget(f)
		if status, header, again := ann.do(ctx, "POST", "/orders", "paid", anvil); status != http.StatusCreated || order(t, again) != order(t, first) || header.Get("Idempotency-Replayed") != "" {
			t.Errorf("the same order = %d %s, want %s, run again", status, again, first)
		}
		if status, _, body := ann.do(ctx, "POST", "/orders", "declined", dear); status != http.StatusPaymentRequired {
			t.Errorf("a declined payment again = %d %s, want 402", status, body)
		}
		forget(f)
		if status, _, body := ann.do(ctx, "POST", "/orders", "paid", strings.Replace(anvil, "anvil", "rope", 1)); status != http.StatusUnprocessableEntity || !strings.Contains(body, "another order") {
			t.Errorf("another order under the same key = %d %s, want 422", status, body)
		}
		time.Sleep(3 * time.Minute)
		placed := order(t, first)
		if n, mails := f.Payments.Charges()[placed.ID], f.Relays.Sent()[placed.ID]; n != 1 || mails != 1 || len(f.Orders()) != 2 {
			t.Errorf("%d charges, %d mails, %d orders, want 1, 1 and 2", n, mails, len(f.Orders()))
		}
	})
}

// A worker that died after it had marked an order as paid leaves it to be settled.
func TestPaidOrderIsSettledAfterACrash(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
		ready(t, f)
		writer := f.Sites[embedded.East].Services()[0]
		paid := service.Order{ID: "o-1", Customer: "ann", Email: "ann@example.com", SKU: "rope", Quantity: 1, Cents: 900, Status: service.StatusPaid}
		if err := writer.Insert(t.Context(), paid); err != nil {
			t.Fatal(err)
		}
		if _, err := service.Charge.Defer(t.Context(), writer.Charges, service.ChargeArgs{Order: "o-1", Cents: 900}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if all := f.Orders(); len(all) != 1 || !all[0].Settled {
			t.Errorf("orders = %+v, want one, settled", all)
		}
		if n := f.Payments.Charges()["o-1"]; n != 0 {
			t.Errorf("a paid order was charged %d times more", n)
		}
	})
}

// Money that was taken is not "nothing was done", also when this process may no longer write it down.
func TestChargeOfAWriterThatWasDeposedIsUnknown(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
		ready(t, f)
		writer := f.Sites[embedded.East].Services()[0]
		placed := service.Order{ID: "o-1", Customer: "ann", Email: "ann@example.com", SKU: "rope", Quantity: 1, Cents: 900, Status: service.StatusPending}
		if err := writer.Insert(t.Context(), placed); err != nil {
			t.Fatal(err)
		}
		var charged error
		_ = writer.Guard.Once(t.Context(), "test", func(ctx context.Context) error {
			heal, err := w.Inject(fault.Partition(embedded.East, embedded.Third))
			if err != nil {
				t.Fatal(err)
			}
			defer heal()
			time.Sleep(time.Minute) // its lease has ended
			charged = writer.ChargeNow(ctx, service.ChargeArgs{Order: "o-1", Cents: 900})
			return nil
		})
		if n := f.Payments.Charges()["o-1"]; n != 1 || charged == nil || holdfast.OutcomeOf(charged) != holdfast.OutcomeUnknown {
			t.Errorf("%d charges, error %v: %v, want one of unknown outcome", n, charged, holdfast.OutcomeOf(charged))
		}
	})
}

// An order is there for its customer as soon as it was acknowledged, also where the copy has not got it yet.
func TestOrderIsSeenAtOnceInTheOtherRegion(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Lag: 5 * time.Second})
		ready(t, f)
		placed := order(t, second(newUser(t, f, "ann").do(t.Context(), "POST", "/orders", "k", anvil)))
		r := httptest.NewRequest("GET", "/orders/"+placed.ID, nil)
		r.Header.Set("Authorization", "Bearer ann")
		got := httptest.NewRecorder()
		f.Sites[embedded.West].Services()[0].Handler().ServeHTTP(got, r)
		if got.Code != http.StatusOK {
			t.Errorf("GET in %s right after the order = %d %s, want 200", embedded.West, got.Code, got.Body)
		}
	})
}

// What an answer of the relay leaves open is not "nothing was done", and what it refuses for good is not tried again.
func TestAnswersOfTheMailRelay(t *testing.T) {
	for status, want := range map[int]holdfast.Outcome{429: holdfast.OutcomeNotRun, 503: holdfast.OutcomeNotRun, 500: holdfast.OutcomeUnknown, 504: holdfast.OutcomeUnknown, 422: holdfast.OutcomeRan} {
		if err := service.Mailed(status); err == nil || holdfast.OutcomeOf(err) != want || retry.Transient(err) != (status != 422 && want != holdfast.OutcomeUnknown) {
			t.Errorf("%d = %v, %v, want %v", status, err, holdfast.OutcomeOf(err), want)
		}
	}
	if err := service.Mailed(202); err != nil {
		t.Errorf("202 = %v, want nil", err)
	}
}

// Calls that wait are not given up because the database cannot be asked for hours: what it refuses is no attempt.
func TestCallsOutliveAnOutageOfTheDatabase(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Instances: 1})
		ready(t, f)
		ctx, writer := t.Context(), f.Sites[embedded.East].Services()[0]
		for id, status := range map[string]service.Status{"pending": service.StatusPending, "paid": service.StatusPaid} {
			if err := writer.Insert(ctx, service.Order{ID: id, Customer: "ann", Email: "ann@example.com", SKU: "rope", Quantity: 1, Cents: 900, Status: status}); err != nil {
				t.Fatal(err)
			}
		}
		copied := injected(fault.ReplicationPause("orders-west"))(t, f)
		time.Sleep(2 * time.Minute) // more than the RPO: the writer is not moved
		healed := injected(fault.AZDown(embedded.East, embedded.Databases, fault.ModeRefuse))(t, f)
		if _, err := service.Charge.Defer(ctx, writer.Charges, service.ChargeArgs{Order: "pending", Cents: 900}); err != nil {
			t.Fatal(err)
		}
		if _, err := service.Settle.Defer(ctx, writer.Client, service.SettleArgs{Order: "paid"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		healed()
		time.Sleep(5 * time.Minute) // were the copy there again before its Region is healthy, the writer would move to where no payments are
		copied()
		time.Sleep(20 * time.Minute)
		if n := f.Payments.Charges()["pending"]; n != 1 {
			t.Errorf("%d charges, want one", n)
		}
		for _, o := range f.Orders() {
			if o.Status != service.StatusPaid || !o.Settled {
				t.Errorf("order %+v, want it paid and settled", o)
			}
		}
	})
}
