package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// world runs f with a server in east and a client in app.
func world(t *testing.T, f func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client)) {
	t.Helper()
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		s := redistest.Start(w.Region("east"))
		f(t, w, s, s.Client(w.Region("app")))
	})
}

func set(t *testing.T, c *redis.Client, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatalf("SET %s: %v", key, err)
	}
}

// get returns the value of a key, or the error's text.
func get(t *testing.T, c *redis.Client, key string) string {
	t.Helper()
	value, err := c.Get(t.Context(), key).Result()
	if err != nil {
		return err.Error()
	}
	return value
}

const gone = "redis: nil"

func wantValues(t *testing.T, c *redis.Client, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got := get(t, c, key); got != value {
			t.Errorf("GET %s = %q, want %q", key, got, value)
		}
	}
}

func TestKeysAge(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		if err := c.Set(t.Context(), "k", "v", 10*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		wantValues(t, c, map[string]string{"k": "v"})
		time.Sleep(time.Second)
		wantValues(t, c, map[string]string{"k": gone})
		if n := s.Commands("GET"); n != 2 {
			t.Errorf("Commands(GET) = %d, want 2", n)
		}
	})
}

func TestScriptsTransactionsAndBlockingCommands(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		ctx := t.Context()
		script := redis.NewScript(`return redis.call('INCRBY', KEYS[1], ARGV[1])`)
		for want := int64(5); want <= 10; want += 5 {
			if n, err := script.Run(ctx, c, []string{"n"}, 5).Int64(); n != want || err != nil {
				t.Errorf("script = %d, %v, want %d", n, err, want)
			}
		}
		if _, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "a", "1", 0)
			p.Incr(ctx, "a")
			return nil
		}); err != nil {
			t.Error(err)
		}
		start := time.Now()
		if _, err := c.BLPop(ctx, 5*time.Second, "list").Result(); !errors.Is(err, redis.Nil) || time.Since(start).Round(time.Second) != 5*time.Second {
			t.Errorf("BLPOP = %v after %v", err, time.Since(start))
		}
		go func() {
			time.Sleep(time.Second)
			c.RPush(ctx, "list", "x")
		}()
		if got, err := c.BLPop(ctx, time.Minute, "list").Result(); err != nil || got[1] != "x" {
			t.Errorf("BLPOP = %v, %v", got, err)
		}
		wantValues(t, c, map[string]string{"n": "10", "a": "2"})
	})
}

func TestPubSub(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		sub := c.Subscribe(t.Context(), "news")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Publish(t.Context(), "news", "hello")
		if m, err := sub.ReceiveMessage(t.Context()); err != nil || m.Payload != "hello" {
			t.Errorf("message %v, %v", m, err)
		}
		s.Restart() // a subscriber whose connection is cut leaves no goroutine
		time.Sleep(time.Second)
	})
}

// TestBlockedClientsAtTheEndOfTheWorld leaves calls open; the sweep of the World ends them.
func TestBlockedClientsAtTheEndOfTheWorld(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		ctx := context.WithoutCancel(t.Context())
		go func() { _ = c.BLPop(ctx, 0, "list").Err() }()
		time.Sleep(time.Second)
		s.Pause()
		go func() { _ = c.Ping(ctx).Err() }()
		time.Sleep(time.Second)
		s.Inject(redistest.Fault{Latency: time.Hour})
	})
}

func TestPause(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		set(t, c, "k", "v")
		resume := s.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Set(ctx, "k", "late", 0).Err(); err == nil {
			t.Error("SET of a paused server succeeded")
		}
		resume()
		resume()
		time.Sleep(time.Second)
		wantValues(t, c, map[string]string{"k": "late"}) // the command was on its way
	})
}

func TestFlushAndRestart(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		set(t, c, "k", "v")
		s.Restart()
		wantValues(t, c, map[string]string{"k": "v"})
		s.Flush()
		wantValues(t, c, map[string]string{"k": gone})
	})
}

