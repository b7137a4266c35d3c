package service_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
)

// A deployment stops every process under load: within the time of its stages, with requests in flight answered and nothing lost.
func TestShutdownUnderLoad(t *testing.T) {
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Latency: 500 * time.Millisecond})
		ready(t, f)
		load := w.Load(drtest.Load{Name: "buy", Clients: 10, Rate: drtest.Poisson(1), Timeout: 5 * time.Second, Do: f.Buy()})
		time.Sleep(20 * time.Second)
		start := time.Now()
		f.Stop()
		if took := time.Since(start); took > time.Minute {
			t.Errorf("stopped after %v, want every stage within its 30 s and most at once", took)
		}
		load.Stop()
		if status, _, body := newUser(t, f, "ann").do(t.Context(), "GET", "/orders", "", ""); status != http.StatusServiceUnavailable {
			t.Errorf("after the stop GET = %d %s, want 503 of the load balancer", status, body)
		}
		holdings, release, err := f.Holdings()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if report := f.Ledger.Check(t.Context(), holdings); !report.Balanced() {
			t.Errorf("deferred calls: lost %v, repeated without a reason %v", report.Lost, report.Unexplained)
		}
		stored := map[string]bool{}
		for _, o := range f.Orders() {
			stored[embedded.OrderKey(o.ID)] = true
		}
		for _, ack := range w.History().Acks() {
			if !stored[ack.Key] {
				t.Errorf("%s was acknowledged and is not there", ack.Key)
			}
		}
	})
}
