//go:build !unix

package servertest

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/chromium"
)

// Chromium skips the test: driving a browser needs Linux or another Unix.
func Chromium(t testing.TB) *chromium.Browser {
	t.Helper()
	skip(t, "chromium", "driving a browser needs Linux or another Unix")
	return nil
}
