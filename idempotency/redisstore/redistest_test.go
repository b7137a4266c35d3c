package redisstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
)

// In a simulated Region, on virtual time, with the server's clock two hours ahead.
func TestRedisInAWorld(t *testing.T) {
	for name, test := range storetest.All() {
		t.Run(name, func(t *testing.T) {
			drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
				test(t, func(t *testing.T) storetest.Subject {
					server := redistest.Start(w.Region("us-east-1"))
					client := server.Client(w.Region("app"))
					t.Cleanup(func() { client.Close() })
					return storetest.Subject{Store: newStore(t, client, redisstore.Config{}), Lose: server.Flush}
				})
			})
		})
	}
}

// A fail-over to an asynchronous replica loses the last lag. Calls stored before it are replayed; calls stored within it
// are those that the promise names: they may run again.
func TestFailOverLosesTheLastLagOnly(t *testing.T) {
	const lag = 200 * time.Millisecond
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, west, app := w.Region("us-east-1"), w.Region("us-west-2"), w.Region("app")
		primary := redistest.Start(east)
		replica := primary.Replicate(west, lag)
		old, next := primary.Client(app), replica.Client(app)
		defer old.Close()
		defer next.Close()
		runs := map[string]int{}
		call := func(g *idempotency.Guard, id string) {
			t.Helper()
			_, err := idempotency.Do(t.Context(), g, idempotency.Key{ID: id}, func(context.Context) (string, error) {
				runs[id]++
				return id, nil
			})
			if err != nil {
				t.Errorf("call %s: %v", id, err)
			}
		}
		before := newGuard(t, newStore(t, old, redisstore.Config{}), idempotency.Config{})
		for i := range 20 {
			call(before, fmt.Sprint("early ", i))
		}
		time.Sleep(2 * lag)
		for i := range 20 {
			call(before, fmt.Sprint("late ", i))
		}
		lost := replica.Promote()
		// A result may be lost and its claim not: the call then looks in flight until its lease has passed.
		after := newGuard(t, newStore(t, next, redisstore.Config{}), idempotency.Config{Wait: idempotency.Unlimited})
		again := 0
		for i := range 20 {
			early, late := fmt.Sprint("early ", i), fmt.Sprint("late ", i)
			call(after, early)
			call(after, late)
			if runs[early] != 1 {
				t.Errorf("%s ran %d times, want once: it was stored before the lag", early, runs[early])
			}
			again += runs[late] - 1
		}
		if again == 0 || len(lost) == 0 {
			t.Errorf("%d calls ran again and %d writes were lost: the test lost nothing", again, len(lost))
		}
	})
}
