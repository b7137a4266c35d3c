package redistest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/redistest"
)

// Among many keys a short-lived one lives as long as it should, and at most a step longer.
func TestShortLivesAmongManyKeys(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		r := w.Region("r")
		c := redistest.Start(r).Client(r)
		ctx := t.Context()
		for i := range 1000 {
			if err := c.Set(ctx, "key"+strconv.Itoa(i), "x", time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if err := c.Set(ctx, "short", "x", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if n, err := c.Exists(ctx, "short").Result(); n != 1 || err != nil {
			t.Errorf("after 59 of 60 s: %d, %v, want it there", n, err)
		}
		time.Sleep(2 * time.Minute) // a minute more than its end, for the longest step
		c.Exists(ctx, "key1")
		if n, err := c.Exists(ctx, "short").Result(); n != 0 || err != nil {
			t.Errorf("two minutes after its end: %d, %v, want it gone", n, err)
		}
	})
}
