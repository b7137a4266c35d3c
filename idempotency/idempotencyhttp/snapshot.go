package idempotencyhttp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// A snapshot is a stored response: the length of its head as a uvarint, the head as JSON, the body.
type snapshot struct {
	head
	body []byte
}

type head struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Gone   string      `json:"gone,omitempty"` // why the body is not here
}

var errSnapshot = errors.New("malformed snapshot")

// encode appends a snapshot to b, or makes one that has enough room. It sorts own, which may be nil.
func encode(b []byte, status int, own fields, gone string, body []byte) []byte {
	var room [1024]byte // for most heads; larger ones take memory
	text := appendHead(room[:0], status, own, gone)
	if length := len(text) + len(body) + binary.MaxVarintLen32; length > cap(b)-len(b) {
		b = make([]byte, 0, length)
	}
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(append(b, text...), body...)
}

// appendHead writes what encoding/json makes of a head.
func appendHead(b []byte, status int, own fields, gone string) []byte {
	b = strconv.AppendInt(append(b, `{"status":`...), int64(status), 10)
	if len(own) > 0 {
		own.sort()
		b = append(b, `,"header":`...)
		for i := range own {
			b = append(b, "{,"[min(i, 1)])
			b = append(appendString(b, own[i].name), ':')
			b = appendValues(b, own[i].values())
		}
		b = append(b, '}')
	}
	if gone != "" {
		b = appendString(append(b, `,"gone":`...), gone)
	}
	return append(b, '}')
}

func appendValues(b []byte, values []string) []byte {
	if values == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}

// appendString leaves to encoding/json what needs escaping.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string: never fails
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func parseSnapshot(b []byte) (s snapshot, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return s, errSnapshot
	}
	text, body := b[size:size+int(n)], b[size+int(n):]
	if err := json.Unmarshal(text, &s.head); err != nil {
		return s, err
	}
	if s.Status < 200 || s.Status > 999 {
		return s, errSnapshot
	}
	s.body = body
	return s, nil
}

// write replays the response.
func (s *snapshot) write(w http.ResponseWriter) {
	for name, values := range s.Header {
		w.Header()[name] = values
	}
	w.Header().Set(ReplayedHeader, "true")
	if bodyAllowed(s.Status) {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.body)))
	}
	w.WriteHeader(s.Status)
	if len(s.body) > 0 {
		_, _ = w.Write(s.body) // the client may have gone
	}
}

// bodyAllowed is net/http's rule.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
