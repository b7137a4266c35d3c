//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// A stranger builds the command, starts it in both Regions on servers of their own, places an order, reads it and places it again. Then a database and a
// process stop where they stand: every request still gets an answer.
func TestTheBuiltCommandOnRealParts(t *testing.T) {
	env, standby, charges := surroundings(t)
	command := filepath.Join(t.TempDir(), "orders")
	if out, err := exec.Command("go", "build", "-o", command, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir := t.TempDir()
	urls := map[string]string{"us-east-1": freeURL(t), "us-west-2": freeURL(t)}
	for region, url := range urls {
		env = append(env, "ORDERS_"+strings.ToUpper(strings.ReplaceAll(region, "-", "_"))+"_URL="+url)
	}
	east, eastLog := begin(t, command, dir, "us-east-1", urls, env)
	west, westLog := begin(t, command, dir, "us-west-2", urls, env)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("us-east-1:\n%s\nus-west-2:\n%s", eastLog(), westLog())
		}
	})

	var placed service.Order
	eventually(t, "an order is placed", func() error {
		status, body := ask(t, http.MethodPost, urls["us-east-1"]+"/orders", "first")
		if status != http.StatusCreated {
			return fmt.Errorf("%d %s", status, body)
		}
		return json.Unmarshal(body, &placed)
	})
	eventually(t, "it is read in the other Region", func() error {
		status, body := ask(t, http.MethodGet, urls["us-west-2"]+"/orders/"+placed.ID, "")
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := ask(t, http.MethodPost, urls["us-west-2"]+"/orders", "first"); status != http.StatusCreated || !bytes.Contains(body, []byte(placed.ID)) {
		t.Errorf("again, in the other Region: %d %s, want order %s", status, body, placed.ID)
	}
	if n := charges.Load(); n != 1 {
		t.Errorf("charged %d times, want once", n)
	}

	eventually(t, "reads stay in the other Region", func() error {
		_, body := ask(t, http.MethodGet, urls["us-west-2"]+"/admin/failover/", "")
		var status struct {
			Health   map[string]string
			Exposure struct{ Known bool }
		}
		if err := json.Unmarshal(body, &status); err != nil || status.Health["us-west-2"] != "healthy" || !status.Exposure.Known {
			return fmt.Errorf("%v %s", err, body)
		}
		return nil
	})
	standby.Freeze()
	if status, body := ask(t, http.MethodGet, urls["us-west-2"]+"/orders", ""); status != http.StatusOK || !bytes.Contains(body, []byte(placed.ID)) {
		t.Errorf("beside a database that hangs: %d %s, want the orders", status, body)
	}
	standby.Resume()

	send(t, east, syscall.SIGSTOP)
	status, body := ask(t, http.MethodPost, urls["us-west-2"]+"/orders", "second")
	send(t, east, syscall.SIGCONT)
	if status != http.StatusGatewayTimeout {
		t.Errorf("the writer's process hangs: %d %s, want 504", status, body)
	}
	eventually(t, "the order is placed after all", func() error {
		if status, body := ask(t, http.MethodPost, urls["us-west-2"]+"/orders", "second"); status != http.StatusCreated {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	for _, c := range []*exec.Cmd{east, west} {
		send(t, c, syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("%v ended: %v, want 0 after SIGTERM", c.Args, err)
		}
	}
}

// surroundings are servers of the test's own, payments and a mail relay, as variables.
func surroundings(t *testing.T) (env []string, standby *servertest.Server, charges *atomic.Int32) {
	primary := servertest.Start(t, servertest.Postgres)
	standby, charges = primary.Standby(), new(atomic.Int32)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/charges" {
			charges.Add(1)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(outside.Close)
	env = append(os.Environ(), "ORDERS_PAYMENTS="+outside.URL, "ORDERS_MAIL="+outside.URL+"/send")
	for prefix, at := range map[string][3]string{
		"ORDERS_US_EAST_1_": {primary.Addr(), servertest.Start(t, servertest.Redis).Addr(), servertest.Start(t, servertest.SQSEast).Addr()},
		"ORDERS_US_WEST_2_": {standby.Addr(), servertest.Start(t, servertest.Redis).Addr(), servertest.Start(t, servertest.SQSWest).Addr()},
	} {
		env = append(env, prefix+"SQL="+at[0], prefix+"REDIS="+at[1], prefix+"SQS="+at[2])
	}
	return env, standby, charges
}

// freeURL is where nobody listens yet.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// begin starts the command in a Region. It ends with the test.
func begin(t *testing.T, command, dir, region string, urls map[string]string, env []string) (c *exec.Cmd, log func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), region+".log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	c = exec.Command(command, "-v", "-parts", "real", "-dir", dir, "-self", region, "-addr", strings.TrimPrefix(urls[region], "http://"))
	c.Env, c.Stdout, c.Stderr = env, file, file
	if err := errors.Join(c.Start(), file.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return c, func() string {
		text, _ := os.ReadFile(path)
		return string(text)
	}
}

func send(t *testing.T, c *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// eventually repeats what may take a moment on a busy machine.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// ask sends a request. No answer within 25 s, less than the server's own limit, is an answer of status 0.
func ask(t *testing.T, method, url, key string) (status int, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(`{"sku":"anvil","quantity":1,"email":"ann@example.com"}`)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ann")
	if strings.Contains(url, "/admin/") {
		req.Header.Set("Authorization", "Bearer operator-ann")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, answer
}
