package drtest

import "time"

// Admit is Play with an error in place of a stopped test.
func (w *World) Admit(s Scenario) error { return w.Schedule(s) }

// Outcome classifies an error as a load does.
var Outcome = outcomeOf

// PrimeUpTo is the rule by which clients come back to a lane.
var PrimeUpTo = primeUpTo

// ValidLoad returns what is wrong with a load.
func ValidLoad(l Load) error {
	_, err := l.withDefaults()
	return err
}

// CloseWithin is Close with another grace.
func (w *World) CloseWithin(grace time.Duration) error { return w.closeWithin(grace) }
