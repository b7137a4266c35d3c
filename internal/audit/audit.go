// Package audit is the one shape of the records of operator actions: who, why, from, to, under which
// epoch, and where in the chain. degrade and failover write the same JSON, so that one tool reads both.
//
// A log is JSON lines. Every record carries its sequence and the SHA-256 of the line before it, so that
// a record that was changed, dropped or inserted later breaks the chain where it happened; [Verify] finds
// the place. The newest record is protected by whoever keeps the [Head]. A chain proves order and
// integrity, not authorship: it is not a signature.
package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Record is one operator action, or one that followed from it by itself, such as an expiry.
type Record struct {
	Sequence uint64     `json:"seq"`              // 1 for the first of a chain; set by [Seal]
	At       time.Time  `json:"at"`               // UTC
	Action   string     `json:"action"`           // such as "degrade.override.set"
	Subject  string     `json:"subject"`          // what was acted on, such as "feature checkout"
	Who      string     `json:"who"`              // the person, or "expiry" and the like
	Second   string     `json:"second,omitempty"` // the second person, where two are needed
	Why      string     `json:"why"`
	From     string     `json:"from"`
	To       string     `json:"to"`
	ID       string     `json:"id,omitempty"`       // of the override, decision or run
	Ticket   string     `json:"ticket,omitempty"`   // reference in another system
	Instance string     `json:"instance,omitempty"` // the process that wrote the record
	Region   string     `json:"region,omitempty"`
	Epoch    uint64     `json:"epoch,omitempty"` // the write epoch in force; 0 where there is none
	Fence    string     `json:"fence,omitempty"` // the fence token in text form
	Until    *time.Time `json:"until,omitempty"` // UTC; when the action ends by itself
	Refused  string     `json:"refused,omitempty"`
	Previous string     `json:"prev"` // hex SHA-256 of the line before; "" for the first of a chain
}

// A Head is the end of a chain: what the next record continues. The zero Head starts a chain.
type Head struct {
	Sequence uint64 `json:"seq"`
	Hash     string `json:"hash"` // hex SHA-256 of the last line
}

// Seal gives r its place after head and returns its line, without a newline, and the new head. It is
// for records kept in a store of their own; a [Log] seals by itself.
func Seal(head Head, r Record) (line []byte, next Head, err error) {
	r.Sequence, r.Previous = head.Sequence+1, head.Hash
	r.At = r.At.UTC()
	if r.Until != nil {
		until := r.Until.UTC()
		r.Until = &until
	}
	line, err = json.Marshal(r)
	if err != nil {
		return nil, head, fmt.Errorf("audit: record %d: %w", r.Sequence, err)
	}
	return line, Head{r.Sequence, sum(line)}, nil
}

func sum(line []byte) string {
	h := sha256.Sum256(line)
	return hex.EncodeToString(h[:])
}

// A Log appends records to a writer. Safe for concurrent use.
type Log struct {
	w io.Writer

	// turn holds one token: the writer's turn, and the right to use head. A channel and not a mutex,
	// because the write happens while it is held.
	turn chan struct{}
	head Head
}

// NewLog returns a log that continues head on w. A nil w keeps the chain and writes nothing.
func NewLog(w io.Writer, head Head) *Log {
	if w == nil {
		w = io.Discard
	}
	return &Log{w: w, head: head, turn: make(chan struct{}, 1)}
}

// Append seals r and writes its line in one Write. If the write fails the record is lost to the writer
// but keeps its place in the chain, so that the gap is seen by [Verify].
func (l *Log) Append(r Record) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	line, next, err := Seal(l.head, r)
	if err != nil {
		return err
	}
	l.head = next
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("audit: record %d (%s) not written: %w", next.Sequence, r.Action, err)
	}
	return nil
}

// Head returns the end of the chain.
func (l *Log) Head() Head {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return l.head
}

// ErrBroken matches errors of [Verify] that say that the chain does not hold.
var ErrBroken = errors.New("audit: chain broken")

const maxLine = 1 << 20

// Verify reads a log from start, the head before its first record, and returns its end. The error wraps
// [ErrBroken] and names the first record that does not continue the one before it. Lines are hashed as
// they are, so that records of newer versions with fields unknown here verify too.
func Verify(r io.Reader, start Head) (Head, error) {
	head := start
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		var place struct {
			Sequence uint64 `json:"seq"`
			Previous string `json:"prev"`
		}
		if err := json.Unmarshal(line, &place); err != nil {
			return head, fmt.Errorf("%w at line %d: not a record: %w", ErrBroken, n, err)
		}
		if place.Sequence != head.Sequence+1 || place.Previous != head.Hash {
			return head, fmt.Errorf("%w at line %d: record %d does not continue record %d", ErrBroken, n, place.Sequence, head.Sequence)
		}
		head = Head{place.Sequence, sum(line)}
	}
	if err := lines.Err(); err != nil {
		return head, fmt.Errorf("audit: read after record %d: %w", head.Sequence, err)
	}
	return head, nil
}
