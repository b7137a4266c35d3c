package drtest

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// Admit is Play with an error in place of a stopped test.
func (w *World) Admit(s Scenario) error { return w.Schedule(s) }

// Explored is Explore with its problems in place of a failed test.
func Explored(t *testing.T, config ExploreConfig, f func(t testing.TB, w *World)) (x *Exploration, problems []string, err error) {
	e, err := newExplorer(t, config, f)
	if err != nil {
		return nil, nil, err
	}
	e.run()
	e.conclude()
	return e.result, e.problems, nil
}

// Menu returns what may happen in a World.
func (w *World) Menu(c ExploreConfig) []fault.Fault { return w.menu(c) }

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

// Alive reports whether a Region is not down.
func Alive(r *Region) bool { return r.lifetime().Err() == nil }

// KnowsItsFunction reports whether the watchdog takes the goroutine that asks for the function of its World, in whatever order goroutines are listed.
func KnowsItsFunction() bool {
	own := ownGoroutine()
	gs := inBubble(allGoroutines(), own.bubble)
	there, ok := function(gs)
	slices.Reverse(gs)
	back, again := function(gs)
	return ok && again && there.id == own.id && back.id == own.id
}
