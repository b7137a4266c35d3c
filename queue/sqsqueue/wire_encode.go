package sqsqueue

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// canEncode reports whether encode knows all of input: attributes are maps, which the SDK writes in any order.
func canEncode(input *sqs.SendMessageBatchInput) bool {
	for i := range input.Entries {
		if e := &input.Entries[i]; e.MessageAttributes != nil || e.MessageSystemAttributes != nil {
			return false
		}
	}
	return input.Entries != nil && input.QueueUrl != nil
}

// requests are where bodies are written; what is sent is a copy, because an HTTP client may read it after it has answered.
var requests = sync.Pool{New: func() any { return new([]byte) }}

const largestKept = 256 << 10

// encoded is what the SDK's protocol writes for input.
func encoded(input *sqs.SendMessageBatchInput) []byte {
	scratch := requests.Get().(*[]byte)
	b := encode((*scratch)[:0], input)
	body := append([]byte(nil), b...)
	if cap(b) <= largestKept {
		*scratch = b
	}
	requests.Put(scratch)
	return body
}

func encode(b []byte, input *sqs.SendMessageBatchInput) []byte {
	b = append(b, `{"Entries":[`...)
	for i := range input.Entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = encodeEntry(b, &input.Entries[i])
	}
	b = append(b, `],"QueueUrl":`...)
	b = encodeString(b, *input.QueueUrl)
	return append(b, '}')
}

func encodeEntry(b []byte, e *types.SendMessageBatchRequestEntry) []byte {
	from := len(b)
	if e.DelaySeconds != 0 {
		b = append(b, `,"DelaySeconds":`...)
		b = strconv.AppendInt(b, int64(e.DelaySeconds), 10)
	}
	b = encodeMember(b, `,"Id":`, e.Id)
	b = encodeMember(b, `,"MessageBody":`, e.MessageBody)
	b = encodeMember(b, `,"MessageDeduplicationId":`, e.MessageDeduplicationId)
	b = encodeMember(b, `,"MessageGroupId":`, e.MessageGroupId)
	if len(b) == from {
		b = append(b, ',')
	}
	b[from] = '{' // for the first comma
	return append(b, '}')
}

func encodeMember(b []byte, key string, value *string) []byte {
	if value == nil {
		return b
	}
	return encodeString(append(b, key...), *value)
}

const hexDigits = "0123456789abcdef"

// encodeString appends s as a JSON string in the SDK's way: controls and DEL are escaped, of them tab, line feed and carriage
// return by a letter, also U+2028 and U+2029; invalid UTF-8 becomes U+FFFD.
func encodeString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; ; {
		b, i = encodePlain(b, s, i)
		if i == len(s) {
			return append(b, '"')
		}
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b, i = encodeRunes(b, s, i)
			continue
		}
		i++
	}
}

// encodeRunes appends s from i up to the first byte that is ASCII, and returns where that is.
func encodeRunes(b []byte, s string, i int) ([]byte, int) {
	from := i
	for i < len(s) && s[i] >= utf8.RuneSelf {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[from:i]...), "\ufffd"...)
			from = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), '\\', 'u', '2', '0', '2', hexDigits[r&15])
			from = i + size
		}
		i += size
	}
	return append(b, s[from:i]...), i
}

// encodePlain appends s from i up to the first byte that is a control, a quote, a backslash, DEL or not ASCII, and returns where
// that is. Eight bytes at a time are copied and looked at: a byte is zero where subtracting one borrows.
func encodePlain(b []byte, s string, i int) ([]byte, int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(s) {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 | uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash, del := x^ones*'"', x^ones*'\\', x^ones*0x7F
		found := (x | (x - ones*' ') | (quote-ones)&^quote | (slash-ones)&^slash | (del-ones)&^del) & high
		b = binary.LittleEndian.AppendUint64(b, x)
		if found != 0 { // the lowest mark is right; a borrow may set those above it
			n := bits.TrailingZeros64(found) / 8
			return b[:len(b)-8+n], i + n
		}
		i += 8
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7F || c == '"' || c == '\\' {
			break
		}
		b = append(b, s[i])
	}
	return b, i
}