func TestFaults(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, _ *redis.Client) {
		o := s.Options(w.Region("app"))
		o.MaxRetries = -1
		c := redis.NewClient(o)
		defer func() { _ = c.Close() }()
		set(t, c, "k", "v")

		s.Inject(redistest.Fault{Command: "SET", Error: "LOADING Redis is loading the dataset in memory", Times: 1})
		if err := c.Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
			t.Errorf("SET = %v, want LOADING", err)
		}
		wantValues(t, c, map[string]string{"k": "v"})

		s.Inject(redistest.Fault{Command: "SET", DropReply: true, Times: 1})
		if err := c.Set(t.Context(), "k", "w", 0).Err(); err == nil {
			t.Error("SET with a lost reply succeeded")
		}
		wantValues(t, c, map[string]string{"k": "w"})

		end := s.Inject(redistest.Fault{Latency: 2 * time.Second})
		start := time.Now()
		set(t, c, "k", "x")
		if took := time.Since(start).Round(time.Second); took != 2*time.Second {
			t.Errorf("SET took %v, want 2s", took)
		}
		end()
		start = time.Now()
		wantValues(t, c, map[string]string{"k": "x"})
		if took := time.Since(start); took > time.Second {
			t.Errorf("GET after the fault took %v", took)
		}
	})
}

func TestWorldFaultsSpeakTheProtocol(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, _ *redis.Client) {
		o := s.Options(w.Region("app"))
		o.MaxRetries = -1
		c := redis.NewClient(o)
		defer func() { _ = c.Close() }()
		w.Play(drtest.Timeline("refusals",
			drtest.At(time.Second, fault.Throttle(s.Host(), 1, 503, 0).On("SET")).For(time.Second),
			drtest.At(3*time.Second, fault.Gray(s.Host(), 1)).For(time.Second),
		))
		for _, want := range []string{"LOADING", "ERR injected fault"} {
			time.Sleep(1700 * time.Millisecond)
			if err := c.Set(t.Context(), "k", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("SET = %v, want %s", err, want)
			}
		}
		time.Sleep(2 * time.Second)
		set(t, c, "k", "v")
	})
}

func TestInjectRefusesBadFaults(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, _ *redis.Client) {
		for _, f := range []redistest.Fault{{}, {Command: "set", DropReply: true}, {Times: -1, DropReply: true}, {Latency: -1}, {Error: "a\r\nb"}} {
			wantPanic(t, "redistest: Fault", func() { s.Inject(f) })
		}
	})
}

func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, want) {
			t.Errorf("panic %q, want %q", p, want)
		}
	}()
	f()
}

func TestFailOverLosesTheLastWrites(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		s.Standby(time.Second)
		set(t, c, "old", "1")
		time.Sleep(2 * time.Second)
		before := time.Now()
		set(t, c, "new", "1")
		set(t, c, "old", "2")
		lost := s.FailOver()
		if len(lost) != 2 || lost[0].String() != "set new 1" || lost[0].At.Before(before) || lost[0].At.After(time.Now()) {
			t.Errorf("lost %v, want the last two writes", lost)
		}
		wantValues(t, c, map[string]string{"old": "1", "new": gone})

		set(t, c, "again", "1")
		time.Sleep(2 * time.Second)
		if lost := s.FailOver(); len(lost) != 0 {
			t.Errorf("second fail-over lost %v", lost)
		}
		wantValues(t, c, map[string]string{"old": "1", "again": "1"})
	})
}

func TestReplicaLagsAndRefusesWrites(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		set(t, c, "before", "1")
		replica := s.Replicate(w.Region("west"), 10*time.Second)
		rc := replica.Client(w.Region("app"))
		wantValues(t, rc, map[string]string{"before": "1"})
		set(t, c, "k", "v")
		wantValues(t, rc, map[string]string{"k": gone})
		if lag := replica.Lag(); lag <= 0 || lag > time.Second {
			t.Errorf("Lag = %v", lag)
		}
		if err := rc.Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
			t.Errorf("SET on a replica = %v", err)
		}
		time.Sleep(10 * time.Second)
		wantValues(t, rc, map[string]string{"k": "v"})
		if lag := replica.Lag(); lag != 0 {
			t.Errorf("Lag = %v, want 0", lag)
		}
	})
}

