package degrade

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/internal/doctest"
)

func TestPageIsCompiled(t *testing.T) {
	own, _ := filepath.Glob("example*_test.go")
	below, _ := filepath.Glob("*/example*_test.go")
	doctest.Snippets(t, "../docs/strategies/degrade.md", slices.Concat(own, below)...)
}
