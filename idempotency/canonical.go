package idempotency

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON that is canonicalised.
const maxDepth = 1000

// canonicalJSON marshals v and rewrites the text as RFC 8785 says.
func canonicalJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	out, err := appendCanonical(make([]byte, 0, len(text)), d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	return out, nil
}

// appendCanonical appends the decoder's next value.
func appendCanonical(out []byte, d *json.Decoder, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return appendObject(out, d, depth)
		}
		return appendArray(out, d, depth)
	case string:
		return appendString(out, token), nil
	case json.Number:
		return appendNumber(out, token.String())
	case bool:
		return strconv.AppendBool(out, token), nil
	}
	return append(out, "null"...), nil
}

func appendArray(out []byte, d *json.Decoder, depth int) ([]byte, error) {
	out = append(out, '[')
	for first := true; d.More(); first = false {
		if !first {
			out = append(out, ',')
		}
		var err error
		if out, err = appendCanonical(out, d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token() // the bracket
	return append(out, ']'), err
}

type member struct {
	name  string
	units []uint16 // RFC 8785 sorts by UTF-16 code units
	value []byte
}

func appendObject(out []byte, d *json.Decoder, depth int) ([]byte, error) {
	var members []member
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder refuses names that are not strings
		value, err := appendCanonical(nil, d, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{name, utf16.Encode([]rune(name)), value})
	}
	if _, err := d.Token(); err != nil { // the brace
		return nil, err
	}
	slices.SortFunc(members, func(a, b member) int { return slices.CompareFunc(a.units, b.units, cmp.Compare[uint16]) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return nil, fmt.Errorf("member %q is there twice", m.name)
			}
			out = append(out, ',')
		}
		out = append(appendString(out, m.name), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}

// appendString escapes what RFC 8785 escapes and nothing else.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\b':
			out = append(out, '\\', 'b')
		case c == '\f':
			out = append(out, '\\', 'f')
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < 0x20:
			out = fmt.Appendf(out, "\\u%04x", c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// appendNumber writes s as ECMAScript prints a double, and integers from 2^53 up digit by digit.
func appendNumber(out []byte, s string) ([]byte, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, err
	}
	if f == 0 {
		return append(out, '0'), nil // also minus zero
	}
	text, err := json.Marshal(f) // encoding/json prints float64 as ECMAScript does
	if err != nil {
		return nil, err
	}
	if math.Abs(f) >= 1<<53 && !strings.ContainsAny(s, ".eE") && !(bytes.ContainsRune(text, 'e') && isExact(s, f)) {
		return append(out, s...), nil // digits tell apart what a double cannot
	}
	return append(out, text...), nil
}

func isExact(s string, f float64) bool {
	i, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return false
	}
	exact, _ := new(big.Float).SetFloat64(f).Int(nil)
	return exact.Cmp(i) == 0
}
