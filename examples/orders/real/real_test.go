package real_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/examples/orders/service"
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

// Both Regions on real servers: an order is placed in the writer Region, found in the other, replayed, charged once and settled.
func TestAnOrderOnRealServers(t *testing.T) {
	config := real.Config{Dir: t.TempDir(), Regions: map[string]real.Endpoints{
		real.East: {SQL: servertest.Env(t, servertest.PostgresPrimary), Redis: servertest.Env(t, servertest.RedisA), SQS: servertest.Env(t, servertest.SQSA)},
		real.West: {SQL: servertest.Env(t, servertest.PostgresStandby), Redis: servertest.Env(t, servertest.RedisB), SQS: servertest.Env(t, servertest.SQSB)},
	}}
	var charges, mails atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/charges" {
			charges.Add(1)
			w.WriteHeader(http.StatusCreated)
			return
		}
		mails.Add(1)
	}))
	t.Cleanup(outside.Close)
	config.Payments, config.Mail = outside.URL, outside.URL+"/send"
	listeners := map[string]net.Listener{}
	for _, r := range []string{real.East, real.West} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[r] = l
		at := config.Regions[r]
		at.URL = "http://" + l.Addr().String()
		config.Regions[r] = at
	}
	east := start(t, config, real.East, listeners[real.East])
	start(t, config, real.West, listeners[real.West])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, ok := east.Controller.Ready(); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no writer: %+v", east.Controller.Status())
		}
	}
	key := idempotency.NewID()
	var placed service.Order
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) { // until the levels have followed
		status, body := send(t, "POST", config.Regions[real.West].URL+"/orders", key, `{"sku":"anvil","quantity":1,"email":"ann@example.com"}`) // forwarded
		if status == http.StatusCreated {
			if err := json.Unmarshal(body, &placed); err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("POST = %d %s", status, body)
		}
	}
	if status, body := send(t, "POST", config.Regions[real.East].URL+"/orders", key, `{"sku":"anvil","quantity":1,"email":"ann@example.com"}`); status != http.StatusCreated || !bytes.Contains(body, []byte(placed.ID)) {
		t.Errorf("repetition = %d %s", status, body)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, body := send(t, "GET", config.Regions[real.West].URL+"/orders/"+placed.ID, "", "")
		var o service.Order
		if json.Unmarshal(body, &o); o.Settled && o.Status == service.StatusPaid && mails.Load() == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not settled, or %d mails: %s", mails.Load(), body)
		}
	}
	if n := charges.Load(); n != 1 {
		t.Errorf("charged %d times, want once", n)
	}
}

// start runs a process of a Region until the test ends.
func start(t *testing.T, config real.Config, region string, l net.Listener) *service.Service {
	t.Helper()
	config.Self = region
	set := service.Settings{LeaseTTL: 4 * time.Second, PollEvery: 200 * time.Millisecond, ProbeEvery: time.Second, SettleAfter: time.Second}
	parts, release, err := real.Open(t.Context(), config, set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	parts.Instance, parts.Audit = region, io.Discard
	parts.Listen = func(h http.Handler) service.HTTPServer { return listening{service.NewServer("", h), l} }
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
