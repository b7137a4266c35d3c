package queue

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/holdfast-go/holdfast/internal/uuid"
)

// newID returns a UUIDv7: 48 bits of Unix milliseconds, 12 bits of the fraction of the millisecond (RFC 9562, method 3),
// 62 random bits. The fraction keeps apart what two clones of one virtual machine mint with the same entropy read ahead,
// unless they do it within the same quarter of a microsecond.
func newID(now time.Time) string {
	m := mints.Get().(*mint)
	defer mints.Put(m)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16|0x7000|uint64(now.Nanosecond()%1e6)<<12/1e6)
	m.random(b[8:])
	b[8] = b[8]&0x3f | 0x80
	s := m.space()
	uuid.Put(s, b)
	return unsafe.String(&s[0], len(s)) // nobody writes to s again
}

// A mint is what many IDs share: random bytes read ahead, because reading for every ID would be a third of the cost of a
// call, and memory for a few IDs.
type mint struct {
	entropy [512]byte
	left    int
	memory  []byte
}

var mints = sync.Pool{New: func() any { return new(mint) }}

// random fills b, at most 512 bytes.
func (m *mint) random(b []byte) {
	if m.left < len(b) {
		_, _ = rand.Read(m.entropy[:]) // never fails: crypto/rand ends the program instead
		m.left = len(m.entropy)
	}
	m.left -= len(b)
	copy(b, m.entropy[m.left:])
}

const idLength, idsTogether = uuid.Length, 7 // 252 bytes: whoever keeps one ID keeps no more than that

// space returns memory for an ID, never handed out before.
func (m *mint) space() []byte {
	if len(m.memory) < idLength {
		m.memory = make([]byte, idsTogether*idLength)
	}
	s := m.memory[:idLength:idLength]
	m.memory = m.memory[idLength:]
	return s
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
