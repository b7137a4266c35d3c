package uuid_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/uuid"
)

// Keys that other services have seen must stay what they are.
func TestChildrenStayWhatTheyAre(t *testing.T) {
	const want = "c8869496-2a51-8377-9a3f-fc62df05765a"
	text, bytes := uuid.Child("tenant", "POST /orders", "1", "charge"), uuid.Child("tenant", "POST /orders", "1", []byte("charge"))
	if text != want || bytes != want {
		t.Errorf("Child = %s of a string, %s of bytes, want %s", text, bytes, want)
	}
	if joined := uuid.Child("tenant", "POST /orders", "1c", "harge"); joined == want {
		t.Errorf("parts run together: %s", joined)
	}
}
