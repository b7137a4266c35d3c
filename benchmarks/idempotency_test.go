package benchmarks

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	fiberidempotency "github.com/gofiber/fiber/v3/middleware/idempotency"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func memoryGuard() *idempotency.Guard {
	return must(idempotency.New(must(idempotency.NewMemory(idempotency.MemoryConfig{})), idempotency.Config{}))
}

func callKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "charge/" + idempotency.NewID()
	}
	return keys
}

// BenchmarkIdempotencyReplay asks for a call that is done. The floor is what any memory of calls pays: one look-up
// in a sync.Map and one reading of the clock.
func BenchmarkIdempotencyReplay(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		keys := callKeys(n)
		b.Run(fmt.Sprintf("floor/keys=%d", n), func(b *testing.B) {
			var m sync.Map
			for _, k := range keys {
				m.Store(k, 1)
			}
			start := time.Now()
			var sink time.Duration
			defer cpu(b)()
			i := 0
			for b.Loop() {
				m.Load(keys[i])
				sink += time.Since(start)
				if i++; i == n {
					i = 0
				}
			}
		})
		b.Run(fmt.Sprintf("holdfast-once/keys=%d", n), func(b *testing.B) {
			g, ctx := memoryGuard(), context.Background()
			for _, k := range keys {
				_ = g.Once(ctx, k, succeed)
			}
			b.ReportAllocs()
			defer cpu(b)()
			i := 0
			for b.Loop() {
				_ = g.Once(ctx, keys[i], succeed)
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

func BenchmarkIdempotencyReplayParallel(b *testing.B) {
	key := callKeys(1)[0]
	b.Run("floor", func(b *testing.B) {
		var m sync.Map
		m.Store(key, 1)
		start := time.Now()
		defer cpu(b)()
		b.RunParallel(func(pb *testing.PB) {
			var sink time.Duration
			for pb.Next() {
				m.Load(key)
				sink += time.Since(start)
			}
		})
	})
	b.Run("holdfast-once", func(b *testing.B) {
		g, ctx := memoryGuard(), context.Background()
		_ = g.Once(ctx, key, succeed)
		b.ReportAllocs()
		defer cpu(b)()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = g.Once(ctx, key, succeed)
			}
		})
	})
}

// BenchmarkIdempotencyFirst makes new calls: claim, lease, run, store.
func BenchmarkIdempotencyFirst(b *testing.B) {
	b.Run("floor-new-id", func(b *testing.B) {
		var m sync.Map
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			m.LoadOrStore(idempotency.NewID(), 1)
		}
	})
	b.Run("holdfast-once", func(b *testing.B) {
		g, ctx := memoryGuard(), context.Background()
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			_ = g.Once(ctx, idempotency.NewID(), succeed)
		}
	})
}

// A redisWay makes one new call, claimed and completed in Redis with a result of 512 bytes.
type redisWay struct {
	name string
	call func(ctx context.Context, key string) error
}

var redisResult = bytes.Repeat([]byte("x"), 512)

// redisWays returns the sequences in use, and ours. None of the naive ones is safe: an owner that is late
// overwrites or deletes a newer one's record.
func redisWays(b *testing.B, addr string) []redisWay {
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, PoolSize: 64})
	pipelined := must(client.AutoPipeline())
	if v := os.Getenv("CONC"); v != "" {
		k := must(strconv.Atoi(v))
		bs := must(strconv.Atoi(os.Getenv("BS")))
		pipelined = must(redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, PoolSize: 64, AutoPipelineOptions: &redis.AutoPipelineOptions{Unordered: k > 1, MaxConcurrentBatches: k, MaxBatchSize: bs}}).AutoPipeline())
	}
	b.Cleanup(func() { pipelined.Close(); client.Close() })
	getSetnxSet := func(c redis.Cmdable) func(context.Context, string) error {
		return func(ctx context.Context, key string) error {
			if err := c.Get(ctx, key).Err(); err != redis.Nil {
				return err
			}
			if err := c.SetNX(ctx, key, "claimed", 30*time.Second).Err(); err != nil {
				return err
			}
			return c.Set(ctx, key, redisResult, time.Minute).Err()
		}
	}
	setnxSet := func(c redis.Cmdable) func(context.Context, string) error {
		return func(ctx context.Context, key string) error {
			if err := c.SetNX(ctx, key, "claimed", 30*time.Second).Err(); err != nil {
				return err
			}
			return c.Set(ctx, key, redisResult, time.Minute).Err()
		}
	}
	guarded := func(c redis.Scripter) func(context.Context, string) error {
		g := must(idempotency.New(must(redisstore.New(c, redisstore.Config{})), idempotency.Config{Retention: time.Minute}))
		return func(ctx context.Context, key string) error {
			_, err := idempotency.Do(ctx, g, idempotency.Key{ID: key}, func(context.Context) ([]byte, error) { return redisResult, nil })
			return err
		}
	}
	return []redisWay{
		{"get-setnx-set", getSetnxSet(client)},
		{"setnx-set", setnxSet(client)},
		{"holdfast", guarded(client)},
		{"get-setnx-set-autopipelined", getSetnxSet(pipelined)},
		{"setnx-set-autopipelined", setnxSet(pipelined)},
		{"holdfast-autopipelined", guarded(pipelined)},
	}
}

