package steps_test

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// byRegion reads what a and b have.
func byRegion[T any](a, b T) func(context.Context, failover.Region) (T, error) {
	return func(_ context.Context, r failover.Region) (T, error) {
		if r == "a" {
			return a, nil
		}
		return b, nil
	}
}

func TestFacts(t *testing.T) {
	type text = map[string]string
	type numbers = map[string]float64
	failing := func(context.Context, failover.Region) (string, error) { return "", errors.New("no answer") }
	tests := []struct {
		name string
		fact steps.Fact
		want []string // parts of the error; none: the same
	}{
		{"same image", steps.Image(byRegion("v1", "v1")), nil},
		{"other image", steps.Image(byRegion("v1", "v2")), []string{`image differs: "v1" in a, "v2" in b`}},
		{"unreadable in both", steps.Image(failing), []string{"image in a: no answer", "image in b: no answer"}},
		{"same configuration", steps.ConfigHash(byRegion([]byte("x"), []byte("x"))), nil},
		{"other configuration", steps.ConfigHash(byRegion([]byte("secret"), []byte("y"))), []string{"config hash differs"}},
		{"flags", steps.Flags(byRegion(text{"x": "on"}, text{"y": "on"})), []string{`flag x differs: "on" in a, nothing in b`, `flag y differs: nothing in a, "on" in b`}},
		{"an empty flag is not a missing one", steps.Flags(byRegion(text{"x": ""}, text{})), []string{"flag x differs"}},
		{"queue attributes", steps.QueueAttributes(byRegion(text{"VisibilityTimeout": "30", "QueueArn": "a"}, text{"VisibilityTimeout": "60", "QueueArn": "b"}), "QueueArn"), []string{`queue attribute VisibilityTimeout differs: "30" in a, "60" in b`}},
		{"a larger quota", steps.Quota(byRegion(numbers{"vcpu": 64}, numbers{"vcpu": 128, "more": 1})), nil},
		{"a smaller quota", steps.Quota(byRegion(numbers{"vcpu": 128}, numbers{"vcpu": 64})), []string{`quota vcpu differs: "128" in a, "64" in b`}},
		{"no quota", steps.Quota(byRegion(numbers{"vcpu": 128}, numbers{})), []string{"quota vcpu differs"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := steps.Parity("parity", "a", "b", tt.fact).Check(t.Context())
			if (err == nil) != (tt.want == nil) || (s == runbook.StateDone) != (err == nil) {
				t.Fatalf("Check = %v, %v, want %q", s, err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Check = %v, want %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the configuration is in the error")
			}
		})
	}
}

func TestCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	address := func(failover.Region) string { return server.Listener.Addr().String() }
	left := time.Until(server.Certificate().NotAfter)
	for name, tt := range map[string]struct {
		fact steps.Fact
		want string
	}{
		"valid":       {steps.Certificate(address, "example.com", left-time.Hour, roots), ""},
		"expires":     {steps.Certificate(address, "example.com", left+time.Hour, roots), "expires in"},
		"other name":  {steps.Certificate(address, "orders.test", time.Hour, roots), "orders.test"},
		"unknown":     {steps.Certificate(address, "example.com", time.Hour, x509.NewCertPool()), "unknown authority"},
		"unreachable": {steps.Certificate(func(failover.Region) string { return "127.0.0.1:1" }, "example.com", time.Hour, roots), "refused"},
	} {
		_, err := steps.Parity("parity", "a", "b", tt.fact).Check(t.Context())
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check = %v, want %q", name, err, tt.want)
		}
	}
}

func TestSchema(t *testing.T) {
	server := servertest.Start(t, servertest.Postgres)
	server.Query(`create database other`)
	a := connect(t, server.Addr())
	b := connect(t, strings.Replace(server.Addr(), "/postgres?", "/other?", 1))
	for _, db := range []*sql.DB{a, b} {
		execute(t, db, `create table orders (id int primary key)`)
	}
	parity := steps.Parity("parity", "a", "b", steps.Schema(map[failover.Region]*sql.DB{"a": a, "b": b}))
	if _, err := parity.Check(t.Context()); err != nil {
		t.Errorf("Check of equal schemas = %v, want nil", err)
	}
	execute(t, a, `alter table orders add column state text`)
	execute(t, b, `create index orders_by_id on orders (id desc)`)
	_, err := parity.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "column public.orders.state") || !strings.Contains(err.Error(), "index public.orders_by_id") {
		t.Errorf("Check = %v, want the column and the index", err)
	}
}

// One book serves many runs: each tells. A webhook that is down holds nothing up.
func TestNotifyTellsEveryRunAndHoldsNoneUp(t *testing.T) {
	var told atomic.Int64
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		told.Add(1)
		w.WriteHeader(status)
	}))
	defer server.Close()
	b, err := runbook.New("book", steps.Notify("tell", nil, server.URL, func(run string) any { return map[string]string{"run": run} }))
	if err != nil {
		t.Fatal(err)
	}
	cfg := runbook.Config{Journal: runbook.NewMemoryJournal(), By: "ann", PollEvery: 10 * time.Millisecond}
	for _, id := range []string{"one", "two", "two"} { // the last is a resumed one
		if _, err := b.Run(t.Context(), id, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if told.Load() != 2 {
		t.Errorf("told %d times, want once a run", told.Load())
	}
	status = http.StatusServiceUnavailable
	rep, err := b.Run(t.Context(), "three", cfg)
	if err != nil || told.Load() != 5 || rep.Steps[0].State != "failed" {
		t.Errorf("Run = %v after %d requests, step %s; want nil after three attempts, failed", err, told.Load()-2, rep.Steps[0].State)
	}
}

// A plan must not place orders.
func TestAPlanDoesNotRunTheSmokeTest(t *testing.T) {
	b, err := runbook.New("book", steps.SmokeTest("smoke", func(context.Context) error { t.Error("the test ran"); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	b.Plan(t.Context(), runbook.Unplanned)
}

// The program cannot be started: nothing ran, so the run need not ask Verify.
func TestACommandThatCannotStartHasNotRun(t *testing.T) {
	asked := 0
	step := steps.Command("x", func(context.Context) (bool, error) { asked++; return false, nil }, "/no/such/program")
	if _, err := run(t, step); err == nil || asked != 1 {
		t.Errorf("Run = %v, the effect was looked for %d times; want an error after Check alone", err, asked)
	}
	if step.Preflight(t.Context()) == nil {
		t.Error("Preflight = nil, want the missing program")
	}
}
