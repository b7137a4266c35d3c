package sqstest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A content is what a producer sent, checked: it never changes after that.
type content struct {
	body     string
	bodyMD5  string
	fields   map[string]attribute
	fieldMD5 string
	trace    string
	traceMD5 string
	size     int
}

// A message is one stored copy of a content.
type message struct {
	*content
	num      uint64 // identity in the server; receipt handles carry it
	id       string // MessageId
	group    string
	dedup    string
	sequence uint64 // place among all messages of the Region; a FIFO queue's SequenceNumber
	sender   string
	source   string // ARN of the queue it was dead-lettered from

	state     state
	sent      time.Time // as told to consumers
	kept      time.Time // retention counts from here
	visibleAt time.Time // end of its delay or lease
	leasedAt  time.Time // last receive
	first     time.Time // first receive, as told to consumers
	receives  int       // in all queues
	here      int       // in this queue; the redrive policy counts these
	receipt   uint64    // of the last receive; older handles are stale
	doubled   bool      // a fault made a twin of it: once is enough
	touched   bool      // its lease was changed: a receive attempt cannot be repeated

	lane    *lane
	order   uint64 // place in its lane
	inLane  int
	inTimer int
	inAge   int
}

type state uint8

const (
	stateDelayed state = iota
	stateVisible
	stateInFlight
)

// check validates what a producer sent and computes its digests. It needs no queue.
func (e *entry) check() (*content, *apiError) {
	if e.MessageBody == "" {
		return nil, missing("MessageBody")
	}
	if !allowed(e.MessageBody) {
		return nil, errContents.with("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	}
	if len(e.MessageAttributes) > messageFields {
		return nil, errParameter.with("Number of message attributes [%d] exceeds the allowed maximum [%d].", len(e.MessageAttributes), messageFields)
	}
	c := &content{body: e.MessageBody, fields: e.MessageAttributes, size: len(e.MessageBody)}
	for name, field := range e.MessageAttributes {
		if err := field.check(name); err != nil {
			return nil, err
		}
		c.size += len(name) + len(field.DataType) + len(field.value())
	}
	trace, err := traceHeader(e.MessageSystemAttributes)
	if err != nil {
		return nil, err
	}
	c.trace = trace
	sum := md5.Sum([]byte(c.body))
	c.bodyMD5 = hex.EncodeToString(sum[:])
	c.fieldMD5 = digest(e.MessageAttributes)
	c.traceMD5 = digest(e.MessageSystemAttributes)
	return c, nil
}

// allowed reports whether every character may stand in a message: those of XML 1.0.
func allowed(s string) bool {
	for _, r := range s {
		switch {
		case r < 0x20 && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			return false
		}
	}
	return true
}

func (a attribute) binary() bool { return dataType(a.DataType) == "Binary" }

func (a attribute) value() string {
	if a.binary() {
		return string(a.BinaryValue)
	}
	if a.StringValue == nil {
		return ""
	}
	return *a.StringValue
}

// dataType strips the custom label of a type such as "Number.price".
func dataType(s string) string {
	base, _, _ := strings.Cut(s, ".")
	return base
}

func (a attribute) check(name string) *apiError {
	if !fieldNameOK(name) {
		return errParameter.with("Invalid message attribute name %q: letters, digits, _, - and single inner periods, at most %d, not starting with AWS. or Amazon.", name, fieldName)
	}
	if a.StringListValues != nil || a.BinaryListValues != nil {
		return errUnsupported.with("Message attribute list values in SendMessage operation are not supported.")
	}
	if len(a.DataType) > fieldName {
		return errParameter.with("The type of message attribute %q is longer than %d characters.", name, fieldName)
	}
	switch dataType(a.DataType) {
	case "String", "Number", "Binary":
	default:
		return errParameter.with("The message attribute %q has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
	}
	value := a.value()
	if value == "" {
		return errParameter.with("The message attribute %q must contain a non-empty message attribute value for its type.", name)
	}
	if dataType(a.DataType) == "Number" {
		if _, err := strconv.ParseFloat(value, 64); err != nil || !only(value, decimal) {
			return errParameter.with("Can't cast the value of message attribute %q to a number.", name)
		}
	}
	if !a.binary() && !allowed(value) {
		return errContents.with("The value of message attribute %q has invalid characters.", name)
	}
	return nil
}

func fieldNameOK(name string) bool {
	lower := strings.ToLower(name)
	if name == "" || len(name) > fieldName || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
		return false
	}
	if name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return false
	}
	return only(name, wordDashDot)
}

func traceHeader(system map[string]attribute) (string, *apiError) {
	for name, field := range system {
		if name != "AWSTraceHeader" {
			return "", errParameter.with("Message system attribute name %q is invalid: only AWSTraceHeader is supported.", name)
		}
		if field.DataType != "String" {
			return "", errParameter.with("The message system attribute AWSTraceHeader must have the type String.")
		}
		if field.value() == "" {
			return "", errParameter.with("The message system attribute AWSTraceHeader must contain a non-empty value.")
		}
	}
	return system["AWSTraceHeader"].value(), nil
}

// digest is the MD5 of message attributes as the developer guide defines it ("Calculating the MD5
// message digest for message attributes"); empty for none.
func digest(fields map[string]attribute) string {
	if len(fields) == 0 {
		return ""
	}
	var buf []byte
	add := func(s string) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		field := fields[name]
		add(name)
		add(field.DataType)
		if field.binary() {
			buf = append(buf, 2)
		} else {
			buf = append(buf, 1)
		}
		add(field.value())
	}
	sum := md5.Sum(buf)
	return hex.EncodeToString(sum[:])
}

func (c *content) contentID() string {
	sum := sha256.Sum256([]byte(c.body))
	return hex.EncodeToString(sum[:])
}

// The sets of characters that names and ids may be made of.
const (
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	wordDash     = alphanumeric + "-_"
	wordDashDot  = wordDash + "."
	decimal      = "0123456789+-.eE"
	printable    = alphanumeric + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

func only(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

func tokenOK(s string) bool { return len(s) <= tokenLength && only(s, printable) }
