package drtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func get(ctx context.Context, c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 400 {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func fidelities(t *testing.T, f func(t *testing.T, fidelity drtest.Fidelity)) {
	t.Run("bytes", func(t *testing.T) { f(t, drtest.FidelityBytes) })
	t.Run("messages", func(t *testing.T) { f(t, drtest.FidelityMessages) })
}

func TestServe(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			east, users := w.Region("us-east-1"), w.Region("users")
			w.Link(users, east, simnet.Shape{Latency: 20 * time.Millisecond})
			east.Serve("api.east", http.HandlerFunc(hello))
			client := users.HTTPClient()
			if body, err := get(t.Context(), client, "http://api.east/"); body != "hello" || err != nil {
				t.Fatalf("Get = %q, %v", body, err)
			}
			start := time.Now()
			if _, err := get(t.Context(), client, "http://api.east/"); err != nil || time.Since(start).Round(time.Microsecond) != 40*time.Millisecond {
				t.Errorf("warm Get = %v after %v, want 40ms", err, time.Since(start))
			}
			if _, err := get(t.Context(), client, "http://nowhere/"); err == nil {
				t.Error("Get from an unknown host succeeded")
			}
			if got := time.Now().Year(); got != 2026 {
				t.Errorf("the World is in %d", got)
			}
		})
	})
}

func TestServeTLSExpires(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east := w.Region("us-east-1")
		east.ServeTLS("api.east", http.HandlerFunc(hello), time.Now(), time.Now().Add(time.Hour))
		if _, err := get(t.Context(), east.HTTPClient(), "https://api.east/"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := get(t.Context(), east.HTTPClient(), "https://api.east/"); err == nil {
			t.Error("Get with an expired certificate succeeded")
		}
	})
}

func TestResolver(t *testing.T) {
	for range 2 {
		drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
			w.Region("us-east-1").Serve("api.east", http.HandlerFunc(hello))
			addrs, err := w.Region("users").Resolver().LookupHost(t.Context(), "api.east")
			if len(addrs) != 1 || err != nil {
				t.Errorf("LookupHost = %v, %v", addrs, err)
			}
		})
	}
}

// A client that gives up returns at once; its handler goes on, and hears of it.
func TestClientLeavesASlowHandler(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			left := make(chan error, 1)
			w.Region("us-east-1").Serve("api.east", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				time.Sleep(5 * time.Second)
				left <- r.Context().Err()
			}))
			client := w.Region("users").HTTPClient()
			client.Timeout = time.Second
			start := time.Now()
			if _, err := get(t.Context(), client, "http://api.east/"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get = %v", err)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("Get took %v", took)
			}
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("the context of the handler: %v", err)
			}
		})
	})
}

// A handler that panics breaks its response and nothing else.
func TestHandlerPanics(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			w.Region("us-east-1").Serve("api.east", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
			if _, err := get(t.Context(), w.Region("users").HTTPClient(), "http://api.east/"); err == nil {
				t.Error("Get succeeded")
			}
		})
	})
}

func TestStreamsFollowTheSeed(t *testing.T) {
	draw := func(seed uint64, name string) (n uint64) {
		drtest.Run(t, drtest.Config{Seed: seed}, func(_ *testing.T, w *drtest.World) { n = w.Stream(name).Uint64() })
		return n
	}
	if a := draw(1, "x"); a != draw(1, "x") || a == draw(2, "x") || a == draw(1, "y") {
		t.Error("a stream is not fixed by seed and name")
	}
}

// The watchdog knows who waits too long by the frames of its goroutine: nothing else that a World starts looks like it.
func TestTheWatchdogKnowsTheFunctionOfItsWorld(t *testing.T) {
	run := func(t testing.TB, w *drtest.World) {
		w.Region("east").Go("process", func(ctx context.Context) error { <-ctx.Done(); return nil })
		w.Load(drtest.Load{Name: "endless", Clients: 5, Rate: drtest.Constant(2), Do: func(context.Context, *drtest.Op) error { return nil }})
		time.Sleep(time.Minute)
		if !drtest.KnowsItsFunction() {
			t.Error("it takes another goroutine for the function of the World")
		}
	}
	t.Run("Run", func(t *testing.T) {
		drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) { run(t, w) })
	})
	t.Run("Explore", func(t *testing.T) {
		drtest.Explore(t, drtest.ExploreConfig{Seeds: 1, Safety: time.Minute}, run)
	})
}
