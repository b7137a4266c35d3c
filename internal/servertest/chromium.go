//go:build unix

package servertest

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/chromium"
	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// Chromium starts a headless Chromium with an empty profile. It ends with t. It skips the test with -short and where
// none is installed.
func Chromium(t testing.TB) *chromium.Browser {
	t.Helper()
	b, err := chromium.Open(t.Context(), ChromiumProgram(t))
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("servertest: %v", err)
		}
	})
	return b
}

// ChromiumProgram returns the program that [Chromium] starts, and skips as it does.
func ChromiumProgram(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("kit chromium: no browser with -short")
	}
	program, err := servers.FindChromium()
	if err != nil {
		skip(t, "chromium", err.Error())
	}
	return program
}
