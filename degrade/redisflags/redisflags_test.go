package redisflags

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradetest"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func connect(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func open(t *testing.T, addr, key string) *Flags {
	t.Helper()
	f, err := New(connect(t, addr), Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// eachRedis runs test against the embedded server and a real one. Keys have a name of their own in each run.
func eachRedis(t *testing.T, test func(t *testing.T, addr, key string)) {
	key := fmt.Sprintf("%s:%d", t.Name(), time.Now().UnixNano())
	t.Run("embedded", func(t *testing.T) { test(t, miniredis.RunT(t).Addr(), key) })
	t.Run("redis", func(t *testing.T) { test(t, servertest.Env(t, servertest.RedisA), key) })
}

func TestStore(t *testing.T) {
	eachRedis(t, func(t *testing.T, addr, key string) {
		degradetest.TestStore(t, func(t *testing.T, name string) degrade.Store { return open(t, addr, key+name) })
	})
}

var limited = degrade.FlagSet{Version: "1", Levels: map[string]degrade.Level{"checkout": degrade.Limited}}

func TestPublishAndLoad(t *testing.T) {
	eachRedis(t, func(t *testing.T, addr, key string) {
		f, other := open(t, addr, key), open(t, addr, key)
		if _, err := f.Load(t.Context(), nil); !errors.Is(err, ErrNothing) {
			t.Errorf("Load = %v before anything is published, want ErrNothing", err)
		}
		for version := range 3 {
			set := limited
			set.Version = fmt.Sprint(version)
			if err := other.Publish(t.Context(), set); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := f.Load(t.Context(), nil)
				if err != nil || got.Version != set.Version || got.Levels["checkout"] != degrade.Limited {
					t.Errorf("Load = %+v, %v, want %+v", got, err, set)
				}
			}
		}
		if err := f.Publish(t.Context(), degrade.FlagSet{}); err == nil {
			t.Error("a set without levels was published")
		}
		if err := f.Publish(t.Context(), degrade.FlagSet{Levels: map[string]degrade.Level{"Bad Name": 1}}); err == nil {
			t.Error("a malformed name was published")
		}
	})
}

// TestDamage: whatever is wrong with what is stored, Load says so and returns no set.
func TestDamage(t *testing.T) {
	eachRedis(t, func(t *testing.T, addr, key string) {
		client, ctx := connect(t, addr), t.Context()
		for name, damage := range map[string]func(f *Flags) error{
			"flags lost":     func(f *Flags) error { return client.Del(ctx, f.flags).Err() },
			"all lost":       func(f *Flags) error { return client.Del(ctx, f.flags, f.version).Err() },
			"flags replaced": func(f *Flags) error { return client.Set(ctx, f.flags, `{"levels":{"checkout":"offline"}}`, 0).Err() },
			"flags cut":      func(f *Flags) error { return client.Set(ctx, f.flags, `{"levels":{"check`, 0).Err() },
			"not flags": func(f *Flags) error {
				return client.MSet(ctx, f.flags, "hello", f.version, hash([]byte("hello"))).Err()
			},
			"version lost": func(f *Flags) error { return client.Del(ctx, f.version).Err() },
			"wrong type": func(f *Flags) error {
				return errors.Join(client.Del(ctx, f.version).Err(), client.LPush(ctx, f.version, "x").Err())
			},
		} {
			f, fresh := open(t, addr, key+name), open(t, addr, key+name)
			if err := f.Publish(ctx, limited); err != nil {
				t.Fatal(err)
			}
			if err := damage(f); err != nil {
				t.Fatal(err)
			}
			if set, err := fresh.Load(ctx, nil); err == nil || set.Levels != nil {
				t.Errorf("%s: Load = %+v, %v, want an error", name, set, err)
			}
		}
		f := open(t, addr, key+"overrides")
		for _, body := range []string{"hello", `{"revision":8}`, ""} {
			if err := client.HSet(ctx, f.overrides, "revision", "7", "set", body).Err(); err != nil {
				t.Fatal(err)
			}
			if set, err := f.LoadOverrides(ctx); err == nil {
				t.Errorf("LoadOverrides of %q = %+v, want an error", body, set)
			}
		}
	})
}

// await waits for c's feature to reach level, by its events.
func await(t *testing.T, c *degrade.Controller, feature string, level degrade.Level) time.Duration {
	t.Helper()
	begin := time.Now()
	reached := make(chan struct{}, 100)
	cancel := c.Subscribe(func(e degrade.Event) {
		if e.Kind == degrade.EventLevel && e.Name == feature && e.To == level.String() {
			reached <- struct{}{}
		}
	})
	defer cancel()
	for _, f := range c.Status().Features {
		if f.Name == feature && f.Level == level {
			return time.Since(begin)
		}
	}
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s has not reached %v: %+v", feature, level, c.Status())
	}
	return time.Since(begin)
}

