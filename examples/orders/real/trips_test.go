package real_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
)

// A meter counts what is sent to servers. What runs beside the request that is looked at (heartbeats, probes, workers) has another context.
type meter struct {
	mu   sync.Mutex // guards what
	what []string   // "<kind> <Region> <statement, commands or action>"
}

type counted struct{}

func (m *meter) note(ctx context.Context, kind string, region failover.Region, text string) {
	if ctx.Value(counted{}) == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.what = append(m.what, kind+" "+region+" "+strings.Join(strings.Fields(text), " "))
}

// all marks the context of every request that is served.
func (m *meter) all(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), counted{}, true)))
	})
}

func (m *meter) watch() real.Watch {
	return real.Watch{
		SQL:   func(r failover.Region) pgx.QueryTracer { return sqlMeter{m, r} },
		Redis: func(r failover.Region) redis.Hook { return redisMeter{m, r} },
		SQS: func(r failover.Region, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if target := req.Header.Get("X-Amz-Target"); strings.Contains(target, "SendMessage") { // by a goroutine that sends for many
					m.note(context.WithValue(req.Context(), counted{}, true), "sqs", r, target)
				}
				return next.RoundTrip(req)
			})
		},
	}
}

type sqlMeter struct {
	*meter
	region failover.Region
}

func (m sqlMeter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	m.note(ctx, "sql", m.region, q.SQL)
	return ctx
}
func (sqlMeter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TracePrepareStart counts a statement's first use on a connection.
func (m sqlMeter) TracePrepareStart(ctx context.Context, _ *pgx.Conn, p pgx.TracePrepareStartData) context.Context {
	m.note(ctx, "sql", m.region, "prepare "+p.SQL)
	return ctx
}
func (sqlMeter) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

type redisMeter struct {
	*meter
	region failover.Region
}

func (m redisMeter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (m redisMeter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		m.note(ctx, "redis", m.region, cmd.Name())
		return next(ctx, cmd)
	}
}

func (m redisMeter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		m.note(ctx, "redis", m.region, fmt.Sprintf("%d in one", len(cmds)))
		return next(ctx, cmds)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// take returns what was noted since the last time, once it has been quiet for a while: copies of keys and batches of calls go out beside the answer.
func (m *meter) take() (what []string) {
	for quiet := 0; quiet < 6; quiet++ {
		time.Sleep(50 * time.Millisecond)
		m.mu.Lock()
		if len(m.what) > 0 {
			quiet = 0
		}
		what, m.what = append(what, m.what...), nil
		m.mu.Unlock()
	}
	return what
}

// row is what was noted as a row of the table in docs/orders.md: statements to PostgreSQL, round trips to Redis, and SQS requests that send, in the writer
// Region and in the other.
func row(name string, what []string) string {
	n := map[string]int{}
	for _, w := range what {
		kind, rest, _ := strings.Cut(w, " ")
		region, _, _ := strings.Cut(rest, " ")
		n[kind+" "+region]++
	}
	text := "| " + name + " |"
	for _, kind := range []string{"sql", "redis", "sqs"} {
		text += fmt.Sprintf(" %d + %d |", n[kind+" "+real.East], n[kind+" "+real.West])
	}
	return text
}

// The numbers of docs/orders.md. The least of several requests is what one costs when statements are prepared and sessions hold the fence.
func TestRoundTrips(t *testing.T) {
	m := &meter{}
	config, _ := surroundings(t)
	config.Watch = m.watch()
	l := map[failover.Region]net.Listener{}
	for _, r := range []failover.Region{real.East, real.West} {
		l[r] = listen(t, &config, r)
	}
	east := startWith(t, config, real.East, l[real.East], m.all)
	start(t, config, real.West, l[real.West])
	awaitWriter(t, east)
	url := config.Regions[real.East].URL
	table, err := os.ReadFile("../../../docs/orders.md")
	if err != nil {
		t.Fatal(err)
	}
	key := idempotency.NewID()
	id := awaitOrder(t, url, key)
	for _, request := range []struct {
		name, want string
		send       func() (int, []byte)
	}{
		{"POST /orders", "| POST /orders | 8 + 0 | 6 + 4 | 2 + 0 |", func() (int, []byte) { return send(t, "POST", url+"/orders", idempotency.NewID(), anvil) }},
		{"its replay", "| its replay | 0 + 0 | 1 + 0 | 0 + 0 |", func() (int, []byte) { return send(t, "POST", url+"/orders", key, anvil) }},
		{"GET /orders/{id}", "| GET /orders/{id} | 1 + 0 | 0 + 0 | 0 + 0 |", func() (int, []byte) { return send(t, "GET", url+"/orders/"+id, "", "") }},
	} {
		what := m.least(t, request.send)
		if got := row(request.name, what); got != request.want {
			t.Errorf("%s, want %s:\n%s", got, request.want, strings.Join(what, "\n"))
		}
		if !strings.Contains(string(table), request.want) {
			t.Errorf("docs/orders.md has no row %s", request.want)
		}
	}
}

// least sends a request several times and returns what the cheapest took.
func (m *meter) least(t *testing.T, send func() (int, []byte)) (least []string) {
	t.Helper()
	m.take()
	for range 6 {
		if status, body := send(); status >= 300 {
			t.Fatalf("%d %s", status, body)
		}
		if what := m.take(); least == nil || len(what) < len(least) {
			least = what
		}
	}
	slices.Sort(least)
	return least
}
