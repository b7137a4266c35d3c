package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Attributes of a message in the dead-letter queue. They can be read without opening the body, and they are all
// that says why a body that is no envelope is there.
const (
	AttributeReason   = "holdfast.reason"
	AttributeClass    = "holdfast.class"
	AttributeAttempts = "holdfast.attempts"
	AttributeCall     = "holdfast.call"
	AttributeRegion   = "holdfast.region"
)

// Outgoing is the letter as a message for the dead-letter queue, for implementers of [Transport].
func (l *DeadLetter) Outgoing() Outgoing {
	o := Outgoing{CallID: l.CallID, Body: l.Body, DedupID: copyID(l.CallID, l.Message), Group: l.Message.Group, Tenant: l.Message.Tenant, Attributes: map[string]string{
		AttributeReason:   string(l.Reason),
		AttributeAttempts: strconv.Itoa(l.Attempts),
	}}
	for key, value := range map[string]string{AttributeClass: l.Class, AttributeCall: l.Call, AttributeRegion: l.Message.Region} {
		if value != "" { // SQS refuses empty attributes
			o.Attributes[key] = value
		}
	}
	return o
}

// copyID is a deduplication ID for a copy of m that a FIFO queue must not take for the call's first message: a call may
// be dead, redriven and dead again within the five minutes of deduplication.
func copyID(callID string, m *Message) string {
	h := sha256.Sum256([]byte(callID + "\x00" + m.Region + "\x00" + m.ID))
	return hex.EncodeToString(h[:])
}

// deadBySending is Dead in terms of Send and Delete. What could not be sent is not deleted.
func deadBySending(ctx context.Context, letters []DeadLetter, send func(context.Context, []Outgoing) []SendResult,
	remove func(context.Context, []*Message) []error,
) []error {
	out := make([]Outgoing, len(letters))
	for i := range letters {
		out[i] = letters[i].Outgoing()
	}
	errs := make([]error, len(letters))
	var sent []*Message
	var at []int
	for i, r := range send(ctx, out) {
		if errs[i] = r.Err; r.Err == nil {
			sent, at = append(sent, letters[i].Message), append(at, i)
		}
	}
	for j, err := range remove(ctx, sent) {
		errs[at[j]] = err
	}
	return errs
}

// newDeath is the death certificate of e.
func newDeath(m *Message, reason Reason, attempts int, err error) *Death {
	d := &Death{Reason: reason, Attempts: attempts, First: m.FirstReceived.UTC(), At: time.Now().UTC(), Region: m.Region}
	if err != nil {
		d.Class = errorClass(err)
		d.Error = truncate(err.Error(), 1024)
	}
	if p, ok := asPanic(err); ok {
		d.Stack = stackHash(p.Stack)
	}
	return d
}

// truncate cuts s to n bytes at a character's start.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// stackHash is equal for panics at the same place: addresses and goroutine numbers are left out.
func stackHash(stack []byte) string {
	h := sha256.New()
	for line := range bytes.SplitSeq(stack, []byte{'\n'}) {
		if len(line) > 0 && line[0] == '\t' {
			h.Write(beforeAddress(line))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// errorClass is the type of the innermost error that is not an anonymous wrapper.
func errorClass(err error) string {
	class := fmt.Sprintf("%T", err)
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return class
		}
		err = u.Unwrap()
		class = fmt.Sprintf("%T", err)
	}
}

// beforeAddress cuts " +0x1d" from a line of a stack.
func beforeAddress(line []byte) []byte {
	if i := bytes.LastIndex(line, []byte(" +0x")); i >= 0 {
		return line[:i]
	}
	return line
}

func asPanic(err error) (*PanicError, bool) { return errors.AsType[*PanicError](err) }