func runController(t *testing.T, cfg degrade.Config) (*degrade.Controller, *degrade.Feature) {
	t.Helper()
	c, err := degrade.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := c.Feature("checkout", degrade.FeatureConfig{})
	c.Feature("search", degrade.FeatureConfig{})
	c.Feature("history", degrade.FeatureConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return c, f
}

// TestFleetFollowsAnnouncements: with a poll an hour apart, only pub/sub can be why both instances follow.
func TestFleetFollowsAnnouncements(t *testing.T) {
	eachRedis(t, func(t *testing.T, addr, key string) {
		flags := open(t, addr, key)
		if err := flags.Publish(t.Context(), limited); err != nil {
			t.Fatal(err)
		}
		var fleet [2]*degrade.Controller
		for i := range fleet {
			own := open(t, addr, key)
			fleet[i], _ = runController(t, degrade.Config{Provider: own, Overrides: own, RefreshEvery: time.Hour, Hold: degrade.NoWait})
			await(t, fleet[i], "checkout", degrade.Limited)
		}
		// A watch hints when its subscription stands, so nothing published from now on is missed for good.
		for _, c := range fleet {
			awaitWatch(t, flags, c)
		}
		id, err := fleet[0].Override(t.Context(), degrade.Override{
			Feature: "search", Level: degrade.ReadOnly, Scope: degrade.ScopeFleet, TTL: time.Hour, Reason: "test", By: "ana",
		})
		if err != nil {
			t.Fatal(err)
		}
		await(t, fleet[1], "search", degrade.ReadOnly)
		if err := fleet[1].Clear(t.Context(), id, degrade.Request{Reason: "over", By: "ben"}); err != nil {
			t.Fatal(err)
		}
		await(t, fleet[0], "search", degrade.Normal)
	})
}

// awaitWatch publishes until c has heard of it.
func awaitWatch(t *testing.T, flags *Flags, c *degrade.Controller) {
	t.Helper()
	for i := range 100 {
		set := limited
		set.Version = fmt.Sprintf("watch %p %d", c, i)
		if err := flags.Publish(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		heard := make(chan struct{}, 1000)
		cancel := c.Subscribe(func(e degrade.Event) {
			if e.Kind == degrade.EventFlags && strings.HasPrefix(e.To, "watch") {
				heard <- struct{}{}
			}
		})
		select {
		case <-heard:
			cancel()
			return
		case <-time.After(200 * time.Millisecond):
			cancel()
		}
	}
	t.Fatal("no announcement arrived")
}

// TestUnreachableRedis freezes and kills a private server: levels stay, staleness shows, and all is well again afterwards.
func TestUnreachableRedis(t *testing.T) {
	server := servertest.Start(t, servertest.Redis)
	own := open(t, server.Addr(), t.Name())
	if err := own.Publish(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	c, f := runController(t, degrade.Config{Provider: own, Overrides: own, RefreshEvery: 100 * time.Millisecond, RefreshTimeout: 200 * time.Millisecond, Hold: degrade.NoWait})
	await(t, c, "checkout", degrade.Limited)
	rejected := func() {
		t.Helper()
		said := make(chan struct{}, 100)
		cancel := c.Subscribe(func(e degrade.Event) {
			if e.Kind == degrade.EventFlagsRejected {
				said <- struct{}{}
			}
		})
		defer cancel()
		for c.Status().Flags.Error == "" {
			select {
			case <-said:
			case <-time.After(20 * time.Second):
				t.Fatal("an unreachable Redis is not reported")
			}
		}
		if got := f.Level(); got != degrade.Limited {
			t.Errorf("level = %v while Redis is unreachable, want what it was", got)
		}
	}
	server.Freeze()
	rejected()
	override := degrade.Override{Feature: "search", Level: degrade.ReadOnly, Scope: degrade.ScopeFleet, TTL: time.Hour, Reason: "test", By: "ana"}
	if _, err := c.Override(t.Context(), override); err == nil {
		t.Error("an override of the fleet was accepted while Redis is frozen")
	}
	server.Resume()
	set := degrade.FlagSet{Version: "2", Levels: map[string]degrade.Level{"checkout": degrade.ReadOnly}}
	if err := own.Publish(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	await(t, c, "checkout", degrade.ReadOnly)
}

func TestNewRefusals(t *testing.T) {
	if _, err := New(nil, Config{}); err == nil {
		t.Error("a nil client was accepted")
	}
	for _, client := range []redis.UniversalClient{
		redis.NewClient(&redis.Options{}), redis.NewClusterClient(&redis.ClusterOptions{}), redis.NewRing(&redis.RingOptions{}),
	} {
		if _, err := New(client, Config{}); err == nil || !strings.Contains(err.Error(), "ContextTimeoutEnabled") {
			t.Errorf("New = %v, want an error that names ContextTimeoutEnabled", err)
		}
		client.Close()
	}
}

func TestWatchOfAnUnreachableServerEnds(t *testing.T) {
	f := open(t, "127.0.0.1:1", "x")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := f.Watch(ctx, func() {}); err == nil {
		t.Error("Watch = nil, want an error")
	}
}

// TestWatchOfAFrozenServerEnds: one that accepts a subscription and never confirms it.
func TestWatchOfAFrozenServerEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	subscribed := make(chan struct{}, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerAllBut("subscribe", conn, subscribed)
		}
	}()
	f := open(t, listener.Addr().String(), "x")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Watch(ctx, func() { t.Error("a hint without a subscription") })
	}()
	<-subscribed
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Watch did not end with its context")
	}
}

// answerAllBut refuses every command on conn but one, which it leaves without an answer and announces.
func answerAllBut(silent string, conn net.Conn, heard chan<- struct{}) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		n, _ := strconv.Atoi(strings.TrimPrefix(lines.Text(), "*"))
		name := ""
		for i := range n { // each a length and a value
			lines.Scan()
			lines.Scan()
			if i == 0 {
				name = strings.ToLower(lines.Text())
			}
		}
		if name == silent {
			heard <- struct{}{}
			continue
		}
		if _, err := conn.Write([]byte("-ERR unknown command\r\n")); err != nil {
			return
		}
	}
}
