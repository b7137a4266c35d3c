package failover

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/doctest"
)

func TestPageIsCompiled(t *testing.T) {
	doctest.Snippets(t, "../docs/strategies/failover.md", "example_docs_test.go")
}

func TestRecipeIsCompiled(t *testing.T) {
	doctest.Snippets(t, "../docs/recipes/s3.md", "example_s3_test.go")
}
