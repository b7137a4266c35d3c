package steps_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// run runs the steps as a runbook, quickly.
func run(t *testing.T, list ...runbook.Step) (runbook.Report, error) {
	t.Helper()
	for i := range list {
		if list[i].Timeout == 0 {
			list[i].Timeout = 5 * time.Second
		}
	}
	book, err := runbook.New("book", list...)
	if err != nil {
		t.Fatal(err)
	}
	return book.Run(t.Context(), "run-1", runbook.Config{Journal: runbook.NewMemoryJournal(), By: "ann", PollEvery: 10 * time.Millisecond})
}

func TestSmokeHTTPWaitsForOK(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if _, err := run(t, steps.SmokeHTTP("smoke", nil, server.URL)); err != nil || asked.Load() != 3 {
		t.Errorf("Run = %v after %d requests, want nil after 3", err, asked.Load())
	}
}

func TestSmokeThatNeverPassesSaysWhy(t *testing.T) {
	step := steps.SmokeTest("smoke", func(context.Context) error { return errors.New("orders do not open") })
	step.Timeout = 50 * time.Millisecond
	_, err := run(t, step)
	if !errors.Is(err, runbook.ErrUndecided) || !strings.Contains(err.Error(), "orders do not open") {
		t.Errorf("Run = %v, want ErrUndecided with the reason", err)
	}
}

func TestCommandRunsWithoutAShell(t *testing.T) {
	var ran atomic.Bool
	step := steps.Command("echo", func(context.Context) (bool, error) { return ran.Load(), nil }, "echo", "$HOME; exit 3")
	do := step.Do
	step.Do = func(ctx context.Context) error {
		err := do(ctx)
		ran.Store(err == nil)
		return err
	}
	if _, err := run(t, step); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	err := steps.Exec("sh", "-c", "echo first; echo broken >&2; exit 3")(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("Exec = %v, want the exit status and the output", err)
	}
	if err := steps.Exec()(t.Context()); err == nil {
		t.Error("Exec() = nil, want an error")
	}
}

func TestCommandIsKilledAtItsTimeout(t *testing.T) {
	step := steps.Command("hang", func(context.Context) (bool, error) { return false, nil }, "sleep", "600")
	step.Timeout = 100 * time.Millisecond
	if _, err := run(t, step); err == nil {
		t.Error("Run = nil, want an error")
	}
}

func TestPagerDutyTellsOnceWithTheRunAsKey(t *testing.T) {
	var got atomic.Pointer[map[string]any]
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		var m map[string]any
		if json.Unmarshal(body, &m) == nil {
			got.Store(&m)
		}
		if r.Header.Get("Idempotency-Key") == "" {
			t.Error("the request carries no Idempotency-Key")
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	if _, err := run(t, steps.PagerDuty("page", nil, steps.Incident{URL: server.URL, RoutingKey: "key", Summary: "Region lost", Source: "orders", Severity: "critical"})); err != nil {
		t.Fatal(err)
	}
	m := *got.Load()
	payload, _ := m["payload"].(map[string]any)
	if asked.Load() != 1 || m["dedup_key"] != "run-1" || m["event_action"] != "trigger" || payload["severity"] != "critical" {
		t.Errorf("%d requests, event %v", asked.Load(), m)
	}
}

func TestParityNamesEveryDifference(t *testing.T) {
	fact := func(name string, values map[failover.Region]string) steps.Fact {
		return steps.Fact{Name: name, Read: func(_ context.Context, r failover.Region) (map[string]string, error) {
			return map[string]string{"": values[r]}, nil
		}}
	}
	quota := fact("quota", map[string]string{"a": "10", "b": "20"})
	quota.Same = func(a, b string) bool { return len(a) <= len(b) && a <= b }
	same := fact("schema", map[string]string{"a": "7", "b": "7"})
	if _, err := run(t, steps.Parity("parity", "a", "b", same, quota)); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	_, err := run(t, steps.Parity("parity", "a", "b", same, fact("image", map[string]string{"a": "v1", "b": "v2"}), fact("flags", map[string]string{"a": "x"})))
	if err == nil || !strings.Contains(err.Error(), `image differs: "v1" in a, "v2" in b`) || !strings.Contains(err.Error(), "flags differs") {
		t.Errorf("Run = %v, want both differences", err)
	}
}

func TestCountingSteps(t *testing.T) {
	var left atomic.Int64
	left.Store(3)
	count := func(context.Context) (int, error) { return int(left.Load()), nil }
	work := func(context.Context) error { left.Store(0); return nil }
	for name, step := range map[string]runbook.Step{
		"SyncKeys": steps.SyncKeys("s", work, count), "DrainClients": steps.DrainClients("s", work, count),
		"FenceOldWriter": steps.FenceOldWriter("s", work, func(context.Context) (bool, error) { return left.Load() == 0, nil }),
	} {
		left.Store(3)
		if _, err := run(t, step); err != nil || left.Load() != 0 {
			t.Errorf("%s: Run = %v with %d left, want nil with none", name, err, left.Load())
		}
	}
	left.Store(3)
	time.AfterFunc(50*time.Millisecond, func() { left.Store(0) })
	if _, err := run(t, steps.DrainStranded("s", count)); err != nil {
		t.Errorf("DrainStranded: Run = %v, want nil once it is empty", err)
	}
}

// A process does not know of other processes' keys: nothing left here does not mean that nothing is to be copied.
func TestSyncKeysRunsAtLeastOnce(t *testing.T) {
	ran := 0
	step := steps.SyncKeys("s", func(context.Context) error { ran++; return nil }, func(context.Context) (int, error) { return 0, nil })
	if _, err := run(t, step); err != nil || ran != 1 {
		t.Errorf("Run = %v, resync ran %d times, want once", err, ran)
	}
}

func TestMonthlySmokeCleansUpAlways(t *testing.T) {
	for name, smoke := range map[string]error{"passes": nil, "fails": errors.New("no orders in the copy")} {
		t.Run(name, func(t *testing.T) {
			var there atomic.Bool
			set := func(v bool) func(context.Context) error {
				return func(context.Context) error { there.Store(v); return nil }
			}
			step := steps.SmokeTest("smoke", func(context.Context) error {
				if !there.Load() {
					return errors.New("nothing restored")
				}
				return smoke
			})
			step.Timeout = 100 * time.Millisecond
			book, err := steps.MonthlySmoke(steps.Parity("parity", "a", "b"), set(true), set(false),
				func(context.Context) (bool, error) { return there.Load(), nil }, step)
			if err != nil {
				t.Fatal(err)
			}
			_, err = book.Run(t.Context(), "run", runbook.Config{Journal: runbook.NewMemoryJournal(), By: "ann", PollEvery: 10 * time.Millisecond})
			if (err == nil) != (smoke == nil) || there.Load() {
				t.Errorf("Run = %v, copy left behind: %t", err, there.Load())
			}
		})
	}
}
