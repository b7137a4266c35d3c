package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// The whole drill on two real PostgreSQL clusters, with orders being placed all the time.
func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("the drill takes most of a minute: not with -short")
	}
	dir := t.TempDir()
	result, err := drill(t.Context(), dir)
	if missing, ok := errors.AsType[*servers.MissingError](err); ok && os.Getenv("CI") != "true" {
		t.Skipf("two PostgreSQL clusters: %v", missing)
	}
	if err != nil {
		t.Fatalf("drill: %v\n%s", err, reports(dir))
	}
	if err := result.Check(); err != nil {
		t.Error(err)
	}
	t.Logf("\n%s", result)
	var got []string
	for _, s := range result.Outage.Steps {
		got = append(got, s.Name)
		if s.State != "done" {
			t.Errorf("step %q is %s", s.Name, s.State)
		}
	}
	if want := []string{"detect", "assess", "promote database", "restore state", "switch traffic", "validate", "post-mortem"}; !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	if len(result.Lost) < 20 {
		t.Errorf("%d orders lost and listed, want those of the time without replication", len(result.Lost))
	}
	if !result.Move.Auto || result.Move.From != east || result.Move.OldSide == "" {
		t.Errorf("move %+v, want one by the group with the old side's fence on record", result.Move)
	}
	for _, name := range []string{"outage", "failback", result.Move.ID} {
		text, err := os.ReadFile(filepath.Join(dir, name+".json"))
		var rep runbook.Report
		if err = errors.Join(err, json.Unmarshal(text, &rep)); err != nil || rep.Outcome != "finished" {
			t.Errorf("report %s: %s, %v", name, rep.Outcome, err)
		}
		if page, err := os.ReadFile(filepath.Join(dir, name+".md")); err != nil || !strings.Contains(string(page), ": finished") {
			t.Errorf("page %s: %v", name, err)
		}
	}
}

// reports are the pages that the drill has written so far.
func reports(dir string) string {
	var all strings.Builder
	pages, _ := filepath.Glob(filepath.Join(dir, "*.md"))
	for _, p := range pages {
		text, _ := os.ReadFile(p)
		all.Write(text)
	}
	return all.String()
}
