package service_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/degrade/shed"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// Three times what payments can take, for half a minute: what is answered stays near capacity, and what is critical is answered.
func TestThreefoldOverload(t *testing.T) {
	const (
		atOnce   = 5
		latency  = 100 * time.Millisecond
		capacity = 50 // a second: atOnce / latency
		length   = 20 * time.Second
	)
	var done, critical, criticalDone, refused atomic.Int64
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Instances: 1, PaymentsAtOnce: atOnce, Latency: latency, Settings: service.Settings{MaxInFlight: 48}})
		ready(t, f)
		users := &http.Client{Transport: f.Users()}
		post := func(class shed.Class, ended func(status int)) func(context.Context, *drtest.Op) error {
			return func(ctx context.Context, op *drtest.Op) error {
				req, err := http.NewRequestWithContext(ctx, "POST", "http://orders.example/orders", strings.NewReader(anvil))
				if err != nil {
					return err
				}
				req.Header.Set("Authorization", "Bearer ann")
				req.Header.Set("Idempotency-Key", op.Key())
				shed.SetHeader(req.Header, class)
				resp, err := users.Do(req)
				if err != nil {
					return err
				}
				resp.Body.Close()
				ended(resp.StatusCode)
				if resp.StatusCode != http.StatusCreated {
					return fmt.Errorf("POST = %d", resp.StatusCode)
				}
				done.Add(1)
				return nil
			}
		}
		w.Load(drtest.Load{Name: "critical", Clients: 10, Rate: drtest.Poisson(2.5), Length: length, Do: post(shed.Critical, func(status int) {
			critical.Add(1)
			if status == http.StatusCreated {
				criticalDone.Add(1)
			}
		})})
		w.Load(drtest.Load{Name: "bulk", Clients: 50, Rate: drtest.Poisson(2.5), Length: length, Do: post(shed.Sheddable, func(status int) {
			if status == http.StatusServiceUnavailable {
				refused.Add(1)
			}
		})})
		w.Wait()
		f.Stop()
	})
	goodput := float64(done.Load()) / length.Seconds()
	t.Logf("goodput %.1f/s of %d/s, critical %d of %d, %d refused", goodput, capacity, criticalDone.Load(), critical.Load(), refused.Load())
	if goodput < .8*capacity {
		t.Errorf("goodput = %.1f/s, want at least 80 %% of %d/s", goodput, capacity)
	}
	if criticalDone.Load()*100 < critical.Load()*99 {
		t.Errorf("critical: %d of %d answered, want 99 %%", criticalDone.Load(), critical.Load())
	}
}
