// Package uuid writes UUIDs (RFC 9562) and derives them from keys.
package uuid

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Length is that of a UUID in the usual form.
const Length = 36

// Format sets version and variant and returns u in the usual form.
func Format(u [16]byte, version byte) string {
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	var text [Length]byte
	Put(text[:], u)
	return string(text[:])
}

// Put writes u, whose version and variant are set, to the first [Length] bytes of text.
func Put(text []byte, u [16]byte) {
	_ = text[Length-1]
	hex.Encode(text[:8], u[:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
}

// Child returns the key of the call op within the call that scope, operation and id name: a UUIDv8. It hashes each part behind its length, so that
// no two lists of parts run together. Op is a string or its bytes, whichever the caller has.
func Child[Op string | []byte](scope, operation, id string, op Op) string {
	var room [512]byte // for most keys; longer ones take memory
	b := room[:0]
	for _, part := range [...]string{"holdfast child key", scope, operation, id} {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
	}
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(op))), op...)
	sum := sha256.Sum256(b)
	return Format([16]byte(sum[:16]), 8)
}
