package redistest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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

// The instant at which a key expires stays where it is, and what is left of it runs down with the clock, however many keys there are.
func TestTheEndOfAKeyStandsStill(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		r := w.Region("r")
		c := redistest.Start(r).Client(r)
		ctx := t.Context()
		ends := redis.NewScript(`return {redis.call('PEXPIRETIME', KEYS[1]), redis.call('PTTL', KEYS[1])}`)
		for i := range 1000 {
			if err := c.Set(ctx, "key"+strconv.Itoa(i), "x", 24*time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if err := c.Set(ctx, "mine", "x", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		want := began.Add(time.Hour)
		for i := range 300 {
			time.Sleep(700 * time.Millisecond)
			if i == 150 {
				began = time.Now()
				c.PExpire(ctx, "mine", time.Hour)
				want = began.Add(time.Hour)
			}
			got, err := ends.Run(ctx, c, []string{"mine"}).Int64Slice()
			if err != nil {
				t.Fatal(err)
			}
			if end := time.UnixMilli(got[0]); end.Sub(want).Abs() > 2*time.Millisecond {
				t.Fatalf("after %v the key ends at %v, want %v", time.Since(began), end, want)
			}
			if left := time.Duration(got[1]) * time.Millisecond; (left - time.Until(want)).Abs() > 2*time.Millisecond {
				t.Fatalf("after %v %v are left, want %v", time.Since(began), left, time.Until(want))
			}
		}
	})
}
