package redistest_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/redistest"
)

// A promoted asynchronous replica does not have the last writes.
func ExampleServer_Promote() {
	test := func(t *testing.T) {
		drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
			east, west, app := w.Region("us-east-1"), w.Region("us-west-2"), w.Region("app")
			primary := redistest.Start(east)
			replica := primary.Replicate(west, 200*time.Millisecond)
			client := primary.Client(app)

			if err := client.Set(t.Context(), "charge:42", "done", 0).Err(); err != nil {
				t.Fatal(err)
			}
			for _, write := range replica.Promote() {
				t.Logf("acknowledged and lost: %v", write)
			}
			if n, err := replica.Client(app).Exists(t.Context(), "charge:42").Result(); n != 0 || err != nil {
				t.Errorf("EXISTS = %d, %v", n, err)
			}
		})
	}
	_ = test
}