func TestPartitionStopsReplication(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		east, west := w.Region("east"), w.Region("west")
		replica := s.Replicate(west, time.Second)
		rc := replica.Client(w.Region("app"))
		set(t, c, "arrived", "1")
		time.Sleep(2 * time.Second)
		heal := w.Net().Overlay(east.Name(), west.Name(), func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
		set(t, c, "stuck", "1")
		time.Sleep(time.Hour)
		wantValues(t, rc, map[string]string{"arrived": "1", "stuck": gone})
		if lag := replica.Lag(); lag.Round(time.Minute) != time.Hour {
			t.Errorf("Lag = %v, want an hour", lag)
		}
		heal()
		wantValues(t, rc, map[string]string{"stuck": "1"})
	})
}

// TestPromote has a replica promoted in a partition: the old primary keeps taking writes, and gets
// them wiped when it follows the new one.
func TestPromote(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		replica := s.Replicate(w.Region("west"), 5*time.Second)
		rc := replica.Client(w.Region("app"))
		set(t, c, "a", "1")
		time.Sleep(6 * time.Second)
		set(t, c, "b", "1")
		if lost := replica.Promote(); len(lost) != 1 || lost[0].String() != "set b 1" {
			t.Errorf("lost %v, want set b 1", lost)
		}
		if lost := replica.Promote(); lost != nil {
			t.Errorf("second Promote lost %v", lost)
		}
		set(t, c, "a", "old primary")
		set(t, rc, "a", "new primary")
		s.Follow(replica, 0)
		wantValues(t, c, map[string]string{"a": "new primary", "b": gone})
		set(t, rc, "c", "1")
		wantValues(t, c, map[string]string{"c": "1"})
	})
}

func TestPauseReplication(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		replica := s.Replicate(w.Region("west"), 0)
		rc := replica.Client(w.Region("app"))
		resume := replica.PauseReplication()
		set(t, c, "k", "v")
		time.Sleep(time.Minute)
		wantValues(t, rc, map[string]string{"k": gone})
		resume()
		wantValues(t, rc, map[string]string{"k": "v"})
	})
}

// TestReplicaHasWhatThePrimaryHad covers what is copied when a replica starts, and what is replayed.
func TestReplicaHasWhatThePrimaryHad(t *testing.T) {
	for _, when := range []string{"copied", "replayed"} {
		t.Run(when, func(t *testing.T) {
			world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
				var replica *redistest.Server
				if when == "replayed" {
					replica = s.Replicate(w.Region("west"), time.Second)
				}
				script := redis.NewScript(`return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)`)
				fill(t, c, script)
				if when == "copied" {
					replica = s.Replicate(w.Region("west"), time.Second)
				}
				if err := script.EvalSha(t.Context(), c, []string{"by sha"}, "x").Err(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if got, want := replica.Inside().Dump(), s.Inside().Dump(); got != want || len(want) < 100 {
					t.Errorf("replica has\n%s\nwant\n%s", got, want)
				}
				if got, want := replica.Inside().DB(3).Keys(), s.Inside().DB(3).Keys(); len(got) != 1 || got[0] != want[0] {
					t.Errorf("replica's database 3 has %v, want %v", got, want)
				}
				for _, key := range []string{"ttl", "by script", "by sha"} {
					if got, want := replica.Inside().TTL(key), s.Inside().TTL(key); got != want || want <= 0 {
						t.Errorf("TTL of %s = %v, want %v", key, got, want)
					}
				}
			})
		})
	}
}

func fill(t *testing.T, c *redis.Client, script *redis.Script) {
	t.Helper()
	ctx := t.Context()
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "ttl", "v", time.Minute)
		p.HSet(ctx, "hash", "f", "1", "g", "2")
		p.RPush(ctx, "list", "a", "b")
		p.SAdd(ctx, "set", "a", "b")
		p.ZAdd(ctx, "zset", redis.Z{Score: 1.5, Member: "a"})
		p.XAdd(ctx, &redis.XAddArgs{Stream: "stream", ID: "1-1", Values: []string{"f", "v"}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Run(ctx, c, []string{"by script"}, "v").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Select(ctx, 3)
		p.Set(ctx, "in 3", "v", 0)
		p.Select(ctx, 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	watched := func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "optimistic", "v", 0)
			return nil
		})
		return err
	}
	if err := c.Watch(ctx, watched, "ttl"); err != nil {
		t.Fatal(err)
	}
	aborted := func(tx *redis.Tx) error {
		c.Set(ctx, "optimistic", "other", 0)
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "optimistic", "lost", 0)
			return nil
		})
		return err
	}
	if err := c.Watch(ctx, aborted, "optimistic"); !errors.Is(err, redis.TxFailedErr) {
		t.Fatalf("Watch = %v, want an abort", err)
	}
}

