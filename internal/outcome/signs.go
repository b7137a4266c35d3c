package outcome

import (
	"context"
	"errors"
	"time"
	"unsafe"
)

// Signs are what an error says by its methods, read in one walk, for callers who ask everything of each
// error that passes. They are bits: a struct of bools costs more to pass than to find out.
type Signs uint8

const (
	SaysPermanent Signs = 1 << iota // as Permanent
	SaysUnknown                     // Marked is Unknown
	SaysNotRun                      // Marked is NotRun
	SaysCanceled                    // errors.Is context.Canceled
)

// Read returns the signs of err and the wait that RetryAfter returns, zero if none is asked for.
func Read(err error) (Signs, time.Duration) {
	if w := wordsOf(err); w.kind == sentinel.kind {
		if w.data == sentinel.data {
			return SaysCanceled, 0
		}
		return 0, 0
	}
	return read(err)
}

// words are the two words of an error value: its dynamic type and its data.
type words struct{ kind, data unsafe.Pointer }

func wordsOf(err error) words { return *(*words)(unsafe.Pointer(&err)) }

// sentinel is what errors.New returns. Its type has no methods to ask, and most chains end in it: telling it
// by its type word takes a nanosecond where asking takes twenty.
var sentinel = wordsOf(context.Canceled)

// read is Read, of any error.
func read(err error) (signs Signs, wait time.Duration) {
	var marked, permanentSaid, waitSaid bool
	for err != nil {
		if w := wordsOf(err); w.kind == sentinel.kind {
			last, _ := Read(err)
			return signs | last, wait
		}
		if is, ok := err.(interface{ Is(error) bool }); ok && is.Is(context.Canceled) {
			signs |= SaysCanceled
		}
		if !marked {
			var o Outcome
			o, marked = byMethods(err)
			signs |= ofOutcome(o)
		}
		if !permanentSaid {
			var p bool
			p, permanentSaid = permanentByMethod(err)
			signs |= ofPermanent(p)
		}
		if !waitSaid {
			wait, waitSaid = retryAfterByMethod(err)
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			return readBranches(err, signs, wait, marked, permanentSaid, waitSaid)
		default:
			return signs, wait
		}
	}
	return signs, wait
}

// readBranches asks what is still open of a joined error, question by question.
func readBranches(err error, signs Signs, wait time.Duration, marked, permanentSaid, waitSaid bool) (Signs, time.Duration) {
	if errors.Is(err, context.Canceled) {
		signs |= SaysCanceled
	}
	if !marked {
		o, _ := Marked(err)
		signs |= ofOutcome(o)
	}
	if !permanentSaid {
		signs |= ofPermanent(Permanent(err))
	}
	if !waitSaid {
		wait, _ = RetryAfter(err)
	}
	return signs, wait
}

func ofOutcome(o Outcome) Signs {
	switch o {
	case NotRun:
		return SaysNotRun
	case Unknown:
		return SaysUnknown
	}
	return 0
}

func ofPermanent(p bool) Signs {
	if p {
		return SaysPermanent
	}
	return 0
}
