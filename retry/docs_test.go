package retry_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocsAreCompiled checks that each Go block of the strategy page stands, line by line, in a compiled example.
func TestDocsAreCompiled(t *testing.T) {
	page, err := os.ReadFile("../docs/strategies/retry.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	compiled := unindent(string(source))
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the page has no Go blocks")
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(compiled, unindent(code)) {
			t.Errorf("not compiled by example_docs_test.go:\n%s", code)
		}
	}
}

// unindent drops the indentation, which differs between a page and a function.
func unindent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}
