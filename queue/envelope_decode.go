package queue

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Decode reads an envelope. Data refers to body's memory unless it was base64: treat it as read-only. Unknown
// members are ignored, as CloudEvents asks. The error matches [ErrEnvelope].
func (e *Envelope) Decode(body string) error {
	*e = Envelope{}
	if !utf8.ValidString(body) {
		return fmt.Errorf("%w: not UTF-8", ErrEnvelope)
	}
	if !e.scan(body) {
		*e = Envelope{}
		if err := e.unmarshal(body); err != nil {
			return fmt.Errorf("%w: %w", ErrEnvelope, err)
		}
	}
	return e.check()
}

// check refuses what cannot be routed. The rules for names and IDs are those of Defer: nobody else writes here.
func (e *Envelope) check() error {
	switch {
	case e.Version < 1:
		return fmt.Errorf("%w: no hfversion", ErrEnvelope)
	case checkName(e.Name) != "":
		return fmt.Errorf("%w: type: %s", ErrEnvelope, checkName(e.Name))
	case checkID(e.ID) != "":
		return fmt.Errorf("%w: id: %s", ErrEnvelope, checkID(e.ID))
	case e.Time.IsZero():
		return fmt.Errorf("%w: no time", ErrEnvelope)
	case e.Attempt < 0 || e.Forwards < 0:
		return fmt.Errorf("%w: negative count", ErrEnvelope)
	}
	return nil
}

// scan is the fast reader: one pass, strings without escapes cut from s. It gives up, returning false, at
// anything it does not expect; unmarshal then reads the same bytes with encoding/json.
func (e *Envelope) scan(s string) bool {
	p := scanner{s: s}
	more := true
	if e.scanHead(&p) {
		more = p.take(',')
	} else if !p.take('{') {
		return false
	}
	for more {
		key, ok := p.str()
		if !ok || !p.take(':') {
			return false
		}
		value, kind, ok := p.value()
		if !ok || !e.set(key, value, kind) {
			return false
		}
		more = p.take(',')
	}
	if !p.take('}') {
		return false
	}
	p.space()
	return p.i == len(s)
}

// scanHead reads what every envelope of this package begins with, in the order of Append, by comparing and not by
// looking for members. It reports whether it has read anything; what it does not find is left to the general way.
func (e *Envelope) scanHead(p *scanner) bool {
	const begin = `{"specversion":"1.0"`
	if !strings.HasPrefix(p.s, begin) {
		return false
	}
	p.i = len(begin)
	var at string
	p.member(`,"id":"`, &e.ID)
	p.member(`,"source":"`, &e.Source)
	p.member(`,"type":"`, &e.Name)
	if start := p.i; p.member(`,"time":"`, &at) && !e.set("time", at, kindString) {
		p.i = start // the general way refuses it
	}
	if n := p.i + len(`,"hfversion":`); strings.HasPrefix(p.s[p.i:], `,"hfversion":1,`) {
		e.Version, p.i = 1, n+1
	}
	p.member(`,"region":"`, &e.Region)
	var content string
	p.member(`,"datacontenttype":"`, &content)
	return true
}

// member reads a string member if it is what comes next, begin being all up to the text.
func (p *scanner) member(begin string, field *string) bool {
	rest := p.s[p.i:]
	if !strings.HasPrefix(rest, begin) {
		return false
	}
	n := len(begin) + special(rest[len(begin):])
	if n == len(rest) || rest[n] != '"' {
		return false
	}
	*field = rest[len(begin):n]
	p.i += n + 1
	return true
}

// unmarshal reads any valid JSON object.
func (e *Envelope) unmarshal(s string) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(bytesOf(s), &members); err != nil {
		return err
	}
	for key, raw := range members {
		value, kind := string(raw), kindOther
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &value); err != nil {
				return err
			}
			kind = kindString
		}
		if !e.set(key, value, kind) {
			return fmt.Errorf("member %q has a wrong type or value", key)
		}
	}
	return nil
}

type valueKind uint8

const (
	kindOther  valueKind = iota // the raw text of a number, literal, object or array
	kindString                  // the text between the quotes
)

// set stores one member and reports whether its type and value fit.
func (e *Envelope) set(key, value string, kind valueKind) bool {
	if key == "data" {
		if kind == kindString { // JSON text again: strings are valid arguments
			e.Data = appendString(nil, value)
		} else {
			e.Data = bytesOf(value)
		}
		return true
	}
	if field := e.stringField(key); field != nil {
		*field = value
		return kind == kindString
	}
	if field := e.timeField(key); field != nil {
		t, err := time.Parse(time.RFC3339Nano, value)
		*field = t.UTC()
		return err == nil && kind == kindString
	}
	return e.setNumber(key, value, kind)
}

