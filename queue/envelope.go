package queue

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// An Envelope is a call on the wire: a CloudEvents 1.0 event in structured JSON. Its ID is minted before the first
// attempt to send and is the same in every queue, Region, spool and dead-letter queue.
//
//	{"specversion":"1.0","id":"…","source":"/holdfast/orders","type":"billing.charge.v1","time":"…",
//	 "datacontenttype":"application/json","data":{…},"hfversion":1,"epoch":"281474976710663","traceparent":"00-…"}
//
// Zero fields are left out.
type Envelope struct {
	ID     string    // call ID
	Name   string    // call name, with its schema version
	Source string    // the client's name
	Time   time.Time // when it was deferred

	// Data is the arguments as JSON, or the bytes a [Codec] sealed when KeyID is set. A [Deferrer] may use it
	// only until it returns.
	Data  []byte
	KeyID string

	NotBefore time.Time
	Expires   time.Time
	Group     string
	Tenant    string
	Region    string // where it was deferred
	Epoch     uint64 // write epoch it was deferred under; 0 = none known
	Forwards  int    // Regions that passed it on because their epoch had moved

	Attempt    int  // failed attempts before this copy was sent
	Repeatable bool // declared by [Repeatable]
	Ambiguous  bool // it may have run: only a worker with Once may run it, unless it is Repeatable

	TraceParent, TraceState string

	Resume   time.Time // not to be run before: put off by a worker; unlike NotBefore it makes the call no younger
	Parked   time.Time // since when no worker knew the call
	Redriven time.Time // last redrive
	RerunBy  string    // who accepted that it may run again although its idempotency marker may be gone
	ClaimSum string    // SHA-256 of the payload kept elsewhere, hex
	Claim    string    // where it is kept
	Death    *Death    // why it is in the dead-letter queue; nil elsewhere
	Version  int       // envelope version; 1
}

// A Death says why a call was dead-lettered.
type Death struct {
	Reason   Reason
	Class    string // type of the last error
	Error    string // its text, at most 1 KiB
	Stack    string // hash of a panic's stack: equal for equal places
	Attempts int
	First    time.Time // first delivery of the last copy
	At       time.Time
	Region   string
}

// envelopeVersion is what this package writes and reads.
const envelopeVersion = 1

// Key is the call's idempotency key: "<call name>/<call ID>".
func (e *Envelope) Key() string { return e.Name + "/" + e.ID }

// Append appends the encoded envelope to b. The result holds only characters that SQS accepts. Data must be
// valid JSON unless KeyID is set.
func (e *Envelope) Append(b []byte) []byte {
	b = append(b, `{"specversion":"1.0"`...)
	b = appendField(b, "id", e.ID)
	b = appendField(b, "source", e.Source)
	b = appendField(b, "type", e.Name)
	b = appendTime(b, "time", e.Time)
	b = append(b, `,"hfversion":`...)
	b = strconv.AppendInt(b, int64(max(e.Version, envelopeVersion)), 10)
	b = e.appendExtensions(b)
	b = e.Death.append(b)
	b = e.appendData(b)
	return append(b, '}')
}

// encode returns the encoded envelope, written where it stays.
func (e *Envelope) encode() string {
	b := e.Append(make([]byte, 0, e.room()))
	return unsafe.String(unsafe.SliceData(b), len(b)) // nobody writes to b again
}

// room is how long the encoded envelope of a call is that was just made, or a little more. What is not counted, such as an
// expiry and characters to escape, makes Append copy.
func (e *Envelope) room() int {
	const always, field, epoch = 151, len(`,"traceparent":""`), len(`,"epoch":""`) + 20
	const delay = len(`,"notbefore":""`) + len(time.RFC3339Nano)
	n := always + len(e.ID) + len(e.Source) + len(e.Name) + len(e.Data)
	for _, s := range [...]string{e.Region, e.Group, e.Tenant, e.TraceParent, e.TraceState} {
		if s != "" {
			n += field + len(s)
		}
	}
	if e.Epoch != 0 {
		n += epoch
	}
	if !e.NotBefore.IsZero() {
		n += delay
	}
	if e.KeyID != "" {
		n += field + len(e.KeyID) + len(`application/octet-stream_base64`) + len(e.Data)/2
	}
	return n
}

