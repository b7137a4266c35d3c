package degrade

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s\nwant\n%s", name, got, want)
	}
}

// shop registers a small shop in region.
func shop(t *testing.T, cfg Config) (*Controller, map[string]*Dependency, map[string]*Feature) {
	c := build(t, cfg)
	d := map[string]*Dependency{
		"orders-db": c.Dependency("orders-db", DependencyConfig{}),
		"replica":   c.Dependency("replica", DependencyConfig{}),
		"payments":  c.Dependency("payments", DependencyConfig{Home: "eu-west-1", Stubbed: true}),
		"ledger":    c.Dependency("ledger", DependencyConfig{Home: "eu-west-1"}),
		"reco":      c.Dependency("reco", DependencyConfig{Home: "eu-west-1"}),
	}
	f := map[string]*Feature{}
	f["checkout"] = c.Feature("checkout", FeatureConfig{Reads: AnyOf(d["orders-db"], d["replica"]), Writes: AllOf(d["orders-db"], d["payments"]), Optional: d["reco"]})
	f["refund"] = c.Feature("refund", FeatureConfig{Reads: d["orders-db"], Writes: d["payments"], NoStub: true})
	f["accounting"] = c.Feature("accounting", FeatureConfig{Reads: d["ledger"], Never: Offline})
	f["history"] = c.Feature("history", FeatureConfig{Reads: f["checkout"], Fallback: AllOf(), Exercise: 0.01})
	return c, d, f
}

func TestMatrixGolden(t *testing.T) {
	c, _, _ := shop(t, Config{Region: "eu-west-1"})
	var b strings.Builder
	for _, region := range []string{"eu-west-1", "eu-central-1"} {
		b.WriteString("# " + region + "\n\n" + c.Matrix(region) + "\n")
	}
	golden(t, "matrix.md", b.String())
}

func TestLintGolden(t *testing.T) {
	c, d, _ := shop(t, Config{})
	c.Dependency("unused", DependencyConfig{})
	c.Feature("static", FeatureConfig{})
	c.Feature("same", FeatureConfig{Reads: d["replica"], Writes: d["replica"], Optional: d["replica"], Fallback: AllOf()})
	var b strings.Builder
	for _, region := range []string{"eu-west-1", "eu-central-1"} {
		b.WriteString("# " + region + "\n")
		for _, p := range c.Lint(region) {
			b.WriteString(p.String() + "\n")
		}
	}
	golden(t, "lint.txt", b.String())
}

func TestLintGivesUpOnManyLeavesAloud(t *testing.T) {
	c := build(t, Config{})
	var all []Need
	for _, n := range "abcdefghijklm" {
		all = append(all, c.Dependency(string(n), DependencyConfig{}))
	}
	c.Feature("wide", FeatureConfig{Reads: AllOf(all...)})
	if p := c.Lint(""); len(p) != 1 || !contains(p[0].Text, "up to 12") {
		t.Errorf("Lint = %v", p)
	}
}

// TestWhatIfIsWhatHappens compares every supposed combination with the levels that reports lead to.
func TestWhatIfIsWhatHappens(t *testing.T) {
	for _, region := range []string{"eu-west-1", "eu-central-1"} {
		_, names, _ := shop(t, Config{})
		var all []string
		for name := range names {
			all = append(all, name)
		}
		for set := range 1 << len(all) {
			c, d, f := shop(t, Config{Region: region})
			var down []string
			for i, name := range all {
				if set>>i&1 == 1 {
					down = append(down, name)
					d[name].Report(StateDown)
				}
			}
			want, err := c.WhatIf(down...)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]Level{}
			for name := range f {
				got[name] = f[name].Level()
			}
			if !maps.Equal(got, want) {
				t.Errorf("in %s with %v down: levels %v, WhatIf %v", region, down, got, want)
			}
		}
	}
}

func TestWhatIfRefusesUnknownNames(t *testing.T) {
	c, _, _ := shop(t, Config{})
	if _, err := c.WhatIf("orders-db", "ordersdb"); err == nil || !contains(err.Error(), `"ordersdb"`) {
		t.Errorf("WhatIf = %v, want an error that names the typo", err)
	}
}

func TestStatusGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.say(map[string]Level{"history": Limited, "elsewhere": Offline}, nil)
		c, d, f := shop(t, Config{Name: "shop", Instance: "i-1", Region: "eu-west-1", Provider: b})
		run(t, c)
		time.Sleep(time.Second)
		d["payments"].Report(StateDown)
		d["reco"].Report(StateOK)
		_, _ = Read(t.Context(), f["history"], value(0, errPrimary), value(1, nil))
		o := override("checkout", Offline)
		o.Ticket = "OPS-1"
		mustOverride(t, c, o)
		synctest.Wait()
		s := c.Status()
		for i := range s.Overrides {
			s.Overrides[i].ID = "id"
		}
		for i := range s.Recent {
			if s.Recent[i].ID != "" {
				s.Recent[i].ID = "id"
			}
		}
		s.Audit.Hash = strings.Repeat("0", len(s.Audit.Hash))
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "status.json", string(text)+"\n")
	})
}