// TestPromotedKeysHaveTheirAge has a lease that ends on the primary and the promoted replica alike.
func TestPromotedKeysHaveTheirAge(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		replica := s.Replicate(w.Region("west"), 3*time.Second)
		rc := replica.Client(w.Region("app"))
		c.Set(t.Context(), "lease", "me", 20*time.Second)
		for range 10 { // reads between writes must not age keys twice
			time.Sleep(time.Second)
			set(t, c, "tick", "x")
			_ = get(t, rc, "tick")
		}
		replica.Promote()
		if got, want := replica.Inside().TTL("lease"), s.Inside().TTL("lease"); got != want || want > 10*time.Second || want < 8*time.Second {
			t.Errorf("TTL = %v, want %v", got, want)
		}
	})
}

// TestClockThatJumpsAndComesBack has a key outlive a clock that is an hour fast for a minute.
func TestClockThatJumpsAndComesBack(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		c.Set(t.Context(), "long", "v", 2*time.Hour)
		c.Set(t.Context(), "short", "v", 30*time.Minute)
		w.Play(drtest.Timeline("fast clock", drtest.At(time.Minute, fault.ClockSkew("east", time.Hour)).For(time.Minute)))
		time.Sleep(90 * time.Second)
		wantValues(t, c, map[string]string{"long": "v", "short": gone})
		for range 9 {
			time.Sleep(10 * time.Minute)
			wantValues(t, c, map[string]string{"long": "v"})
		}
		time.Sleep(30 * time.Minute)
		wantValues(t, c, map[string]string{"long": gone})
	})
}

func TestOptions(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		o := s.Options(w.Region("app"))
		if addr, err := netip.ParseAddrPort(o.Addr); err != nil || addr.Port() != 6379 {
			t.Errorf("Addr = %q, want an IP address: a name is looked up in the real DNS", o.Addr)
		}
		if o.MaintNotificationsConfig == nil || o.MaintNotificationsConfig.Mode != maintnotifications.ModeDisabled {
			t.Error("maintenance notifications are on")
		}
	})
}

func TestSeveralServersInARegion(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		other := redistest.Start(w.Region("east"))
		if s.Host() != "redis.east.internal" || other.Host() != "redis-2.east.internal" || s.Addr() == other.Addr() {
			t.Errorf("hosts %s and %s, addresses %s and %s", s.Host(), other.Host(), s.Addr(), other.Addr())
		}
		set(t, c, "k", "v")
		wantValues(t, other.Client(w.Region("app")), map[string]string{"k": gone})
	})
}

func TestRefusals(t *testing.T) {
	world(t, func(t *testing.T, w *drtest.World, s *redistest.Server, c *redis.Client) {
		replica := s.Replicate(w.Region("west"), 0)
		wantPanic(t, "redistest: Follow:", func() { s.Follow(s, 0) })
		wantPanic(t, "redistest: Follow:", func() { s.Follow(replica, 0) })
		wantPanic(t, "redistest: Follow:", func() { redistest.Start(w.Region("west")).Follow(s, -1) })
		wantPanic(t, "redistest: Standby:", func() { replica.Standby(0) })
		wantPanic(t, "redistest: Standby:", func() { s.Standby(-1) })
		wantPanic(t, "redistest: FailOver:", func() { s.FailOver() })
		wantPanic(t, "redistest: PauseReplication:", func() { s.PauseReplication() })
	})
}

// TestTwoWorldsAtOnce has a second World start a server while the first one's runs.
func TestTwoWorldsAtOnce(t *testing.T) {
	var started, refused atomic.Bool
	var first sync.WaitGroup
	first.Go(func() {
		drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
			redistest.Start(w.Region("east"))
			started.Store(true)
			spin(&refused) // real time: the other World is in another bubble
		})
	})
	spin(&started)
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		wantPanic(t, "redistest: another World", func() { redistest.Start(w.Region("east")) })
	})
	refused.Store(true)
	first.Wait()
}

func spin(until *atomic.Bool) {
	for !until.Load() {
		runtime.Gosched()
	}
}
