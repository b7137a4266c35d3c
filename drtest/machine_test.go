package drtest_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A process dies between two of its effects: what had arrived is done, what it would do next is not, and the life that follows has a network again.
func TestMachineDiesWithItsProcess(t *testing.T) {
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		east := w.Region("east")
		db := east.Store("db")
		var charged, lives atomic.Int64
		w.Region("west").Serve("pay", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(5 * time.Second)
			charged.Add(1)
		}))
		type end struct {
			at              time.Duration
			answered, noted error
		}
		died := make(chan end, 1)
		east.Go("east/app", func(ctx context.Context) error {
			first := lives.Add(1) == 1
			machine := east.Machine(ctx)
			conn := sql.OpenDB(db.Connector(machine))
			defer conn.Close()
			if !first {
				_, err := conn.ExecContext(ctx, "PUT ? ?", "alive", "again")
				<-ctx.Done()
				return err
			}
			resp, err := machine.HTTPClient().Get("http://pay/") // without ctx: it is no drain that ends this
			if err == nil {
				resp.Body.Close()
			}
			at := w.Elapsed()
			_, noted := conn.ExecContext(context.WithoutCancel(ctx), "PUT ? ?", "charged", "yes")
			died <- end{at, err, noted}
			return nil
		})
		w.Play(drtest.Timeline("death", drtest.At(2*time.Second, fault.Crash("east/app")).For(10*time.Second)))
		time.Sleep(20 * time.Second)
		if charged.Load() != 1 || lives.Load() != 2 {
			t.Errorf("charged %d times in %d lives, want once, in two", charged.Load(), lives.Load())
		}
		switch e := <-died; {
		case e.at < 2*time.Second || e.at > 2*time.Second+time.Millisecond || e.answered == nil:
			t.Errorf("the request ended at %v with %v, want the moment of the death, 2s, and an error", e.at, e.answered)
		case !errors.Is(e.noted, syscall.ECONNREFUSED):
			t.Errorf("PUT after the death = %v, want ECONNREFUSED", e.noted)
		}
		if keys := db.Keys(); len(keys) != 1 || keys[0] != "alive" {
			t.Errorf("the store has %q, want only what the second life wrote", keys)
		}
	})
}
