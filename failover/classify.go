package failover

import (
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Class says what a call's result means for routing: whether another Region may be tried, and what it says
// about the Region's health.
type Class uint8

const (
	ClassOK       Class = iota // success
	ClassAnswer                // the service's own answer, such as not found: final, and good for health
	ClassNotSent               // the call never reached the Region: another may be tried
	ClassRejected              // refused before any effect, by the Region (a read-only replica) or on this side (a breaker)
	ClassOverload              // the Region asks for less: another may be tried within the budget
	ClassUnknown               // the reply was lost: reads try another Region, writes stop
	ClassNeutral               // the caller gave up, or a local limit refused: says nothing
)

var classes = [...]string{"ok", "answer", "not_sent", "rejected", "overload", "unknown", "neutral"}

// String returns the name in lower case.
func (c Class) String() string {
	if int(c) < len(classes) {
		return classes[c]
	}
	return "invalid"
}

// effect is what a class does to health.
type effect uint8

const (
	effectNone effect = iota
	effectGood
	effectBad
)

func (c Class) effect() effect {
	switch c {
	case ClassOK, ClassAnswer:
		return effectGood
	case ClassNotSent, ClassUnknown:
		return effectBad
	}
	return effectNone
}

// Classify is the default [ClientConfig.Classify]. It asks the error for its outcome and its wait: marks and Holdfast's
// error types answer, and so do the standard library's by type. An error that says nothing is ClassAnswer. A refusal by a
// local breaker, bulkhead or limit (NotRun by mark) is neutral for health: the calls that caused it have been counted.
func Classify(err error) Class {
	if err == nil {
		return ClassOK
	}
	marked, isMarked := outcome.Marked(err)
	_, wait := outcome.RetryAfter(err)
	switch {
	case isMarked && marked == outcome.NotRun && wait && !outcome.LocalRefusal(err):
		return ClassOverload
	case isMarked && marked == outcome.NotRun:
		return ClassRejected
	case isMarked && marked == outcome.Ran:
		return ClassAnswer
	}
	switch outcome.Of(err) {
	case outcome.NotRun:
		return ClassNotSent
	case outcome.Unknown:
		return ClassUnknown
	}
	if wait {
		return ClassOverload
	}
	return ClassAnswer
}
