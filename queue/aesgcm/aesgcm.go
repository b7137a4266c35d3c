// Package aesgcm is the reference [queue.Codec]: AES-GCM with a key ID and the call's name and ID as additional data, so
// that sealed bytes open under no other call.
//
//	codec, err := aesgcm.New("2026-11", map[string][]byte{"2026-11": key, "2026-05": oldKey})
//
// Keep an old key until everything sealed with it is gone: retention of queue, dead-letter queue and spool. A key that
// only one Region's KMS can decrypt makes the queue unreadable when that Region is gone: use multi-Region keys. Under one
// key the random nonces allow 2^32 messages; rotate before.
package aesgcm

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/queue"
)

// A Codec seals with one key and opens with any it knows. It is safe for concurrent use.
type Codec struct {
	current string
	keys    map[string]cipher.AEAD
}

var _ queue.Codec = (*Codec)(nil)

// New returns a codec that seals with keys[current]. Keys have 16, 24 or 32 bytes.
func New(current string, keys map[string][]byte) (*Codec, error) {
	c := &Codec{current: current, keys: make(map[string]cipher.AEAD, len(keys))}
	for id, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("aesgcm: New: key %q: %w", id, err)
		}
		if c.keys[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("aesgcm: New: key %q: %w", id, err)
		}
	}
	if current == "" || c.keys[current] == nil {
		return nil, fmt.Errorf("aesgcm: New: no key %q to seal with", current)
	}
	return c, nil
}

// Seal implements [queue.Codec].
func (c *Codec) Seal(_ context.Context, aad string, data []byte) (sealed []byte, keyID string, err error) {
	return c.keys[c.current].Seal(make([]byte, 0, len(data)+28), nil, data, []byte(aad)), c.current, nil
}

var errUnknownKey = errors.New("key is not known here")

// Open implements [queue.Codec]. Bytes that do not open are permanent; an unknown key is not, because a deployment
// may bring it.
func (c *Codec) Open(_ context.Context, aad, keyID string, sealed []byte) ([]byte, error) {
	key := c.keys[keyID]
	if key == nil {
		return nil, fmt.Errorf("aesgcm: key %q: %w", keyID, errUnknownKey)
	}
	data, err := key.Open(nil, nil, sealed, []byte(aad))
	if err != nil {
		return nil, &openError{keyID, err}
	}
	return data, nil
}

type openError struct {
	key string
	err error
}

func (e *openError) Error() string   { return fmt.Sprintf("aesgcm: key %q: %v", e.key, e.err) }
func (e *openError) Unwrap() error   { return e.err }
func (e *openError) Permanent() bool { return true }
