package queue

import "context"

// A Codec seals payloads before they leave the process and opens them in the worker. Both sides must use one.
// aesgcm is a reference implementation. Methods are called concurrently, and keep nothing of the bytes that they are given: these are used again.
type Codec interface {
	// Seal returns data sealed and the ID of the key used; the ID must not be empty. aad is the call's name and ID:
	// sealed bytes must not open under another.
	Seal(ctx context.Context, aad string, data []byte) (sealed []byte, keyID string, err error)

	// Open undoes Seal. A permanent error (method Permanent) dead-letters the call as unsealed; others
	// are tried again.
	Open(ctx context.Context, aad, keyID string, sealed []byte) ([]byte, error)
}
