package queue

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

// newID returns a UUIDv7: 48 bits of Unix milliseconds, 12 bits of the fraction of the millisecond (RFC 9562, method 3),
// 62 random bits. The fraction keeps apart what two clones of one virtual machine mint with the same entropy read ahead,
// unless they do it within the same quarter of a microsecond.
func newID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16|0x7000|uint64(now.Nanosecond()%1e6)<<12/1e6)
	random(b[8:])
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

// entropy is random bytes read ahead: reading for every ID would be a third of the cost of a call.
type entropy struct {
	bytes [512]byte
	left  int
}

var entropies = sync.Pool{New: func() any { return new(entropy) }}

// random fills b, at most 512 bytes.
func random(b []byte) {
	e := entropies.Get().(*entropy)
	if e.left < len(b) {
		_, _ = rand.Read(e.bytes[:]) // never fails: crypto/rand ends the program instead
		e.left = len(e.bytes)
	}
	e.left -= len(b)
	copy(b, e.bytes[e.left:])
	entropies.Put(e)
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
