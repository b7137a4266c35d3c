package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func newClient(t testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, PoolSize: 32})
	t.Cleanup(func() { c.Close() })
	return c
}

func newStore(t testing.TB, client redis.Scripter, c redisstore.Config) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(client, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The server's clock is hours off the clients': a store that used theirs would fail every row about leases.
func TestMiniredisWithASkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Hour, 7 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Subject {
				m := miniredis.RunT(t)
				now := time.Now().Add(skew)
				m.SetTime(now)
				m.ClockTTL(true) // one clock: a history may not see the time move and the keys not yet
				return storetest.Subject{
					Store: newStore(t, newClient(t, m.Addr()), redisstore.Config{}), Lose: m.FlushAll,
					Advance: func(d time.Duration) {
						now = now.Add(d)
						m.SetTime(now)
					},
				}
			})
		})
	}
}

func TestRedis(t *testing.T) {
	server := servertest.Start(t, servertest.Redis)
	client := newClient(t, server.Addr())
	pipelined, err := client.AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	for name, scripter := range map[string]redis.Scripter{"client": client, "auto-pipelined": pipelined} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Subject {
				return storetest.Subject{
					Store: newStore(t, scripter, redisstore.Config{Prefix: t.Name() + ":"}),
					Lose:  func() { client.FlushAll(t.Context()) },
				}
			})
		})
	}
}

