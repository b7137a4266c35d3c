package breaker_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/doctest"
)

func TestPagesAreCompiled(t *testing.T) {
	for _, page := range []string{"circuit-breaker.md", "bulkhead.md", "limits.md"} {
		doctest.Snippets(t, "../docs/strategies/"+page, "example_test.go", "limit/example_test.go", "breakerhttp/example_test.go")
	}
}
