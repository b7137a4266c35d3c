package holdfast

import (
	"fmt"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Outcome says what is known of a call that returned an error: it decides whether the call may be
// repeated, hedged, sent to another Region or replayed without an idempotency key.
type Outcome uint8

const (
	// OutcomeRan: the other side answered, or nothing says otherwise. Repeating repeats the effect.
	OutcomeRan = Outcome(outcome.Ran)
	// OutcomeNotRun: the call had no effect. Repeating is safe.
	OutcomeNotRun = Outcome(outcome.NotRun)
	// OutcomeUnknown: the reply was lost. Repeating is safe only under an idempotency key.
	OutcomeUnknown = Outcome(outcome.Unknown)
)

// String returns "ran", "not run" or "unknown".
func (o Outcome) String() string {
	switch o {
	case OutcomeRan:
		return "ran"
	case OutcomeNotRun:
		return "not run"
	case OutcomeUnknown:
		return "unknown"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// OutcomeOf classifies err by these rules, in this order:
//
//   - The outermost error in the tree with a method NotRun() bool or OutcomeUnknown() bool answers for all it
//     wraps. Every error type of Holdfast that stands for a call has both.
//   - Joined errors without these methods are OutcomeUnknown if any branch is, OutcomeNotRun if all are.
//   - Errors of the standard library are known by type. OutcomeNotRun: a failed dial, DNS look-up or TLS
//     handshake, a certificate that does not verify, [database/sql/driver.ErrBadConn]. OutcomeUnknown: EOF, a reset
//     or broken connection, a time-out or cancelled context, any other failure of an http.Client.
//   - nil and everything else: OutcomeRan.
//
// context.Canceled and context.DeadlineExceeded by themselves are OutcomeUnknown: the context ended, and nothing
// says that the request had not been sent. It allocates nothing for errors that have the methods.
func OutcomeOf(err error) Outcome { return Outcome(outcome.Of(err)) }
