// Package doctest keeps the Go code of pages compiled.
package doctest

import (
	"os"
	"strings"
	"testing"
)

// Snippets checks that every Go block of the Markdown page stands, line by line and indentation aside, in one of the Go files
// sources, which are examples and so compiled. It fails if a file cannot be read or the page has no block.
func Snippets(t *testing.T, page string, sources ...string) {
	t.Helper()
	var compiled strings.Builder
	for _, source := range sources {
		compiled.WriteString(unindent(read(t, source)))
	}
	blocks := strings.Split(read(t, page), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Errorf("%s has no Go block", page)
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(compiled.String(), unindent(code)) {
			t.Errorf("%s: none of %q holds\n%s", page, sources, code)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unindent drops the indentation, which differs between a page and a function.
func unindent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}