func (e *Envelope) appendData(b []byte) []byte {
	switch {
	case e.KeyID != "":
		b = append(b, `,"datacontenttype":"application/octet-stream","data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, e.Data)
		return append(b, '"')
	case len(e.Data) > 0:
		b = append(b, `,"datacontenttype":"application/json","data":`...)
		return appendJSON(b, e.Data)
	}
	return b
}

func (e *Envelope) appendExtensions(b []byte) []byte {
	b = appendTime(b, "notbefore", e.NotBefore)
	b = appendTime(b, "expires", e.Expires)
	b = appendField(b, "group", e.Group)
	b = appendField(b, "tenant", e.Tenant)
	b = appendField(b, "region", e.Region)
	if e.Epoch != 0 { // a string: CloudEvents integers have 32 bits
		b = append(b, `,"epoch":"`...)
		b = strconv.AppendUint(b, e.Epoch, 10)
		b = append(b, '"')
	}
	b = appendInt(b, "forwards", e.Forwards)
	b = appendInt(b, "attempt", e.Attempt)
	b = appendBool(b, "repeatable", e.Repeatable)
	b = appendBool(b, "ambiguous", e.Ambiguous)
	b = appendField(b, "traceparent", e.TraceParent)
	b = appendField(b, "tracestate", e.TraceState)
	b = appendTime(b, "resume", e.Resume)
	b = appendTime(b, "parked", e.Parked)
	b = appendTime(b, "redriven", e.Redriven)
	b = appendField(b, "rerunby", e.RerunBy)
	b = appendField(b, "claim", e.Claim)
	b = appendField(b, "claimsum", e.ClaimSum)
	return appendField(b, "enc", e.KeyID)
}

func (d *Death) append(b []byte) []byte {
	if d == nil {
		return b
	}
	b = appendField(b, "deadreason", string(d.Reason))
	b = appendField(b, "deadclass", d.Class)
	b = appendField(b, "deaderror", d.Error)
	b = appendField(b, "deadstack", d.Stack)
	b = appendInt(b, "deadattempts", d.Attempts)
	b = appendTime(b, "deadfirst", d.First)
	b = appendTime(b, "deadat", d.At)
	return appendField(b, "deadregion", d.Region)
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendField(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(appendKey(b, key), value)
}

func appendInt(b []byte, key string, value int) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendInt(appendKey(b, key), int64(value), 10)
}

func appendBool(b []byte, key string, value bool) []byte {
	if !value {
		return b
	}
	return append(appendKey(b, key), "true"...)
}

func appendTime(b []byte, key string, value time.Time) []byte {
	if value.IsZero() {
		return b
	}
	b = append(appendKey(b, key), '"')
	b = appendRFC3339(b, value)
	return append(b, '"')
}

// appendRFC3339 is value.UTC().AppendFormat(b, time.RFC3339Nano) at a third of its cost.
func appendRFC3339(b []byte, value time.Time) []byte {
	const day = 24 * 60 * 60
	seconds := value.Unix()
	if seconds < 0 || seconds >= 2932896*day { // not of the years 1970 to 9999
		return value.UTC().AppendFormat(b, time.RFC3339Nano)
	}
	year, month, date := civil(int(seconds / day))
	clock := int(seconds % day)
	b = append(b, 0, 0, 0, 0, '-', 0, 0, '-', 0, 0, 'T', 0, 0, ':', 0, 0, ':', 0, 0)
	s := b[len(b)-len("2006-01-02T15:04:05"):]
	two(s[0:], year/100)
	two(s[2:], year%100)
	two(s[5:], month)
	two(s[8:], date)
	two(s[11:], clock/3600)
	two(s[14:], clock/60%60)
	two(s[17:], clock%60)
	b = appendFraction(b, value.Nanosecond())
	return append(b, 'Z')
}

func two(b []byte, n int) { b[0], b[1] = byte('0'+n/10), byte('0'+n%10) }

// appendFraction appends nanoseconds without the zeroes at their end.
func appendFraction(b []byte, nanos int) []byte {
	if nanos == 0 {
		return b
	}
	digits := [10]byte{'.'}
	last := 0
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + nanos%10)
		if last == 0 && digits[i] != '0' {
			last = i
		}
		nanos /= 10
	}
	return append(b, digits[:last+1]...)
}

// civil is the date of the day that many days after 1970-01-01. Years are counted from March, so that leap days end them, and in
// eras of 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
func civil(days int) (year, month, date int) {
	days += 719468
	era, day := days/146097, days%146097
	y := (day - day/1460 + day/36524 - day/146096) / 365
	day -= 365*y + y/4 - y/100
	m := (5*day + 2) / 153
	year, month, date = 400*era+y, m+3, day-(153*m+2)/5+1
	if month > 12 {
		return year + 1, month - 12, date
	}
	return year, month, date
}

// appendString appends s as a JSON string that SQS accepts: controls, U+FFFE and U+FFFF are escaped, invalid
// UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; ; {
		n := special(s[i:])
		b = append(b, s[i:i+n]...)
		if i += n; i == len(s) {
			break
		}
		c := s[i]
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case r < ' ' || r == 0xFFFE || r == 0xFFFF:
			b = appendEscape(b, uint16(r))
		default:
			b = utf8.AppendRune(b, r) // U+FFFD for invalid bytes
		}
		i += size
	}
	return append(b, '"')
}

// special returns the position of the first byte of s that is a quote, a backslash, a control or not ASCII; len(s)
// if there is none. It looks at eight bytes at a time: a byte is zero where subtracting one borrows.
func special(s string) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	b := bytesOf(s)
	n := 0
	for ; n+8 <= len(b); n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^ones*'"', x^ones*'\\'
		found := (x | (x - ones*' ') | (quote-ones)&^quote | (slash-ones)&^slash) & high
		if found != 0 { // the lowest mark is right; a borrow may set those above it
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

func appendEscape(b []byte, r uint16) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// noncharacters begin U+FFFE and U+FFFF in UTF-8, and 62 others.
var noncharacters = []byte{0xEF, 0xBF}

// appendJSON copies valid JSON and escapes U+FFFE and U+FFFF, which JSON allows in strings and SQS refuses.
func appendJSON(b, data []byte) []byte {
	for {
		i := bytes.Index(data, noncharacters)
		if i < 0 || i+2 >= len(data) {
			return append(b, data...)
		}
		b = append(b, data[:i]...)
		if last := data[i+2]; last >= 0xBE {
			b = appendEscape(b, 0xFFC0|uint16(last&0x3F))
		} else {
			b = append(b, data[i:i+3]...)
		}
		data = data[i+3:]
	}
}
