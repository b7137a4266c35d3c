package breaker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocSnippetsAreExamples keeps the snippets of the strategy pages compiled: each must be in an example, word
// for word.
func TestDocSnippetsAreExamples(t *testing.T) {
	var examples strings.Builder
	for _, pattern := range []string{"example_test.go", "limit/example_test.go", "breakerhttp/example_test.go"} {
		text, err := os.ReadFile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		examples.Write(text)
	}
	snippets := 0
	for _, page := range []string{"circuit-breaker.md", "bulkhead.md", "limits.md"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", "strategies", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "```go\n")[1:] {
			snippet, _, _ := strings.Cut(part, "```")
			snippets++
			if !strings.Contains(examples.String(), snippet) {
				t.Errorf("%s: no example holds\n%s", page, snippet)
			}
		}
	}
	if snippets < 10 {
		t.Errorf("%d snippets found: the pages are not read", snippets)
	}
}
