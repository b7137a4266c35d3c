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

func (s snapshot) encode() []byte {
	text, _ := json.Marshal(s.head) // strings and a number: never fails
	b := binary.AppendUvarint(make([]byte, 0, len(text)+len(s.body)+binary.MaxVarintLen32), uint64(len(text)))
	return append(append(b, text...), s.body...)
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
