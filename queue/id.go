package queue

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// newID returns a UUIDv7: 48 bits of Unix milliseconds, 74 random bits.
func newID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand ends the program instead
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[:8], b[:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:], b[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// maxIDLength is the longest call ID, group and tenant: SQS's limit for deduplication and group IDs.
const maxIDLength = 128

// checkID returns what is wrong with an ID, group or tenant: SQS takes letters, digits and punctuation.
func checkID(s string) (problem string) {
	if s == "" || len(s) > maxIDLength {
		return fmt.Sprintf("has %d bytes, want 1 to %d", len(s), maxIDLength)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return fmt.Sprintf("has byte %#02x at %d, want printable ASCII without spaces", s[i], i)
		}
	}
	return ""
}

const maxNameLength = 100

// checkName returns what is wrong with a call name.
func checkName(s string) (problem string) {
	if s == "" || len(s) > maxNameLength {
		return fmt.Sprintf("has %d bytes, want 1 to %d", len(s), maxNameLength)
	}
	for _, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Sprintf("has %q, want letters, digits, '.', '_' and '-'", c)
		}
	}
	return ""
}
