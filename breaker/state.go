package breaker

import (
	"fmt"
	"time"
)

// A State says what a [Breaker] does with calls.
type State uint8

const (
	StateClosed   State = iota // calls pass
	StateHalfOpen              // probes pass
	StateOpen                  // no call passes
	StateRamp                  // a random share passes, see Config.Ramp
)

// String returns "closed", "half-open", "open" or "ramp".
func (s State) String() string { return nameOf("State", s, "closed", "half-open", "open", "ramp") }

// A Mode says who decides: the breaker or an operator. See [Breaker.Force].
type Mode uint8

const (
	ModeAuto    Mode = iota // the breaker decides
	ModeOpen                // rejects every call
	ModeClosed              // admits every call; results are counted and never open it
	ModeObserve             // decides as in ModeAuto and admits every call all the same, counting those it would have rejected
)

// String returns "auto", "open", "closed" or "observe".
func (m Mode) String() string { return nameOf("Mode", m, "auto", "open", "closed", "observe") }

// nameOf is the text of an enumeration's value.
func nameOf[E ~uint8](kind string, value E, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", kind, uint8(value))
}

// Counts are results of calls.
type Counts struct {
	Successes, Failures uint64
	Slow                uint64 // of both, those that took at least Config.SlowCall
}

func (c Counts) results() uint64 { return c.Successes + c.Failures }

// A Transition is one change of a [Breaker]'s state or mode.
type Transition struct {
	Name     string // the breaker's
	Key      string // the breaker's key in its [Group]; empty outside one
	From, To State  // equal when only the mode changed
	Mode     Mode   // from now on
	Reason   string // the rule that decided, with its figures, or the operator's words
	By       string // the operator; empty when the breaker decided
	At       time.Time
	Wait     time.Duration // how long the breaker stays open; zero when To is not StateOpen
	Window   Counts        // what the window held at the decision
}
