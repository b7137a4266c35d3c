package queue

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
	"unsafe"
)

// RefuseMessage returns why a queue with the given limits takes no such message, "" if it does: size, characters,
// group and delay. Transports call it before they send.
func RefuseMessage(l Limits, o *Outgoing) (problem string) {
	if problem = refuseShape(&l, o); problem != "" || o.isChecked() {
		return problem
	}
	return refuseCharacters(o.Body)
}

// refuseShape finds all but refused characters.
func refuseShape(l *Limits, o *Outgoing) (problem string) {
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
	return ""
}

// isChecked reports whether the characters of this very body have been checked: it lies where the checked one does.
func (o *Outgoing) isChecked() bool {
	return len(o.checked) == len(o.Body) && unsafe.StringData(o.checked) == unsafe.StringData(o.Body)
}

// refuseCharacters finds what SQS would refuse: it takes tab, line feed, carriage return, U+0020 to U+D7FF, U+E000 to
// U+FFFD and everything above U+FFFF.
func refuseCharacters(s string) (problem string) {
	for i := 0; i < len(s); {
		if i += plain(bytesOf(s[i:])); i == len(s) {
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

// plain returns how many bytes of b are ASCII and no controls: all, or some up to the first other one.
func plain(b []byte) (n int) {
	for ; len(b)-n >= 32; n += 32 {
		x := b[n : n+32 : n+32]
		if odd(x)|odd(x[8:])|odd(x[16:])|odd(x[24:]) != 0 {
			break
		}
	}
	for ; len(b)-n >= 8; n += 8 {
		if odd(b[n:]) != 0 {
			return n
		}
	}
	for ; n < len(b); n++ {
		if b[n] < ' ' || b[n] >= utf8.RuneSelf {
			break
		}
	}
	return n
}

// odd is not zero if one of the first eight bytes of b is above 127 or below a space, which borrows.
func odd(b []byte) uint64 {
	const ones = 0x0101010101010101
	x := binary.LittleEndian.Uint64(b)
	return (x | (x - ones*' ')) & (ones << 7)
}
