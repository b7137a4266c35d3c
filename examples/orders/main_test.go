package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
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
		{"-parts real -dir d -drill", "-dir: a drill on real parts has a directory of its own"},
		{"-soak 1m", "-soak: it runs with -parts real"},
		{"-soak 1m -drill -parts real", "-soak: it runs with -parts real, and without -drill"},
		{"-parts real -soak 1ms", "-soak 1ms: want 1s to 24h"},
		{"-parts real -soak 1m -rate 0", "-rate 0: a drill needs users"},
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
