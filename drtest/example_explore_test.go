package drtest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
)

// A pair of Regions answers as long as one of them does. No test names the outage: a hundred are drawn. The core is the
// second Region, so the first may be lost for good, and requests must succeed all the same half a minute after the second is
// whole.
func ExampleExplore() {
	_ = func(t *testing.T) { // a test
		drtest.Explore(t, drtest.ExploreConfig{
			World: drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 2 * time.Minute}, Safety: 5 * time.Minute,
			Core: []string{"us-west-2", "users", "api.us-west-2"}, Recover: []check.RTOCheck{check.RTO(30 * time.Second)},
		}, func(_ testing.TB, w *drtest.World) {
			hosts := []string{"api.us-east-1", "api.us-west-2"}
			w.Region("us-east-1").Serve(hosts[0], http.HandlerFunc(hello))
			w.Region("us-west-2").Serve(hosts[1], http.HandlerFunc(hello))
			client := w.Region("users").HTTPClient()
			w.Load(drtest.Load{Name: "gets", Clients: 3, Rate: drtest.Poisson(0.5), Do: func(ctx context.Context, _ *drtest.Op) error {
				once, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				if _, err := get(once, client, "http://"+hosts[0]+"/"); err == nil {
					return nil
				}
				_, err := get(ctx, client, "http://"+hosts[1]+"/")
				return err
			}})
		})
	}
	// Output:
}
