package real_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func TestFromEnvNamesWhatIsWrong(t *testing.T) {
	full := map[string]string{}
	for _, r := range []string{"US_EAST_1", "US_WEST_2"} {
		full["ORDERS_"+r+"_SQL"], full["ORDERS_"+r+"_REDIS"] = "postgres://h/db", "h:1"
		full["ORDERS_"+r+"_SQS"], full["ORDERS_"+r+"_URL"] = "http://h", "http://h"
	}
	full["ORDERS_PAYMENTS"], full["ORDERS_MAIL"] = "http://h", "http://h"
	if _, err := real.FromEnv(real.East, "d", func(n string) string { return full[n] }); err != nil {
		t.Fatal(err)
	}
	for name := range full {
		_, err := real.FromEnv(real.East, "d", func(n string) string {
			if n == name {
				return ""
			}
			return full[n]
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := real.FromEnv("mars-1", "d", func(n string) string { return full[n] }); err == nil {
		t.Error("a Region that is none is taken")
	}
}

const anvil = `{"sku":"anvil","quantity":1,"email":"ann@example.com"}`

// Processes are started in an outage too: by whoever replaces those that died in it.
func TestOpenWhileNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody says a word
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := real.Endpoints{SQL: "postgres://orders@" + l.Addr().String() + "/orders", Redis: l.Addr().String(), SQS: "http://" + l.Addr().String(), URL: "http://" + l.Addr().String()}
	_, release, err := real.Open(t.Context(), real.Config{
		Self: real.West, Dir: t.TempDir(), Regions: map[string]real.Endpoints{real.East: silent, real.West: silent}, Payments: silent.URL, Mail: silent.URL,
	}, service.Settings{}, nil)
	if err != nil {
		t.Fatalf("Open = %v, want none", err)
	}
	release()
}

// A database that obeys another coordinator would refuse every write, so nothing is started.
func TestADatabaseOfAnotherCoordinator(t *testing.T) {
	config, _ := surroundings(t)
	listen(t, &config, real.East)
	listen(t, &config, real.West)
	config.Self = real.East
	open := func() error {
		_, release, err := real.Open(t.Context(), config, service.Settings{}, nil)
		if err == nil {
			release()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatalf("first: %v", err)
	}
	db, err := sql.Open("pgx", config.Regions[real.East].SQL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := failoversql.PostgreSQL().Raise(t.Context(), db, failover.Fence{Epoch: 7, DecisionID: "other"}); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, real.ErrOtherCoordinator) || !strings.Contains(err.Error(), "0000000000000007") {
		t.Errorf("a database that knows epoch 7 and a coordinator that knows none: %v", err)
	}
}

// Both Regions on real servers: an order is placed in the writer Region, found in the other, replayed, charged once and settled.
func TestAnOrderOnRealServers(t *testing.T) {
	config, outside := surroundings(t)
	atEast, atWest := listen(t, &config, real.East), listen(t, &config, real.West)
	east := start(t, config, real.East, atEast)
	start(t, config, real.West, atWest)
	awaitWriter(t, east)
	key := idempotency.NewID()
	id := awaitOrder(t, config.Regions[real.West].URL, key) // forwarded
	if status, body := send(t, "POST", config.Regions[real.East].URL+"/orders", key, anvil); status != http.StatusCreated || !bytes.Contains(body, []byte(id)) {
		t.Errorf("repetition = %d %s", status, body)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, body := send(t, "GET", config.Regions[real.West].URL+"/orders/"+id, "", "")
		var o service.Order
		if json.Unmarshal(body, &o) == nil && o.Settled && o.Status == service.StatusPaid && outside.mails.Load() == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not settled, or %d mails: %s", outside.mails.Load(), body)
		}
	}
	if n := outside.charges.Load(); n != 1 {
		t.Errorf("charged %d times, want once", n)
	}
}

// outside is payments and the mail relay.
type outside struct{ charges, mails atomic.Int32 }

// surroundings are the shared servers, with names of the test's own. Where the service itself is, [listen] says.
func surroundings(t *testing.T) (config real.Config, o *outside) {
	primary, standby := servertest.Env(t, servertest.PostgresPrimary), servertest.Env(t, servertest.PostgresStandby)
	name := database(t, primary)
	config = real.Config{Name: name, Dir: t.TempDir(), Regions: map[string]real.Endpoints{
		real.East: {SQL: within(t, primary, name), Redis: servertest.Env(t, servertest.RedisA), SQS: servertest.Env(t, servertest.SQSA)},
		real.West: {SQL: within(t, standby, name), Redis: servertest.Env(t, servertest.RedisB), SQS: servertest.Env(t, servertest.SQSB)},
	}}
	o = &outside{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/charges" {
			o.charges.Add(1)
			w.WriteHeader(http.StatusCreated)
			return
		}
		o.mails.Add(1)
	}))
	t.Cleanup(server.Close)
	config.Payments, config.Mail = server.URL, server.URL+"/send"
	return config, o
}

// database makes one for the test alone: a database obeys the coordinator that it has met first.
func database(t *testing.T, server string) (name string) {
	t.Helper()
	name = "orders_" + strings.ToLower(rand.Text())
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `create database `+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer db.Close()
		if _, err := db.Exec(`drop database ` + name + ` with (force)`); err != nil {
			t.Error(err)
		}
	})
	return name
}

// within is the address of a database of a server.
func within(t *testing.T, server, database string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

// listen opens the address of the service in a Region and writes it into config.
func listen(t *testing.T, config *real.Config, region string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := config.Regions[region]
	at.URL = "http://" + l.Addr().String()
	config.Regions[region] = at
	return l
}

func awaitWriter(t *testing.T, svc *service.Service) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, ok := svc.Controller.Ready(); ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no writer: %+v", svc.Controller.Status())
		}
	}
}

// awaitOrder places an order once the levels have followed, and returns its ID.
func awaitOrder(t *testing.T, url, key string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		status, body := send(t, "POST", url+"/orders", key, anvil)
		if status == http.StatusCreated {
			var o service.Order
			if err := json.Unmarshal(body, &o); err != nil {
				t.Fatal(err)
			}
			return o.ID
		}
		if time.Now().After(deadline) {
			t.Fatalf("POST = %d %s", status, body)
		}
	}
}

// start runs a process of a Region until the test ends.
func start(t *testing.T, config real.Config, region string, l net.Listener) *service.Service {
	t.Helper()
	return startWith(t, config, region, l, func(h http.Handler) http.Handler { return h })
}

// startWith is start with something around the handler.
func startWith(t *testing.T, config real.Config, region string, l net.Listener, around func(http.Handler) http.Handler) *service.Service {
	t.Helper()
	config.Self = region
	set := service.Settings{LeaseTTL: 4 * time.Second, PollEvery: 200 * time.Millisecond, ProbeEvery: time.Second, SettleAfter: time.Second}
	parts, release, err := real.Open(t.Context(), config, set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	parts.Instance, parts.Audit = region, io.Discard
	parts.Listen = func(h http.Handler) service.HTTPServer { return listening{service.NewServer("", around(h)), l} }
	svc, err := service.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- svc.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%s ended: %v", region, err)
		}
		release()
	})
	return svc
}

// listening serves on a listener that is there.
type listening struct {
	*http.Server
	l net.Listener
}

func (s listening) ListenAndServe() error { return s.Serve(s.l) }

func send(t *testing.T, method, url, key, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ann")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}
