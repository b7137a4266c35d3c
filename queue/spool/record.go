package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/holdfast-go/holdfast/queue"
)

// A record on disk: 4 bytes length of what follows the checksum, 4 bytes CRC-32C of the length and of that, then 8 bytes
// sequence, 1 byte kind, and the body. Numbers are little-endian.
const (
	headerSize = 8
	fixedSize  = 9
	maxRecord  = 4 << 20
)

type kind byte

const (
	kindMessage kind = 1 // a queue.Outgoing
	kindSettled kind = 2 // no body: the sequence is settled
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends a record with the given body to b.
func appendRecord(b []byte, sequence uint64, k kind, body func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, headerSize)...)
	b = binary.LittleEndian.AppendUint64(b, sequence)
	b = append(b, byte(k))
	if body != nil {
		b = body(b)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-headerSize))
	binary.LittleEndian.PutUint32(b[start+4:], checksum(b[start:]))
	return b
}

// checksum covers the length and everything after the checksum itself.
func checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(record[:4], castagnoli), castagnoli, record[headerSize:])
}

// parseRecord reads the record at the start of b. n is its size; 0 means there is no whole, undamaged record here.
func parseRecord(b []byte) (sequence uint64, k kind, body []byte, n int) {
	if len(b) < headerSize+fixedSize {
		return 0, 0, nil, 0
	}
	size := int(binary.LittleEndian.Uint32(b))
	if size < fixedSize || size > maxRecord || headerSize+size > len(b) {
		return 0, 0, nil, 0
	}
	record := b[:headerSize+size]
	if binary.LittleEndian.Uint32(b[4:]) != checksum(record) {
		return 0, 0, nil, 0
	}
	k = kind(record[16])
	if k != kindMessage && k != kindSettled {
		return 0, 0, nil, 0
	}
	return binary.LittleEndian.Uint64(record[8:]), k, record[headerSize+fixedSize:], len(record)
}

// appendMessage is the body of a kindMessage record: the time of Append, then the fields.
func appendMessage(b []byte, o *queue.Outgoing, at time.Time) []byte {
	b = binary.AppendVarint(b, at.UnixNano())
	b = appendInstant(b, o.NotBefore)
	b = appendInstant(b, o.Expires)
	for _, s := range []string{o.CallID, o.Group, o.Tenant, o.Body} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// appendInstant writes 0 for the zero time.
func appendInstant(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// parseMessage reads what appendMessage wrote. Attributes are not kept: only dead letters have them.
func parseMessage(b []byte) (o queue.Outgoing, at time.Time, err error) {
	r := reader{b: b}
	at, o.NotBefore, o.Expires = r.instant(), r.instant(), r.instant()
	o.CallID, o.Group, o.Tenant, o.Body = r.text(), r.text(), r.text(), r.text()
	if r.bad || len(r.b) > 0 {
		return o, at, fmt.Errorf("spool: record does not hold a message")
	}
	return o, at, nil
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) instant() time.Time {
	v := r.nanoseconds()
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v).UTC()
}

// nanoseconds reads an instant since 1970; 0 is none.
func (r *reader) nanoseconds() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b)-n) {
		r.bad = true
		return ""
	}
	s := string(r.b[n : n+int(v)])
	r.b = r.b[n+int(v):]
	return s
}

// skipInstant passes over an instant.
func (r *reader) skipInstant() {
	if len(r.b) > 0 && r.b[0] == 0 {
		r.b = r.b[1:]
		return
	}
	r.instant()
}

// skip passes over a text.
func (r *reader) skip() {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b)-n) {
		r.bad = true
		return
	}
	r.b = r.b[n+int(v):]
}
