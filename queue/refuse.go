package queue

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
)

// RefuseMessage returns why a queue with the given limits takes no such message, "" if it does: size, characters,
// group and delay. Transports call it before they send.
func RefuseMessage(l Limits, o *Outgoing) (problem string) {
	size := len(o.Body)
	for k, v := range o.Attributes {
		size += len(k) + len(v) + len("String")
	}
	switch {
	case o.Body == "":
		return "message is empty"
	case size > l.MessageBytes:
		return fmt.Sprintf("message has %d bytes, the limit is %d", size, l.MessageBytes)
	case l.FIFO && o.Group == "":
		return "a FIFO queue needs a group"
	case !l.FIFO && o.Group != "":
		return "groups need a FIFO queue"
	case l.FIFO && time.Until(o.NotBefore) > 0:
		return "a FIFO queue delays no single message"
	}
	return refuseCharacters(o.Body)
}

// refuseCharacters finds what SQS would refuse: it takes tab, line feed, carriage return, U+0020 to U+D7FF, U+E000 to
// U+FFFD and everything above U+FFFF.
func refuseCharacters(s string) (problem string) {
	for i := 0; i < len(s); {
		if i += plain(s[i:]); i == len(s) {
			break
		}
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if c < ' ' || r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
			return fmt.Sprintf("byte %d is of no character that SQS takes", i)
		}
		i += size
	}
	return ""
}

// plain returns how many bytes of s, in eights, are ASCII and no controls.
func plain(s string) int {
	const ones = 0x0101010101010101
	b := bytesOf(s)
	n := 0
	for ; n+8 <= len(b); n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		if (x|(x-ones*' '))&(ones<<7) != 0 { // a byte above 127, or one below a space, which borrows
			break
		}
	}
	return n
}
