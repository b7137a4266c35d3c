package aesgcm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

func TestSealOpen(t *testing.T) {
	key, old := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)
	c, err := New("new", map[string][]byte{"new": key, "old": old})
	if err != nil {
		t.Fatal(err)
	}
	sealed, id, err := c.Seal(t.Context(), "call/1", []byte("secret"))
	if err != nil || id != "new" || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("Seal = %q, %q, %v", sealed, id, err)
	}
	if got, err := c.Open(t.Context(), "call/1", "new", sealed); err != nil || string(got) != "secret" {
		t.Errorf("Open = %q, %v", got, err)
	}
	if again, _, _ := c.Seal(t.Context(), "call/1", []byte("secret")); bytes.Equal(again, sealed) {
		t.Error("the same nonce twice")
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() error{
		"damaged":      func() error { _, err := c.Open(t.Context(), "call/1", "new", damaged); return err },
		"another call": func() error { _, err := c.Open(t.Context(), "call/2", "new", sealed); return err },
		"another key":  func() error { _, err := c.Open(t.Context(), "call/1", "old", sealed); return err },
		"cut":          func() error { _, err := c.Open(t.Context(), "call/1", "new", sealed[:5]); return err },
	} {
		if err := open(); err == nil || !outcome.Permanent(err) {
			t.Errorf("%s: %v, want a permanent error", name, err)
		}
	}
	if _, err := c.Open(t.Context(), "call/1", "next", sealed); !errors.Is(err, errUnknownKey) || outcome.Permanent(err) {
		t.Errorf("unknown key: %v, want an error that a deployment can heal", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, keys := range map[string]map[string][]byte{"no key": nil, "short key": {"k": {1}}, "another key": {"x": make([]byte, 16)}} {
		if _, err := New("k", keys); err == nil {
			t.Errorf("%s: New succeeds", name)
		}
	}
}
