package retry_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/doctest"
)

func TestPageIsCompiled(t *testing.T) {
	doctest.Snippets(t, "../docs/strategies/retry.md", "example_docs_test.go")
}
