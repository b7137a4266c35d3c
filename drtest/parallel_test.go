package drtest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// Worlds may run beside each other and after each other in one process.
func TestManyWorlds(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				drtest.Run(t, drtest.Config{Seed: seed + 1}, func(t *testing.T, w *drtest.World) {
					w.Region("east").Serve("api", http.HandlerFunc(hello))
					client := w.Region("users").HTTPClient()
					client.Timeout = time.Second
					play(w, drtest.At(time.Second, fault.RegionDown("east", fault.ModeBlackhole)).For(time.Minute))
					for range 10 {
						_, _ = get(t.Context(), client, "http://api/")
						time.Sleep(10 * time.Second)
					}
					if _, err := get(t.Context(), client, "http://api/"); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// Cleanups of the test run while its World still works.
func TestCleanupMayUseTheWorld(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Region("east").Serve("api", http.HandlerFunc(hello))
		client := w.Region("users").HTTPClient()
		ctx := t.Context()
		t.Cleanup(func() {
			if ctx.Err() == nil {
				t.Error("the context of t is alive in a cleanup")
			}
			resp, err := client.Get("http://api/")
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
		})
	})
}
