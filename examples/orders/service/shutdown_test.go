package service_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
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

// A stuck server has a request that never ends.
type stuck struct {
	stop, closed chan struct{}
}

func (s stuck) ListenAndServe() error { <-s.stop; return http.ErrServerClosed }

func (s stuck) Shutdown(ctx context.Context) error {
	close(s.stop)
	<-ctx.Done()
	return ctx.Err()
}

func (s stuck) Close() error { close(s.closed); return nil }

// A request that does not end within the time of its stage is cut off: the stages that it stands on stop next.
func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := stuck{make(chan struct{}), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		err := service.Serve(ctx, func(http.Handler) service.HTTPServer { return server })
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took >= holdfast.StopTimeout {
			t.Errorf("serve = %v after %v, want a deadline before %v", err, took, holdfast.StopTimeout)
		}
		select {
		case <-server.closed:
		default:
			t.Error("the server's connections were left open")
		}
	})
}
