package redistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/redistest"
)

// follow plays a fault of replication for a minute and returns how the replica has a key written before, during and
// after it.
func follow(t *testing.T, f func(replica string) fault.Fault) (before, during, after string) {
	t.Helper()
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		replica := s.Replicate(w.Region("west"), 100*time.Millisecond)
		there := replica.Client(w.Region("app"))
		put := func(value string) string {
			set(t, c, "k", value)
			time.Sleep(5 * time.Second)
			return get(t, there, "k")
		}
		before = put("1")
		w.Play(drtest.Timeline("fault", drtest.At(0, f(replica.Host())).For(time.Minute)))
		time.Sleep(time.Second)
		during = put("2")
		time.Sleep(2 * time.Minute)
		after = get(t, there, "k")
	})
	return before, during, after
}

func TestWorldReplicationFaults(t *testing.T) {
	for name, f := range map[string]func(string) fault.Fault{
		"pause": fault.ReplicationPause, "break": fault.ReplicationBreak,
		"lag": func(s string) fault.Fault { return fault.ReplicationLag(s, 30*time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			if before, during, after := follow(t, f); before != "1" || during != "1" || after != "2" {
				t.Errorf("the replica had %q, %q under the fault and %q after it, want 1, 1, 2", before, during, after)
			}
		})
	}
}

// A broken replica that was promoted is not rebuilt over what it has taken since.
func TestWorldReplicationBreakEndsWithPromotion(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		replica := s.Replicate(w.Region("west"), 0)
		there := replica.Client(w.Region("app"))
		w.Play(drtest.Timeline("fault", drtest.At(0, fault.ReplicationBreak(replica.Host())).For(time.Minute)))
		time.Sleep(time.Second)
		set(t, c, "old", "1")
		if lost := replica.Promote(); len(lost) != 1 {
			t.Errorf("Promote lost %v, want one write", lost)
		}
		set(t, there, "new", "1")
		time.Sleep(2 * time.Minute)
		wantValues(t, there, map[string]string{"new": "1", "old": gone})
	})
}

// The store of feature flags goes away alone; clients that exist meet a reset first.
func TestWorldFlagStoreDown(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		set(t, c, "flag", "on")
		w.Play(drtest.Timeline("fault", drtest.At(0, fault.FlagStoreDown(s.Host())).For(time.Minute)))
		time.Sleep(time.Second)
		if got := get(t, c, "flag"); !strings.Contains(got, "refused") {
			t.Errorf("GET = %q, want a refused connection", got)
		}
		time.Sleep(time.Minute)
		wantValues(t, c, map[string]string{"flag": "on"})
	})
}

func TestWorldCapacityLimit(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, _ *redis.Client) {
		o := s.Options(w.Region("app"))
		o.MaxRetries = -1
		c := redis.NewClient(o)
		w.Region("app").OnClose(func() { _ = c.Close() })
		set(t, c, "k", "1")
		w.Play(drtest.Timeline("fault", drtest.At(0, fault.CapacityLimit(s.Host(), 3)).For(time.Minute)))
		time.Sleep(time.Second)
		refused := 0
		for range 6 {
			if got := get(t, c, "k"); strings.HasPrefix(got, "LOADING") {
				refused++
			}
		}
		if refused == 0 || refused == 6 {
			t.Errorf("%d of 6 commands refused at 3 a second", refused)
		}
		time.Sleep(time.Minute)
		wantValues(t, c, map[string]string{"k": "1"})
	})
}

// A server that loses its answers has run the command; a slow one takes its time.
func TestWorldLostReplyAndSlow(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, _ *redis.Client) {
		o := s.Options(w.Region("app"))
		o.MaxRetries = -1
		c := redis.NewClient(o)
		w.Region("app").OnClose(func() { _ = c.Close() })
		w.Play(drtest.Timeline("fault",
			drtest.At(0, fault.LostReply(s.Host(), 1).On("SET")).For(time.Minute), drtest.At(2*time.Minute, fault.Slow(s.Host(), 2*time.Second)).For(time.Minute)))
		time.Sleep(time.Second)
		if err := c.Set(t.Context(), "k", "1", 0).Err(); err == nil {
			t.Error("SET was answered")
		}
		wantValues(t, c, map[string]string{"k": "1"})
		time.Sleep(2 * time.Minute)
		start := time.Now()
		wantValues(t, c, map[string]string{"k": "1"})
		if took := time.Since(start).Round(time.Second); took != 2*time.Second {
			t.Errorf("GET took %v, want 2s", took)
		}
	})
}