func (e *Envelope) stringField(key string) *string {
	switch key {
	case "id":
		return &e.ID
	case "type":
		return &e.Name
	case "source":
		return &e.Source
	case "group":
		return &e.Group
	case "tenant":
		return &e.Tenant
	case "region":
		return &e.Region
	case "traceparent":
		return &e.TraceParent
	case "tracestate":
		return &e.TraceState
	case "enc":
		return &e.KeyID
	case "claim":
		return &e.Claim
	case "claimsum":
		return &e.ClaimSum
	case "rerunby":
		return &e.RerunBy
	}
	return e.deathField(key)
}

func (e *Envelope) deathField(key string) *string {
	if !strings.HasPrefix(key, "dead") {
		return nil
	}
	switch key {
	case "deadreason":
		return (*string)(&e.death().Reason)
	case "deadclass":
		return &e.death().Class
	case "deaderror":
		return &e.death().Error
	case "deadstack":
		return &e.death().Stack
	case "deadregion":
		return &e.death().Region
	}
	return nil
}

func (e *Envelope) death() *Death {
	if e.Death == nil {
		e.Death = &Death{}
	}
	return e.Death
}

func (e *Envelope) timeField(key string) *time.Time {
	switch key {
	case "time":
		return &e.Time
	case "notbefore":
		return &e.NotBefore
	case "expires":
		return &e.Expires
	case "resume":
		return &e.Resume
	case "parked":
		return &e.Parked
	case "redriven":
		return &e.Redriven
	case "deadfirst":
		return &e.death().First
	case "deadat":
		return &e.death().At
	}
	return nil
}

func (e *Envelope) setNumber(key, value string, kind valueKind) (ok bool) {
	var err error
	switch key {
	case "specversion":
		return kind == kindString && strings.HasPrefix(value, "1.")
	case "data_base64":
		e.Data, err = base64.StdEncoding.AppendDecode(nil, bytesOf(value))
		return err == nil && kind == kindString
	case "epoch":
		e.Epoch, err = strconv.ParseUint(value, 10, 64)
		return err == nil && kind == kindString
	case "hfversion":
		return setInt(&e.Version, value, kind)
	case "attempt":
		return setInt(&e.Attempt, value, kind)
	case "forwards":
		return setInt(&e.Forwards, value, kind)
	case "deadattempts":
		return setInt(&e.death().Attempts, value, kind)
	case "repeatable":
		e.Repeatable = value == "true"
		return kind == kindOther && (value == "true" || value == "false")
	case "ambiguous":
		e.Ambiguous = value == "true"
		return kind == kindOther && (value == "true" || value == "false")
	}
	return true
}

func setInt(field *int, value string, kind valueKind) bool {
	n, err := strconv.ParseInt(value, 10, 32)
	*field = int(n)
	return err == nil && kind == kindOther
}

// A scanner cuts a flat JSON object without copying.
type scanner struct {
	s string
	i int
}

func (p *scanner) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\n' || p.s[p.i] == '\t' || p.s[p.i] == '\r') {
		p.i++
	}
}

func (p *scanner) take(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] <= ' ' {
		p.space()
	}
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

// str reads a string without escapes and controls.
func (p *scanner) str() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	start := p.i
	for {
		p.i += special(p.s[p.i:])
		if p.i == len(p.s) {
			return "", false
		}
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return p.s[start : p.i-1], true
		case c < utf8.RuneSelf: // a backslash or a control
			return "", false
		}
		p.i++
	}
}

// value reads any value; of objects and arrays only the nesting is checked.
func (p *scanner) value() (string, valueKind, bool) {
	p.space()
	if p.i >= len(p.s) {
		return "", kindOther, false
	}
	start := p.i
	switch p.s[p.i] {
	case '"':
		s, ok := p.str()
		return s, kindString, ok
	case '{', '[':
		ok := p.nested()
		return p.s[start:p.i], kindOther, ok
	}
	for p.i < len(p.s) && strings.IndexByte(",}] \n\t\r", p.s[p.i]) < 0 {
		p.i++
	}
	return p.s[start:p.i], kindOther, literal(p.s[start:p.i])
}

// literal reports whether s is a number, true, false or null.
func literal(s string) bool {
	if len(s) == 1 {
		return s[0] >= '0' && s[0] <= '9'
	}
	return s == "true" || s == "false" || json.Valid(bytesOf(s))
}

// nested skips an object or array.
func (p *scanner) nested() bool {
	depth := 0
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				p.i++
				return true
			}
		case '"':
			if !p.skipString() {
				return false
			}
			continue
		}
		p.i++
	}
	return false
}

func (p *scanner) skipString() bool {
	for p.i++; p.i < len(p.s); p.i++ {
		if p.i += special(p.s[p.i:]); p.i == len(p.s) {
			return false
		}
		switch p.s[p.i] {
		case '\\':
			p.i++
		case '"':
			p.i++
			return true
		}
	}
	p.i = len(p.s) // an escape may have led beyond
	return false
}

// bytesOf views s as bytes that nobody may write to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
