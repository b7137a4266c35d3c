package service_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/failover"
)

// place is one customer's order: the same key until there is an answer or the user gives up.
func place(users *http.Client) func(context.Context, *drtest.Op) error {
	return func(ctx context.Context, op *drtest.Op) error {
		op.As("POST /orders")
		for {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://orders.example/orders", strings.NewReader(anvil))
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", fmt.Sprintf("Bearer user-%d", op.Client()))
			req.Header.Set("Idempotency-Key", op.Key())
			resp, err := users.Do(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusCreated {
				op.Acked(embedded.OrderKey(strings.TrimPrefix(resp.Header.Get("Location"), "/orders/")))
				return nil
			}
			return fmt.Errorf("POST /orders = %d", resp.StatusCode)
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestRegionOutage(t *testing.T) {
	before := cpu()
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Settle: time.Minute, Watchdog: time.Minute}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
		ready(t, f)
		users := &http.Client{Transport: f.Users()}
		load := w.Load(drtest.Load{Name: "orders", Clients: 10, Rate: drtest.Poisson(.2), Length: 20*time.Minute, Do: place(users)})
		_ = load
		w.Play(drtest.Timeline("lose us-east-1", drtest.At(5*time.Minute, fault.RegionDown(embedded.East, fault.ModeBlackhole)).For(10*time.Minute)))
		for range 4 {
			time.Sleep(5 * time.Minute)
			east, west := f.Sites[embedded.East], f.Sites[embedded.West]
			fmt.Println(time.Now().Format("15:04"), "cpu", cpu()-before, "redis", east.Redis.Commands("EVALSHA"), west.Redis.Commands("EVALSHA"), "sqs", east.SQS.Calls("ReceiveMessage"), west.SQS.Calls("ReceiveMessage"), west.SQS.Calls("SendMessageBatch"))
		}
		fmt.Println("cpu", cpu()-before)
		lost, err := f.Sites[embedded.East].Rebuild(f.Sites[embedded.West])
		t.Logf("rebuilt: lost %v, %v", lost, err)
		time.Sleep(5 * time.Minute)
		tr, err := f.Sites[embedded.West].Services()[0].Controller.Failover(t.Context(), embedded.East, failover.Request{Reason: "back", By: "ann", Second: "bob", Planned: true})
		t.Logf("failback: %+v %v", tr, err)
		time.Sleep(20 * time.Minute)
		t.Logf("status %+v", f.Sites[embedded.East].Services()[0].Controller.Status().Last)
		fmt.Println("cpu", cpu()-before)
		w.Check(check.RTO(15*time.Minute), check.RPO(time.Minute), check.AppliedOnce("charge"), check.SingleWriter())
	})
	fmt.Println("cpu", cpu()-before)
}