// trips counts round trips.
type trips struct{ n atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			c.n.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestTrips(t *testing.T) {
	m := miniredis.RunT(t)
	client := newClient(t, m.Addr())
	count := &trips{}
	client.AddHook(count)
	g := newGuard(t, newStore(t, client, redisstore.Config{}), idempotency.Config{})
	do := func(id string) {
		t.Helper()
		if _, err := idempotency.Do(t.Context(), g, idempotency.Key{ID: id}, func(context.Context) (int, error) { return 1, nil }); err != nil {
			t.Fatal(err)
		}
	}
	do("warm up") // loads the scripts
	for _, step := range []struct {
		name string
		want int64
		do   func()
	}{
		{"a first call", 2, func() { do("a") }},
		{"a replay", 1, func() { do("a") }},
		{"a released call", 2, func() {
			_ = g.Once(t.Context(), "released", func(context.Context) error { return errors.New("failed") })
		}},
		{"a first call after SCRIPT FLUSH", 4, func() { client.ScriptFlush(t.Context()); do("b") }},
	} {
		before := count.n.Load()
		step.do()
		if step.name == "a released call" {
			before++ // release.lua was not loaded yet
		}
		if got := count.n.Load() - before; got != step.want {
			t.Errorf("%s takes %d trips, want %d", step.name, got, step.want)
		}
	}
}

func newGuard(t testing.TB, s idempotency.Store, c idempotency.Config) *idempotency.Guard {
	t.Helper()
	g, err := idempotency.New(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A cutter is a proxy that loses the replies of scripts it is told to.
type cutter struct {
	net.Listener
	target string
	cut    atomic.Int32 // how many replies are still to be lost
	lost   atomic.Int32
}

func newCutter(t *testing.T, target string) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, target: target}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return c
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	var script atomic.Bool
	go func() {
		defer server.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(strings.ToLower(string(buf[:n])), "evalsha") {
				script.Store(true)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if script.Load() && c.cut.Add(-1) >= 0 {
			c.lost.Add(1)
			return // the step was taken, its reply is lost, the connection breaks
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestALostReplyIsNoConflict(t *testing.T) {
	m := miniredis.RunT(t)
	proxy := newCutter(t, m.Addr())
	direct := newStore(t, newClient(t, m.Addr()), redisstore.Config{})
	warm := newGuard(t, direct, idempotency.Config{})
	for _, err := range []error{nil, errors.New("failed")} { // loads every script
		_ = warm.Once(t.Context(), "warm up", func(context.Context) error { return err })
		_ = warm.Once(t.Context(), "warm up, failing", func(context.Context) error { return errors.New("failed") })
	}
	g := newGuard(t, newStore(t, newClient(t, proxy.Addr().String()), redisstore.Config{}), idempotency.Config{})
	for i := range 20 {
		runs := 0
		proxy.cut.Store(int32(1 + i%2))
		v, info, err := idempotency.DoInfo(t.Context(), g, idempotency.Key{ID: fmt.Sprint(i)}, func(context.Context) (int, error) {
			runs++
			proxy.cut.Store(1)
			return i, nil
		})
		if v != i || err != nil || runs != 1 || !info.Stored || info.Fenced || info.Attempt != 1 {
			t.Fatalf("call %d with lost replies = %d, %+v, %v after %d runs", i, v, info, err, runs)
		}
	}
	if n := proxy.lost.Load(); n < 40 {
		t.Errorf("%d replies were lost, want at least 40", n)
	}
}

func TestForeignAndDamagedKeys(t *testing.T) {
	m := miniredis.RunT(t)
	client := newClient(t, m.Addr())
	g := newGuard(t, newStore(t, client, redisstore.Config{Prefix: "p:"}), idempotency.Config{OnOutage: idempotency.OutageFailOpen})
	recordKey := func(id string) string {
		t.Helper()
		before := m.Keys()
		_ = g.Once(t.Context(), id, func(context.Context) error { return nil })
		for _, k := range m.Keys() {
			if !strings.Contains(strings.Join(before, "\n"), k) {
				return k
			}
		}
		t.Fatal("no record")
		return ""
	}
	// edit overwrites a part of a record and, with a length, cuts it.
	edit := func(k string, at int, with string) func(length int) {
		return func(length int) {
			text, err := m.Get(k)
			if err != nil {
				t.Fatal(err)
			}
			text = text[:at] + with + text[at+len(with):]
			if length > 0 {
				text = text[:length]
			}
			_ = m.Set(k, text)
			m.SetTTL(k, time.Hour)
		}
	}
	for name, damage := range map[string]func(k string){
		"a string":          func(k string) { _ = m.Set(k, "x") },
		"a long string":     func(k string) { _ = m.Set(k, strings.Repeat("x", 500)) },
		"a hash":            func(k string) { m.Del(k); m.HSet(k, "name", "x") },
		"no expiry":         func(k string) { client.Persist(t.Context(), k) },
		"a garbage lease":   func(k string) { edit(k, 94, "never")(0) },
		"a list":            func(k string) { m.Del(k); _, _ = m.Push(k, "x") },
		"cut short":         func(k string) { edit(k, 0, "")(128) },
		"an unknown state":  func(k string) { edit(k, 3, "z")(0) },
		"an unknown prior":  func(k string) { edit(k, 4, "z")(0) },
		"a garbage epoch":   func(k string) { edit(k, 54, "zzzz")(0) },
		"a garbage fence":   func(k string) { edit(k, 70, "many")(0) },
		"a garbage attempt": func(k string) { edit(k, 86, "never")(0) },
		"a garbage length":  func(k string) { edit(k, 120, "000009999")(0) },
		"a garbage result":  func(k string) { edit(k, 131, "zz")(0) },
		"no result":         func(k string) { edit(k, 0, "")(129) },
	} {
		t.Run(name, func(t *testing.T) {
			k := recordKey(name)
			damage(k)
			before := m.Dump()
			err := g.Once(t.Context(), name, func(context.Context) error { t.Error("the function ran"); return nil })
			e, ok := errors.AsType[*idempotency.Error](err)
			if !ok || !errors.Is(err, idempotency.ErrCorrupt) || !e.NotRun() {
				t.Errorf("Once = %v, want ErrCorrupt, not run", err)
			}
			if m.Dump() != before {
				t.Errorf("the key was changed:\n%s\nwas\n%s", m.Dump(), before)
			}
		})
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	if _, err := redisstore.New(nil, redisstore.Config{}); err == nil {
		t.Error("New without a client")
	}
	if _, err := redisstore.New(redis.NewClient(&redis.Options{}), redisstore.Config{Prefix: "{a}"}); err == nil || !strings.Contains(err.Error(), "Config.Prefix") {
		t.Errorf("New with braces = %v", err)
	}
}

func TestWaitersOfManyProcesses(t *testing.T) {
	m := miniredis.RunT(t)
	var guards []*idempotency.Guard
	for range 4 {
		guards = append(guards, newGuard(t, newStore(t, newClient(t, m.Addr()), redisstore.Config{}), idempotency.Config{Wait: idempotency.Unlimited}))
	}
	var runs atomic.Int32
	var wg sync.WaitGroup
	release := make(chan struct{})
	started := make(chan struct{}, 40)
	for i := range 40 {
		wg.Go(func() {
			started <- struct{}{}
			v, err := idempotency.Do(t.Context(), guards[i%4], idempotency.Key{ID: "a"}, func(context.Context) (int32, error) {
				<-release
				return runs.Add(1), nil
			})
			if v != 1 || err != nil {
				t.Errorf("Do = %d, %v, want 1", v, err)
			}
		})
	}
	for range 40 {
		<-started
	}
	close(release)
	wg.Wait()
	if runs.Load() != 1 {
		t.Errorf("%d runs, want 1", runs.Load())
	}
}
