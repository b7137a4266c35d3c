package drtest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

func TestAttachAndExpose(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "real") }))
	defer server.Close()
	target := strings.TrimPrefix(server.URL, "http://")
	w := newReal(t, drtest.Config{})
	east, users := w.Region("east"), w.Region("users")
	if err := east.Attach("api.east:80", target); err != nil {
		t.Fatal(err)
	}
	front, err := users.Expose("api.east:80")
	if err != nil {
		t.Fatal(err)
	}
	inside := users.HTTPClient()
	inside.Timeout = 5 * time.Second
	outside := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer outside.CloseIdleConnections()
	get := func(c *http.Client, url string) error {
		resp, err := c.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	for _, want := range []bool{true, false, true} {
		undo := func() {}
		if !want {
			if undo, err = w.Inject(fault.RegionDown("east", fault.ModeReset)); err != nil {
				t.Fatal(err)
			}
		}
		if err := get(inside, "http://api.east/"); (err == nil) != want {
			t.Errorf("in this process: %v, want success %v", err, want)
		}
		if err := get(outside, "http://"+front+"/"); (err == nil) != want {
			t.Errorf("from outside: %v, want success %v", err, want)
		}
		undo()
	}
	if _, err := w.Inject(fault.Gray("api.east", 1)); err == nil || !strings.Contains(err.Error(), "reverse proxy") {
		t.Errorf("Gray on an attached server: %v", err)
	}
	if got := w.Attached(); len(got) != 1 || got["api.east"] != target {
		t.Errorf("Attached = %v", got)
	}
}

func TestAttachRefuses(t *testing.T) {
	w := newReal(t, drtest.Config{})
	r := w.Region("east")
	for _, target := range []string{"192.0.2.1:80", "example.com:80", "[2001:db8::1]:80"} {
		if err := r.Attach("a:1", target); !errors.Is(err, drtest.ErrTarget) {
			t.Errorf("Attach to %s = %v, want ErrTarget", target, err)
		}
	}
	for _, target := range []string{"127.0.0.1", "", ":"} {
		if err := r.Attach("a:1", target); err == nil {
			t.Errorf("Attach to %q did not fail", target)
		}
	}
	listed := newReal(t, drtest.Config{Targets: []string{"127.0.0.1:9", "db.test:*"}}).Region("east")
	for target, ok := range map[string]bool{"127.0.0.1:9": true, "127.0.0.1:10": false, "db.test:5432": true, "not-db.test:5432": false, "localhost:9": false} {
		if err := listed.Attach(strings.NewReplacer(":", "-", ".", "-").Replace(target)+":1", target); (err == nil) != ok || !ok && !errors.Is(err, drtest.ErrTarget) {
			t.Errorf("Attach to %s = %v, want allowed %v", target, err, ok)
		}
	}
	if err := newReal(t, drtest.Config{Fidelity: drtest.FidelityMessages}).Region("east").Attach("a:1", "127.0.0.1:1"); err == nil {
		t.Error("Attach with FidelityMessages did not fail")
	}
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		if err := w.Region("east").Attach("a:1", "127.0.0.1:1"); err == nil {
			t.Error("Attach in a bubble did not fail")
		}
		if _, err := w.Region("east").Expose("a:1"); err == nil {
			t.Error("Expose in a bubble did not fail")
		}
	})
}
