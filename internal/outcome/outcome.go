// Package outcome answers the question every part of Holdfast asks of an error: did the call run?
//
// It is the one implementation of the rules the public packages document: the outermost error that implements
// the outcome methods answers; an Unwrap() []error node without them is NotRun if all branches are and Unknown
// if any is; errors of the standard library that say where a call broke off are known by type.
package outcome

import (
	"reflect"
	"time"
)

// Outcome says what is known of a call that returned an error. The zero value is Ran.
type Outcome uint8

const (
	Ran     Outcome = iota // the other side answered, or nothing is known that says otherwise
	NotRun                 // the call had no effect: it may be repeated without a key
	Unknown                // the call may have had its effect
)

// Of classifies err. Of(nil) and errors that carry no mark and are not known by type are Ran.
func Of(err error) Outcome {
	o, _ := find(err, true)
	return o
}

// Marked is Of without the classification of unmarked standard library errors. ok is false
// when no error in the tree says anything.
func Marked(err error) (o Outcome, ok bool) { return find(err, false) }

// find walks err outermost first. byType adds the standard library's errors to the marks.
func find(err error, byType bool) (o Outcome, ok bool) {
	for err != nil {
		if o, ok := byMethods(err); ok {
			return o, true
		}
		if byType {
			if o, ok := byStandardType(err); ok {
				return o, true
			}
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			return ofBranches(u.Unwrap(), byType)
		default:
			return Ran, false
		}
	}
	return Ran, false
}

// byMethods asks err itself, not what it wraps. An error that has either method has spoken.
func byMethods(err error) (Outcome, bool) {
	n, hasNotRun := err.(interface{ NotRun() bool })
	if hasNotRun && n.NotRun() {
		return NotRun, true
	}
	u, hasUnknown := err.(interface{ OutcomeUnknown() bool })
	if hasUnknown && u.OutcomeUnknown() {
		return Unknown, true
	}
	return Ran, hasNotRun || hasUnknown
}

// ofBranches joins what the branches of a joined error say: one unknown branch makes the whole
// unknown, and only if no branch may have run has the whole not run.
func ofBranches(branches []error, byType bool) (Outcome, bool) {
	allNotRun, said, any := true, false, false
	for _, b := range branches {
		if b == nil {
			continue
		}
		any = true
		o, ok := find(b, byType)
		said = said || ok
		if o == Unknown {
			return Unknown, true
		}
		allNotRun = allNotRun && o == NotRun
	}
	if any && allNotRun {
		return NotRun, true
	}
	return Ran, said
}

// Join is the outcome of one result that stands for several attempts: NotRun if all are, Unknown
// if any is, else Ran. No attempts at all are NotRun.
func Join(attempts ...Outcome) Outcome {
	all := NotRun
	for _, o := range attempts {
		switch o {
		case Unknown:
			return Unknown
		case Ran:
			all = Ran
		}
	}
	return all
}

// Permanent reports whether the outermost error with a Permanent method says that repeating the
// call is pointless. A cenkalti/backoff v4 PermanentError counts as saying so.
func Permanent(err error) bool {
	p, ok := first(err, permanentByMethod)
	return ok && p
}

// permanentByMethod asks err itself, not what it wraps.
func permanentByMethod(err error) (permanent, ok bool) {
	if p, ok := err.(interface{ Permanent() bool }); ok {
		return p.Permanent(), true
	}
	backoff := isBackoffPermanent(err)
	return backoff, backoff
}

// RetryAfter returns the wait asked for by the outermost error that asks for one. Waits below zero are zero.
func RetryAfter(err error) (wait time.Duration, ok bool) {
	return first(err, retryAfterByMethod)
}

// retryAfterByMethod asks err itself, not what it wraps.
func retryAfterByMethod(err error) (wait time.Duration, ok bool) {
	if r, ok := err.(interface{ RetryAfter() time.Duration }); ok {
		return max(0, r.RetryAfter()), true
	}
	return 0, false
}

// first walks the error tree depth first, outermost first, until ask answers.
func first[T any](err error, ask func(error) (T, bool)) (answer T, ok bool) {
	for err != nil {
		if answer, ok = ask(err); ok {
			return answer, true
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			for _, branch := range u.Unwrap() {
				if answer, ok = first(branch, ask); ok {
					return answer, true
				}
			}
			return answer, false
		default:
			return answer, false
		}
	}
	return answer, false
}

// isBackoffPermanent recognises the PermanentError of cenkalti/backoff by its type's name, so that
// packages that do not build on backoff need not import it.
func isBackoffPermanent(err error) bool {
	return reflect.TypeOf(err).String() == "*backoff.PermanentError"
}
