package service_test

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

func TestBadInput(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name, method, path, token, key, body string
		status                               int
		says                                 string
	}{
		{"a first use of a key", "POST", "/orders", "ann", "used", anvil, 201, ""},
		{"no key", "POST", "/orders", "ann", "", anvil, 400, "key_missing"},
		{"a key over 255 characters", "POST", "/orders", "ann", long, anvil, 400, "key_invalid"},
		{"a key that is not ASCII", "POST", "/orders", "ann", "schlüssel", anvil, 400, "key_invalid"},
		{"a key used with another body", "POST", "/orders", "ann", "used", strings.Replace(anvil, "1", "2", 1), 422, "mismatch"},
		{"nobody", "POST", "/orders", "", "k1", anvil, 401, "Who are you"},
		{"nobody, without a key", "POST", "/orders", "", "", anvil, 401, "Who are you"},
		{"a token over 64 characters, ordering", "POST", "/orders", long, "k1", anvil, 401, "at most 64"},
		{"nobody, reading", "GET", "/orders", "", "", "", 401, "Who are you"},
		{"a token over 64 characters", "GET", "/orders", long, "", "", 401, "at most 64"},
		{"malformed JSON", "POST", "/orders", "ann", "k2", `{"sku":`, 400, "not an order"},
		{"an empty body", "POST", "/orders", "ann", "k3", "", 400, "empty"},
		{"an unknown member", "POST", "/orders", "ann", "k4", `{"sku":"anvil","quantity":1,"email":"ann@example.com","cents":1}`, 400, "unknown field"},
		{"a wrong type", "POST", "/orders", "ann", "k5", `{"sku":"anvil","quantity":"one","email":"ann@example.com"}`, 400, "quantity"},
		{"a bracket too many", "POST", "/orders", "ann", "k12", anvil + "]", 400, "more than one"},
		{"two values", "POST", "/orders", "ann", "k6", anvil + anvil, 400, "more than one"},
		{"an unknown article", "POST", "/orders", "ann", "k7", `{"sku":"piano","quantity":1,"email":"ann@example.com"}`, 422, "sku"},
		{"too many", "POST", "/orders", "ann", "k8", `{"sku":"anvil","quantity":101,"email":"ann@example.com"}`, 422, "quantity"},
		{"no address", "POST", "/orders", "ann", "k9", `{"sku":"anvil","quantity":1,"email":"Ann <ann@example.com>"}`, 422, "email"},
		{"a huge body", "POST", "/orders", "ann", "k10", `{"sku":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too_large"},
		{"a declined payment", "POST", "/orders", "ann", "k11", `{"sku":"anvil","quantity":100,"email":"ann@example.com"}`, 402, "declined"},
		{"no such order", "GET", "/orders/o-1", "ann", "", "", 404, "no such order"},
		{"no such article", "GET", "/stock/piano", "ann", "", "", 404, "no such article"},
		{"what the world does not see", "GET", "/status/failover", "ann", "", "", 404, "nothing here"},
		{"no such path", "GET", "/nothing", "ann", "", "", 404, "nothing here"},
		{"a method too many", "DELETE", "/orders/o-1", "ann", "", "", 405, "method"},
		{"an admin who is none", "GET", "/admin/failover/", "ann", "", "", 403, ""},
		{"an admin who is none, of levels", "GET", "/admin/degrade/", "ann", "", "", 403, ""},
		{"a later epoch than anybody's", "GET", "/orders", "ann", "epoch:00ffffffffffffff", "", 503, ""},
		{"an epoch that is none", "GET", "/orders", "ann", "epoch:soon", "", 400, ""},
	}
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
		ready(t, f)
		handler := f.Sites[embedded.East].Services()[0].Handler()
		for _, tt := range tests {
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			if tt.token != "" {
				r.Header.Set("Authorization", "Bearer "+tt.token)
			}
			if epoch, ok := strings.CutPrefix(tt.key, "epoch:"); ok {
				r.Header.Set("Holdfast-Epoch", epoch)
			} else if tt.key != "" {
				r.Header.Set("Idempotency-Key", tt.key)
			}
			got := httptest.NewRecorder()
			handler.ServeHTTP(got, r)
			if got.Code != tt.status || !strings.Contains(got.Body.String(), tt.says) {
				t.Errorf("%s: %s %s = %d %.200s, want %d that says %q", tt.name, tt.method, tt.path, got.Code, got.Body, tt.status, tt.says)
			}
			if kind := got.Header().Get("Content-Type"); got.Code >= 400 && kind != "application/problem+json" {
				t.Errorf("%s: Content-Type = %q, want problem details", tt.name, kind)
			}
		}
		if status, _, body := newUser(t, f, "ann").do(t.Context(), "POST", "/orders", "after", anvil); status != 201 {
			t.Errorf("after all that an order = %d %s", status, body)
		}
	})
}

// A client that sends a byte now and then is cut off, and nobody else waits for it. In real time: net/http's time-outs are the kernel's business.
func TestSlowClientsAreCutOff(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := service.NewServer("", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if server.ReadHeaderTimeout == 0 || server.ReadTimeout == 0 || server.WriteTimeout == 0 || server.IdleTimeout == 0 {
		t.Errorf("server = %+v, want every time-out set", server)
	}
	server.ReadHeaderTimeout = 100 * time.Millisecond
	go server.Serve(l)
	t.Cleanup(func() { _ = server.Close() })
	slow, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := slow.Write([]byte("GET / HT")); err != nil {
		t.Fatal(err)
	}
	_ = slow.SetReadDeadline(time.Now().Add(30 * time.Second))
	if line, err := bufio.NewReader(slow).ReadString('\n'); err == nil && !strings.HasPrefix(line, "HTTP/1.1 4") {
		t.Errorf("a slow client got %q, want its connection closed, with or without a word", line)
	}
	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("a quick client beside it got %v, %v", resp, err)
	}
}
