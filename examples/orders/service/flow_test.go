package service_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// ready waits until the first writer serves.
func ready(t *testing.T, f *embedded.Fleet) {
	t.Helper()
	for range 120 {
		if f.Writer() != nil {
			time.Sleep(5 * time.Second) // until every instance has seen it
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("no writer after 2 min: %+v", f.Sites[embedded.East].Services()[0].Controller.Status())
}

// A user is one customer of the service.
type user struct {
	t    *testing.T
	http *http.Client
	name string
}

func newUser(t *testing.T, f *embedded.Fleet, name string) *user {
	return &user{t, &http.Client{Transport: f.Users()}, name}
}

// do sends a request and returns status, header and body.
func (u *user) do(ctx context.Context, method, path, key, body string) (int, http.Header, string) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://orders.example"+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+u.name)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return resp.StatusCode, resp.Header, string(answer)
}

const anvil = `{"sku":"anvil","quantity":1,"email":"ann@example.com"}`

func order(t *testing.T, body string) (o service.Order) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return o
}

func TestAnOrder(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
		ready(t, f)
		ann, ctx := newUser(t, f, "ann"), t.Context()

		status, header, body := ann.do(ctx, "POST", "/orders", "key-1", anvil)
		if status != http.StatusCreated {
			t.Fatalf("POST /orders = %d %s", status, body)
		}
		placed := order(t, body)
		if placed.Status != service.StatusPaid || header.Get("Location") != "/orders/"+placed.ID {
			t.Errorf("order = %+v at %q, want it paid", placed, header.Get("Location"))
		}
		if status, header, again := ann.do(ctx, "POST", "/orders", "key-1", anvil); status != http.StatusCreated || again != body || header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("repetition = %d %s, want the same answer", status, again)
		}
		if status, _, body := ann.do(ctx, "GET", "/orders/"+placed.ID, "", ""); status != http.StatusOK || order(t, body).ID != placed.ID {
			t.Errorf("GET = %d %s", status, body)
		}
		if status, _, body := newUser(t, f, "bob").do(ctx, "GET", "/orders/"+placed.ID, "", ""); status != http.StatusNotFound {
			t.Errorf("GET by another customer = %d %s, want 404", status, body)
		}
		if status, _, body := ann.do(ctx, "GET", "/orders", "", ""); status != http.StatusOK || !strings.Contains(body, placed.ID) {
			t.Errorf("GET /orders = %d %s", status, body)
		}
		if status, _, body := ann.do(ctx, "GET", "/stock/anvil", "", ""); status != http.StatusOK || !strings.Contains(body, `"quantity":1000`) {
			t.Errorf("GET /stock/anvil = %d %s", status, body)
		}
		time.Sleep(3 * time.Minute)
		if got := order(t, second(ann.do(ctx, "GET", "/orders/"+placed.ID, "", ""))); !got.Settled {
			t.Errorf("after 3 min = %+v, want it settled", got)
		}
		if sent := f.Relays.Sent()[placed.ID]; sent != 1 {
			t.Errorf("%d mails sent, want 1", sent)
		}
		if charges := f.Payments.Charges()[placed.ID]; charges != 1 {
			t.Errorf("charged %d times, want once", charges)
		}
		for _, path := range []string{"/status", "/metrics", "/active", "/readyz", "/livez"} {
			if status, _, body := ann.do(ctx, "GET", path, "", ""); status >= 300 {
				t.Errorf("GET %s = %d %s", path, status, body)
			}
		}
	})
}

func second(_ int, _ http.Header, body string) string { return body }
