package main

import (
	"context"
	"strings"
	"testing"
)

func TestWrongFlags(t *testing.T) {
	for _, tt := range []struct{ args, says string }{
		{"-rate many", "rate"},
		{"-rate -1", "-rate -1: want 0 to 2000"},
		{"-rate 1e9", "-rate 1e+09"},
		{"-lease 1s -probe 500ms", "-lease 1s: want at least four probes (2s)"},
		{"-lease forever", "lease"},
		{"-probe 1ms", "-probe 1ms: want 20ms to 1m"},
		{"-addr here", `-addr "here": want host:port`},
		{"-speed 3", "speed"},
		{"now", `unexpected argument "now"`},
	} {
		var out, errs strings.Builder
		if code := run(context.Background(), strings.Fields(tt.args), &out, &errs); code != 2 || !strings.Contains(errs.String(), tt.says) {
			t.Errorf("orders %s: exit %d, %q, want 2 and %q", tt.args, code, errs.String(), tt.says)
		}
	}
}
