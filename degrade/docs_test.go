package degrade

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSnippetsAreCompiled finds every Go block of the strategy page in a file of examples, line by line but for the indentation.
func TestSnippetsAreCompiled(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "strategies", "degrade.md"))
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	files, _ := filepath.Glob("example*_test.go")
	below, _ := filepath.Glob("*/example*_test.go")
	for _, file := range append(files, below...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples.WriteString(trimmed(string(text)))
	}
	blocks := 0
	for i, part := range strings.Split(string(page), "```") {
		if code, ok := strings.CutPrefix(part, "go\n"); ok && i%2 == 1 {
			blocks++
			if !strings.Contains(examples.String(), trimmed(code)) {
				t.Errorf("this block is in no example:\n%s", code)
			}
		}
	}
	if blocks < 5 {
		t.Errorf("%d Go blocks found on the page, want at least 5", blocks)
	}
}

func trimmed(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
