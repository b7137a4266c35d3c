package idempotency_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every Go snippet of the strategy page is a part of an example.
func TestSnippetsOfTheDocsAreExamples(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "strategies", "idempotency.md"))
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	for _, name := range []string{"example_test.go", "redisstore/example_test.go", "idempotencyhttp/example_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		examples.Write(text)
	}
	parts := strings.Split(string(page), "```")
	for i := 1; i < len(parts); i += 2 {
		snippet, ok := strings.CutPrefix(parts[i], "go\n")
		if ok && !strings.Contains(examples.String(), snippet) {
			t.Errorf("no example contains\n%s", snippet)
		}
	}
}
