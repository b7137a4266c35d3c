package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
	"github.com/holdfast-go/holdfast/internal/doctest"
)

var update = flag.Bool("update", false, "write the step lists into docs/runbooks")

// The step lists of the pages are those of the code: go test ./examples/runbook -run TestPages -update writes them.
func TestPagesListTheStepsOfTheCode(t *testing.T) {
	f := &fleet{}
	none := func(context.Context) error { return nil }
	there := runbook.Step{Name: "move there", Do: none, Check: question(nil)}
	back := runbook.Step{Name: "move back", Do: none, Check: question(nil)}
	for _, page := range []struct {
		name, mark string
		book       func() (*runbook.Runbook, error)
	}{
		{"region-failover", "outage", func() (*runbook.Runbook, error) { return f.outage(east, "", nil) }},
		{"region-failover", "promotion", func() (*runbook.Runbook, error) {
			return promotion(nil, failover.Transition{From: east, To: west})
		}},
		{"failback", "failback", func() (*runbook.Runbook, error) { return f.failback(east, operator{}, nil, "", nil) }},
		{"queue-replay", "replay", func() (*runbook.Runbook, error) { return queueReplay(deadLetterQueue{redrive: none}) }},
		{"flag-override", "override", func() (*runbook.Runbook, error) { return flagOverride(feature{override: none, clear: none}, none) }},
		{"drill", "monthly", func() (*runbook.Runbook, error) {
			return steps.MonthlySmoke(steps.Parity("parity", east, west), none, none, func(context.Context) (bool, error) { return true, nil }, steps.SmokeTest("smoke test", none))
		}},
		{"drill", "quarterly", func() (*runbook.Runbook, error) {
			return steps.QuarterlyFailover(steps.Parity("parity", east, west), there, steps.SmokeTest("smoke test", none), back)
		}},
	} {
		t.Run(page.mark, func(t *testing.T) {
			book, err := page.book()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("..", "..", "docs", "runbooks", page.name+".md"), page.mark, book.Markdown())
		})
	}
}

// compare finds the list between the marks of a page.
func compare(t *testing.T, path, mark, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- steps: "+mark+" -->\n", "<!-- end -->"
	before, rest, found := strings.Cut(string(text), begin)
	got, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no %q … %q", path, begin, end)
	}
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("%s lists\n%swhere the code has\n%srun this test with -update", path, got, want)
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSnippetsCompile(t *testing.T) {
	doctest.Snippets(t, "../../docs/runbooks/README.md", "promotion.go")
}

// The replay waits for what is stranded, asks a person, and is done when the ledger is closed.
func TestQueueReplay(t *testing.T) {
	stranded, dead, accounted := 2, 3, false
	book, err := queueReplay(deadLetterQueue{
		stranded:   func(context.Context) (int, error) { stranded = max(0, stranded-1); return stranded, nil },
		dryRun:     func(context.Context) error { return nil },
		redrive:    func(context.Context) error { dead, accounted = 0, true; return nil },
		left:       func(context.Context) (int, error) { return dead, nil },
		accountFor: func(context.Context) (bool, error) { return accounted, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := runbook.Config{Journal: runbook.NewMemoryJournal(), By: "ann", PollEvery: 10 * time.Millisecond, ApprovalTTL: time.Millisecond}
	if _, err := book.Run(t.Context(), "run", cfg); !errors.Is(err, runbook.ErrBlocked) || dead != 3 {
		t.Fatalf("Run without an approval = %v, %d dead; want ErrBlocked and nothing redriven", err, dead)
	}
	if err := book.Approve(t.Context(), cfg.Journal, "run", "redrive", "bob", book.Plan(t.Context(), runbook.Unplanned).Hash, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := book.Run(t.Context(), "run", cfg); err != nil || dead != 0 {
		t.Errorf("Run = %v, %d dead; want nil and none", err, dead)
	}
}

// The override is cleared when its cause is gone, and can be undone before.
func TestFlagOverride(t *testing.T) {
	set, well := false, false
	book, err := flagOverride(feature{
		whatIf:   func(context.Context) error { return nil },
		override: func(context.Context) error { set = true; return nil },
		set:      func(context.Context) (bool, error) { return set, nil },
		clear:    func(context.Context) error { set = false; return nil },
	}, func(context.Context) error {
		if !well {
			return errors.New("still ill")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := runbook.Config{Journal: runbook.NewMemoryJournal(), By: "ann", PollEvery: 10 * time.Millisecond}
	soon, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if _, err := book.Run(soon, "run", cfg); err == nil || !set {
		t.Fatalf("Run while the dependency is ill = %v, set %t", err, set)
	}
	well = true
	if _, err := book.Run(t.Context(), "run", cfg); err != nil || set {
		t.Errorf("Run = %v, set %t; want nil and cleared", err, set)
	}
}
