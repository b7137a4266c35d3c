// Package journaltest checks that a runbook.Journal keeps its contract. Holdfast's own journals pass it first.
package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Run checks a journal. open returns a new, empty one; it is called once per test.
func Run(t *testing.T, open func(*testing.T) runbook.Journal) {
	tests := []struct {
		name string
		run  func(*testing.T, runbook.Journal)
	}{
		{"an unknown run has no entries", unknown},
		{"entries come back in order and chained", order},
		{"tokens grow, and an older one is fenced", fence},
		{"concurrent writers lose nothing", race},
		{"an ended context stores nothing", ended},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func first(run string) runbook.Entry {
	return runbook.Entry{Run: run, Runbook: "book", Plan: "p", By: "ann", At: time.Now()}
}

func unknown(t *testing.T, j runbook.Journal) {
	entries, err := j.Load(t.Context(), "none")
	runs, runsErr := j.Runs(t.Context())
	if err != nil || len(entries) != 0 || runsErr != nil || len(runs) != 0 {
		t.Errorf("Load = %v, %v; Runs = %v, %v; want nothing", entries, err, runs, runsErr)
	}
}

func order(t *testing.T, j runbook.Journal) {
	acquire(t, j, "run")
	e := runbook.Entry{
		Run: "run", Runbook: "book", Plan: "p", Token: 1, At: time.Date(2026, 3, 1, 1, 2, 3, 4, time.FixedZone("x", 3600)),
		Event: runbook.EventStarted, Step: "s", By: "ann", Reason: `ü " | <`, Planned: true,
	}
	if err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	got, err := j.Load(t.Context(), "run")
	if err != nil || len(got) != 2 {
		t.Fatalf("Load = %v, %v, want two entries", got, err)
	}
	if got[1].Sequence != 2 || got[1].Step != "s" || got[1].Reason != e.Reason || !got[1].At.Equal(e.At) || !got[1].Planned || got[0].Event != runbook.EventAcquired {
		t.Errorf("Load = %+v, want the entries as stored", got)
	}
	if got[0].Previous != "" || len(got[1].Previous) != 64 {
		t.Errorf("previous %q and %q, want none and a SHA-256", got[0].Previous, got[1].Previous)
	}
	acquire(t, j, "run2")
	runs, err := j.Runs(t.Context())
	if err != nil || len(runs) != 2 || runs[0].Run != "run" || runs[1].Run != "run2" {
		t.Errorf("Runs = %v, %v, want run, run2", runs, err)
	}
}

func acquire(t *testing.T, j runbook.Journal, run string) uint64 {
	t.Helper()
	token, err := j.Acquire(t.Context(), first(run))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func fence(t *testing.T, j runbook.Journal) {
	if a, b := acquire(t, j, "run"), acquire(t, j, "run"); a != 1 || b != 2 {
		t.Errorf("tokens %d, %d, want 1, 2", a, b)
	}
	e := first("run")
	e.Event, e.Token = runbook.EventStarted, 1
	if err := j.Append(t.Context(), e); !errors.Is(err, runbook.ErrFenced) {
		t.Errorf("Append with an older token = %v, want ErrFenced", err)
	}
	for _, token := range []uint64{0, 2} { // people carry none
		e.Token = token
		if err := j.Append(t.Context(), e); err != nil {
			t.Errorf("Append with token %d = %v, want nil", token, err)
		}
	}
	if got, err := j.Load(t.Context(), "run"); err != nil || len(got) != 4 {
		t.Errorf("Load = %d entries, %v, want 4", len(got), err)
	}
}

func race(t *testing.T, j runbook.Journal) {
	const writers = 8
	acquire(t, j, "run")
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			e := first("run")
			e.Event, e.Step = runbook.EventApproved, fmt.Sprint(i)
			if err := j.Append(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := j.Load(t.Context(), "run")
	if err != nil || len(got) != writers+1 {
		t.Fatalf("Load = %d entries, %v, want %d", len(got), err, writers+1)
	}
	for i, e := range got {
		if e.Sequence != uint64(i+1) {
			t.Errorf("entry %d has sequence %d", i+1, e.Sequence)
		}
	}
}

func ended(t *testing.T, j runbook.Journal) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Acquire(ctx, first("run")); err == nil {
		t.Error("Acquire with an ended context = nil, want an error")
	}
	if got, err := j.Load(t.Context(), "run"); err != nil || len(got) != 0 {
		t.Errorf("Load = %v, %v, want nothing", got, err)
	}
}
