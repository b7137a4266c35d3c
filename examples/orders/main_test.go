package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
)

func TestWrongFlags(t *testing.T) {
	for _, tt := range []struct{ args, says string }{
		{"-rate many", "rate"},
		{"-rate -1", "-rate -1: want 0 to 2000"},
		{"-rate 1e9", "-rate 1e+09"},
		{"-rate NaN", "-rate NaN: want 0 to 2000"},
		{"-lease 1s -probe 500ms", "-lease 1s: want at least four probes (2s)"},
		{"-lease forever", "lease"},
		{"-probe 1ms", "-probe 1ms: want 20ms to 1m"},
		{"-addr here", `-addr "here": want host:port`},
		{"-speed 3", "speed"},
		{"-parts paper", `-parts "paper": want embedded or real`},
		{"-parts real", "-dir: with -parts real it is required"},
		{"-parts real -dir d -drill", "-drill: it runs on embedded parts only"},
		{"now", `unexpected argument "now"`},
	} {
		var out, errs strings.Builder
		if code := run(context.Background(), strings.Fields(tt.args), &out, &errs); code != 2 || !strings.Contains(errs.String(), tt.says) {
			t.Errorf("orders %s: exit %d, %q, want 2 and %q", tt.args, code, errs.String(), tt.says)
		}
	}
}

func TestItBuildsWithGoAlone(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if .CgoFiles}}{{if not .Standard}}{{.ImportPath}}{{end}}{{end}}", ".").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("packages that need a C compiler: %s %v", out, err)
	}
}

func TestTheLivePageShowsTheFleet(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		show := &live{log: page.NewLog(0), rpo: time.Minute}
		show.fleet = embedded.Start(w, embedded.Config{Dir: t.TempDir(), Started: show.started})
		if _, err := newPage(show); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s := show.state()
		if s.Decision.Writer != embedded.East || len(s.Regions) != 2 || !s.Regions[0].Status.MayWrite || len(s.Regions[0].Modes.Features) != 3 {
			t.Errorf("state = %+v, want %s as the writer", s, embedded.East)
		}
		for _, a := range show.actions() {
			if a.Fault == "" {
				continue
			}
			if err := a.Do(t.Context(), a, "ada"); err != nil {
				t.Errorf("%s: %v", a.ID, err)
				continue
			}
			if active := show.faults.Active(); len(active) != 1 || active[0].ID != a.ID {
				t.Errorf("after %s active faults are %+v", a.ID, active)
			}
			if err := a.Undo(t.Context(), a, "ada"); err != nil || len(show.faults.Active()) != 0 {
				t.Errorf("undo of %s: %v, left %+v", a.ID, err, show.faults.Active())
			}
		}
		show.fleet.Stop()
	})
}
