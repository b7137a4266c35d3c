package sqsqueue

import (
	"encoding/binary"
	"io"
	"math/bits"
	"sync"
	"unsafe"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// An answer reads the answer to a batch of which every entry was taken, in the plainest form there is:
//
//	{"Failed":[],"Successful":[{"Id":"0","MessageId":"…","MD5OfMessageBody":"…"},…]}
//
// Members may come in any order and twice, and white space may be anywhere. An escape in a string, null, a failed
// entry, a member that is not known and everything that is not JSON is for the SDK, also what is wrong with it.
type answer struct {
	body    []byte
	entries []resultEntry
	at      int
}

// A resultEntry has the places of the strings of one entry.
type resultEntry [resultMembers]span

// A span is a string in body without its quotes. Its zero value is none: the first byte is a bracket.
type span struct{ from, to int }

const (
	memberID = iota
	memberMD5
	memberMD5Attributes
	memberMD5System
	memberSequence
	memberMessageID
	resultMembers
)

// resultNames are those of the members of a resultEntry.
var resultNames = [resultMembers]string{"Id", "MD5OfMessageBody", "MD5OfMessageAttributes", "MD5OfMessageSystemAttributes", "SequenceNumber", "MessageId"}

var answers = sync.Pool{New: func() any { return &answer{body: make([]byte, 0, 4<<10)} }}

func (d *answer) recycle() {
	if cap(d.body) <= largestKept {
		answers.Put(d)
	}
}

// read reads all of r.
func (d *answer) read(r io.Reader) error {
	d.body = d.body[:0]
	for {
		if len(d.body) == cap(d.body) {
			d.body = append(d.body, 0)[:len(d.body)]
		}
		n, err := r.Read(d.body[len(d.body):cap(d.body)])
		d.body = d.body[:len(d.body)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// decode fills out, or leaves it as it is and returns false.
func (d *answer) decode(out *sqs.SendMessageBatchOutput) bool {
	d.at, d.entries = 0, d.entries[:0]
	successful, failed := false, false
	ok := d.object(func(key span) bool {
		switch d.text(key) {
		case "Successful":
			if successful {
				return false
			}
			successful = true
			return d.list(d.entry)
		case "Failed":
			failed = true
			return d.list(func() bool { return false })
		}
		return false
	})
	if !ok || d.next() != 0 {
		return false
	}
	if failed {
		out.Failed = []types.BatchResultErrorEntry{}
	}
	if successful {
		out.Successful = d.results()
	}
	return true
}

func (d *answer) entry() bool {
	d.entries = append(d.entries, resultEntry{})
	e := &d.entries[len(d.entries)-1]
	return d.object(func(key span) bool {
		for i, name := range resultNames {
			if d.text(key) == name {
				value, ok := d.string()
				e[i] = value
				return ok
			}
		}
		return false
	})
}

// results copies the strings out of body. Message IDs, which a caller may keep, are apart from the rest.
func (d *answer) results() []types.SendMessageBatchResultEntry {
	ids, rest, n := 0, 0, 0
	for i := range d.entries {
		for m, s := range d.entries[i] {
			if s.from == 0 {
				continue
			}
			n++
			if m == memberMessageID {
				ids += s.to - s.from
			} else {
				rest += s.to - s.from
			}
		}
	}
	c := copies{body: d.body, strings: make([]string, 0, n)}
	c.text[0], c.text[1] = make([]byte, 0, rest), make([]byte, 0, ids)
	out := make([]types.SendMessageBatchResultEntry, len(d.entries))
	for i := range d.entries {
		e, o := &d.entries[i], &out[i]
		o.Id, o.MD5OfMessageBody, o.SequenceNumber = c.of(e[memberID], 0), c.of(e[memberMD5], 0), c.of(e[memberSequence], 0)
		o.MD5OfMessageAttributes, o.MD5OfMessageSystemAttributes = c.of(e[memberMD5Attributes], 0), c.of(e[memberMD5System], 0)
		o.MessageId = c.of(e[memberMessageID], 1)
	}
	return out
}

// copies are strings that share their memory.
type copies struct {
	body    []byte
	text    [2][]byte
	strings []string
}

// of returns a copy of s in one of the texts.
func (c *copies) of(s span, text int) *string {
	if s.from == 0 {
		return nil
	}
	t := &c.text[text]
	*t = append(*t, c.body[s.from:s.to]...)
	c.strings = append(c.strings, shared((*t)[len(*t)-(s.to-s.from):]))
	return &c.strings[len(c.strings)-1]
}

// shared is b as a string, for as long as nobody writes to b.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (d *answer) text(s span) string { return shared(d.body[s.from:s.to]) }

// next is the next byte that is no white space, 0 at the end.
func (d *answer) next() byte {
	for ; d.at < len(d.body); d.at++ {
		switch c := d.body[d.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take passes over c if it comes next.
func (d *answer) take(c byte) bool {
	if d.next() != c {
		return false
	}
	d.at++
	return true
}

// string reads a string without escapes.
func (d *answer) string() (s span, ok bool) {
	if !d.take('"') {
		return span{}, false
	}
	for i := d.at; i < len(d.body); i++ {
		if i += unescaped(d.body[i:]); i == len(d.body) {
			break
		}
		switch c := d.body[i]; {
		case c == '"':
			s, d.at = span{d.at, i}, i+1
			return s, true
		case c < ' ' || c == '\\':
			return span{}, false
		}
	}
	return span{}, false
}

// unescaped returns how many bytes of b, eight at a time, have no quote, backslash or control among them, and how many come
// before the first in those that do. A byte is zero where subtracting one borrows.
func unescaped(b []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(b); n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^ones*'"', x^ones*'\\'
		if found := ((x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & high; found != 0 { // the lowest mark is right
			return n + bits.TrailingZeros64(found)/8
		}
	}
	return n
}

// object reads an object whose members member reads.
func (d *answer) object(member func(key span) bool) bool {
	if !d.take('{') {
		return false
	}
	if d.take('}') {
		return true
	}
	for {
		key, ok := d.string()
		if !ok || !d.take(':') || !member(key) {
			return false
		}
		if !d.take(',') {
			return d.take('}')
		}
	}
}

// list reads a list whose items item reads.
func (d *answer) list(item func() bool) bool {
	if !d.take('[') {
		return false
	}
	if d.take(']') {
		return true
	}
	for {
		if !item() {
			return false
		}
		if !d.take(',') {
			return d.take(']')
		}
	}
}