// serverCPUTime is the CPU time in nanoseconds that the Redis server has used so far.
func serverCPUTime(client *redis.Client) (nanos float64) {
	for line := range strings.Lines(client.Info(context.Background(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			nanos += must(strconv.ParseFloat(value, 64)) * 1e9
		}
	}
	return nanos
}

// serverCPU reports the CPU time that the Redis server used per operation of b.
func serverCPU(b *testing.B, client *redis.Client) func() {
	start := serverCPUTime(client)
	return func() { b.ReportMetric((serverCPUTime(client)-start)/float64(b.N), "server-cpu-ns/op") }
}

// BenchmarkIdempotencyRedis has 64 callers make new calls over loopback. cpu-ns/op is the client's.
func BenchmarkIdempotencyRedis(b *testing.B) {
	server := servertest.Start(b, servertest.Redis)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	var n atomic.Int64
	for _, way := range redisWays(b, server.Addr()) {
		b.Run(way.name, func(b *testing.B) {
			b.SetParallelism(32) // 64 callers on two processors
			start := time.Now()
			defer func() { b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "calls/s") }()
			defer serverCPU(b, admin)()
			defer cpu(b)()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := way.call(context.Background(), fmt.Sprint("call ", n.Add(1))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

const (
	redisPairs   = 21
	redisCallers = 64
	redisCalls   = 10_000 // of each way in a pair
)

// A redisCost is what calls of one way took, in nanoseconds a call.
type redisCost struct{ wall, client, server float64 }

func measureRedis(b *testing.B, admin *redis.Client, way redisWay, n *atomic.Int64) redisCost {
	server, client, start := serverCPUTime(admin), cpuTime(), time.Now()
	var left atomic.Int64
	left.Store(redisCalls)
	var wg sync.WaitGroup
	for range redisCallers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := way.call(context.Background(), fmt.Sprint("pair ", n.Add(1))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return redisCost{
		wall: float64(time.Since(start)) / redisCalls, client: float64(cpuTime()-client) / redisCalls,
		server: (serverCPUTime(admin) - server) / redisCalls,
	}
}

// BenchmarkIdempotencyRedisPairs compares ours, auto-pipelined, with the naive sequence over a pool, in pairs taken in turns so that
// a busy machine is busy for both. Run it with -benchtime 1x. The ratio is of throughput: above 1, ours is faster.
func BenchmarkIdempotencyRedisPairs(b *testing.B) {
	server := servertest.Start(b, servertest.Redis)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	var naive, ours redisWay
	for _, way := range redisWays(b, server.Addr()) {
		switch way.name {
		case "get-setnx-set":
			naive = way
		case "holdfast-autopipelined":
			ours = way
		}
	}
	var n atomic.Int64
	for b.Loop() {
		measureRedis(b, admin, naive, &n) // warm up
		measureRedis(b, admin, ours, &n)
		var ratios, naiveClient, naiveServer, oursClient, oursServer []float64
		for i := range redisPairs {
			pair := [2]redisCost{}
			for j := range pair {
				way := (i + j) % 2 // each is first half of the time
				pair[way] = measureRedis(b, admin, []redisWay{naive, ours}[way], &n)
			}
			ratios = append(ratios, pair[0].wall/pair[1].wall)
			naiveClient, naiveServer = append(naiveClient, pair[0].client), append(naiveServer, pair[0].server)
			oursClient, oursServer = append(oursClient, pair[1].client), append(oursServer, pair[1].server)
			if err := admin.FlushAll(context.Background()).Err(); err != nil {
				b.Fatal(err)
			}
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[0], "min-ratio")
		b.ReportMetric(ratios[len(ratios)/2], "median-ratio")
		b.ReportMetric(ratios[len(ratios)-1], "max-ratio")
		b.ReportMetric(median(naiveClient), "naive-client-cpu-ns")
		b.ReportMetric(median(naiveServer), "naive-server-cpu-ns")
		b.ReportMetric(median(oursClient), "ours-client-cpu-ns")
		b.ReportMetric(median(oursServer), "ours-server-cpu-ns")
	}
}

// BenchmarkIdempotencyHTTP replays a stored response of 512 bytes. fiber stands on fasthttp, which is cheaper than net/http
// by itself: compare each with its own bare handler.
func BenchmarkIdempotencyHTTP(b *testing.B) {
	serve := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(redisResult) }
	netHTTP := func(h http.Handler) func(b *testing.B) {
		return func(b *testing.B) {
			r := httptest.NewRequest(http.MethodPost, "/orders", nil)
			r.Header.Set("Idempotency-Key", "0191d2a0-0000-7000-8000-000000000000")
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		}
	}
	protect := must(idempotencyhttp.Middleware(memoryGuard(), idempotencyhttp.Config{Scope: idempotencyhttp.GlobalScope}))
	b.Run("net-http-bare", netHTTP(http.HandlerFunc(serve)))
	b.Run("holdfast-replay", netHTTP(protect(http.HandlerFunc(serve))))

	onFiber := func(guard bool) func(b *testing.B) {
		return func(b *testing.B) {
			app := fiber.New()
			if guard {
				app.Use(fiberidempotency.New(fiberidempotency.Config{KeyHeader: "Idempotency-Key"}))
			}
			app.Post("/orders", func(c fiber.Ctx) error { return c.Send(redisResult) })
			h := app.Handler()
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				var ctx fasthttp.RequestCtx
				ctx.Request.Header.SetMethod(http.MethodPost)
				ctx.Request.SetRequestURI("/orders")
				ctx.Request.Header.Set("Idempotency-Key", "0191d2a0-0000-7000-8000-000000000000")
				h(&ctx)
			}
		}
	}
	b.Run("fiber-bare", onFiber(false))
	b.Run("fiber-replay", onFiber(true))
}
