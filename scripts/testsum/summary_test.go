package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runModule runs go test in a module made of files, and returns what testsum says of it.
func runModule(t *testing.T, files map[string]string) (report string, ok bool) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module " + module + "\n\ngo 1.26.0\n"
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	sum := newSummary(&out)
	err := goTest(dir, []string{"./..."}, sum)
	ok = sum.report(time.Second)
	if ok != (err == nil) && !strings.Contains(out.String(), "without a reason") {
		t.Errorf("report says ok = %v, go test %v", ok, err)
	}
	return out.String(), ok
}

func testFile(body string) string {
	return "package p\n\nimport \"testing\"\n\n" + body
}

func TestReport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string
		ok    bool
		want  []string
		not   string
	}{
		{
			name: "pass", ok: true,
			files: map[string]string{"a/a_test.go": testFile(`func TestA(t *testing.T) { t.Log("noise"); t.Run("sub", func(*testing.T) {}) }`)},
			want:  []string{"ok    a ", "skipped: nothing", "1 tests (2 with subtests) passed in 1 packages, 0 skipped, 0 failed; 1s"},
			not:   "noise",
		},
		{
			name: "skips are grouped by reason", ok: true,
			files: map[string]string{
				"a/a_test.go": testFile("func TestA(t *testing.T) { t.Skip(\"kit moto: moto is missing\") }\nfunc TestB(t *testing.T) { t.Skip(\"kit moto: moto is missing\") }"),
				"a_test.go":   testFile(`func TestC(t *testing.T) { t.Log("kit redis:"); t.Skip("not set") }`),
			},
			want: []string{"skipped:\n  kit moto: moto is missing\n      a TestA, a TestB\n  kit redis: not set\n      holdfast TestC\n", "3 skipped"},
		},
		{
			name:  "skip without a reason",
			files: map[string]string{"a_test.go": testFile(`func TestA(t *testing.T) { t.SkipNow() }`)},
			want:  []string{"testsum: holdfast TestA was skipped without a reason"},
		},
		{
			name:  "failed test",
			files: map[string]string{"a_test.go": testFile(`func TestA(t *testing.T) { t.Error("Do = 1, want 2") }`)},
			want:  []string{"Do = 1, want 2", "--- FAIL: TestA", "FAIL  holdfast", "2 failed"},
		},
		{
			name:  "panic",
			files: map[string]string{"a_test.go": testFile(`func TestA(t *testing.T) { panic("lost my head") }`)},
			want:  []string{"panic: lost my head", "FAIL  holdfast"},
		},
		{
			name:  "does not compile",
			files: map[string]string{"a_test.go": testFile(`func TestA(t *testing.T) { undefinedName() }`)},
			want:  []string{"undefined: undefinedName", "FAIL  holdfast"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := runModule(t, tt.files)
			if ok != tt.ok {
				t.Errorf("ok = %v, want %v", ok, tt.ok)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			if tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("%q in\n%s", tt.not, got)
			}
		})
	}
}
