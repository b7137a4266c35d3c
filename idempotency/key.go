package idempotency

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// MaxKeyLength is the longest Scope, Op or ID, in bytes.
const MaxKeyLength = 255

// A Key names one logical call. Two calls with equal Scope, Op and ID are the same call; the
// fingerprint must then be equal too, or the second is refused with [ErrMismatch].
//
// Scope, Op and ID are printable ASCII (0x20 to 0x7e) of at most [MaxKeyLength] bytes; ID is not empty.
type Key struct {
	Scope       string // who calls, such as a tenant; empty for none
	Op          string // what is called, such as "POST /orders"; empty for none
	ID          string // the call, such as a value of NewID or a client's Idempotency-Key
	Fingerprint Sum    // what it is called with; the zero Sum is a value like any other
}

// Validate returns an [*Error] with reason [ErrKey] that names what is wrong, or nil.
func (k Key) Validate() error {
	if k.ok() {
		return nil
	}
	return keyError("", k, k.problem())
}

// ok is Validate for the hot path: one pass, no allocation.
func (k *Key) ok() bool {
	return k.ID != "" && valid(k.ID) && valid(k.Op) && valid(k.Scope) && k.Fingerprint != notCanonical
}

func valid(s string) bool {
	if len(s) > MaxKeyLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i]-0x20 > 0x7e-0x20 {
			return false
		}
	}
	return true
}

func (k *Key) problem() error {
	if k.ID == "" {
		return errors.New("ID is empty")
	}
	for _, part := range []struct{ name, value string }{{"ID", k.ID}, {"Op", k.Op}, {"Scope", k.Scope}} {
		if len(part.value) > MaxKeyLength {
			return fmt.Errorf("%s has %d bytes, more than %d", part.name, len(part.value), MaxKeyLength)
		}
		for i := 0; i < len(part.value); i++ {
			if part.value[i]-0x20 > 0x7e-0x20 {
				return fmt.Errorf("%s has byte %#02x at %d, which is not printable ASCII", part.name, part.value[i], i)
			}
		}
	}
	return errors.New("the Fingerprint stands for a value that has no canonical JSON")
}

// place is a key without its fingerprint: what stores and the guard look calls up by.
type place struct{ scope, op, id string }

func (k *Key) place() place { return place{k.Scope, k.Op, k.ID} }

// A Sum is the fingerprint of a call's arguments, a SHA-256. Make one with [Raw] or [JSON].
type Sum [sha256.Size]byte

// Raw returns the fingerprint of data, byte for byte.
func Raw(data []byte) Sum { return sha256.Sum256(data) }

// notCanonical is what JSON returns for values that have no canonical form. No input of SHA-256 is
// known to give it. A key that carries it is refused, so that a call never runs under a fingerprint
// that other arguments share.
var notCanonical = Sum{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// JSON returns the fingerprint of v's canonical JSON (RFC 8785): equal for equal values whatever the order of
// their members, their white space and the spelling of numbers and strings. For a request body pass
// [encoding/json.RawMessage].
//
// Integers from 2^53 up are taken digit by digit, where RFC 8785 would merge neighbours. A value
// that cannot be marshalled, or whose JSON repeats a member, gives a Sum that [Do] refuses with [ErrKey].
func JSON(v any) Sum {
	text, err := canonicalJSON(v)
	if err != nil {
		return notCanonical
	}
	return sha256.Sum256(text)
}
