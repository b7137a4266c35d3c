package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

var (
	// Drop, returned by a handler, ends a call without running it further: it is deleted, counted as
	// dropped and not dead-lettered.
	//
	//lint:ignore ST1012 a handler returns it as an instruction, like fs.SkipDir, not as a failure
	Drop = errors.New("queue: dropped by its handler")

	// ErrNotDeferred matches every error of Defer and Try that means: the call is in no queue and no spool as far as
	// anyone knows. Its outcome says whether a copy may exist.
	ErrNotDeferred = errors.New("queue: not deferred")

	// ErrSpoolFull matches the refusal of a spool at its MaxBytes or on a full disk.
	ErrSpoolFull = errors.New("queue: spool is full")

	// ErrLeaseLost is the cause of a handler's context when its message's lease was lost: another worker may run the
	// call now. It also matches a transport's answer to a stale receipt.
	ErrLeaseLost = errors.New("queue: lease lost")

	// ErrDraining is the cause of a handler's context when the drain deadline passed.
	ErrDraining = errors.New("queue: draining")

	// ErrTimeout is the cause of a handler's context when HandlerConfig.Timeout passed.
	ErrTimeout = errors.New("queue: handler timed out")

	// ErrHeld matches the refusal of a FIFO send while the Region that keeps the order is unusable.
	ErrHeld = errors.New("queue: held until the Region of the FIFO queue is back")

	// ErrEnvelope matches every error of a body that is no valid envelope.
	ErrEnvelope = errors.New("queue: not a valid envelope")
)

// An InvalidError refuses a call that no queue could carry. Nothing was sent, and repeating it is pointless.
type InvalidError struct {
	Call, CallID string // call name and ID, as far as they are known
	Field        string // what is wrong: "ID", "Delay", "payload", …
	Problem      string
}

// Error names the call and what is wrong with which field.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("queue: call %q %s: %s: %s", e.Call, e.CallID, e.Field, e.Problem)
}

// NotRun is true: nothing was sent.
func (e *InvalidError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *InvalidError) OutcomeUnknown() bool { return false }

// Permanent is true.
func (e *InvalidError) Permanent() bool { return true }

// A NotDeferredError is returned when neither a queue nor the spool took a call. errors.Is(err, ErrNotDeferred)
// holds for it.
type NotDeferredError struct {
	Call, CallID string
	Err          error // why
}

// Error names the call and why it was not deferred.
func (e *NotDeferredError) Error() string {
	return fmt.Sprintf("queue: call %q %s not deferred: %v", e.Call, e.CallID, e.Err)
}

// Unwrap returns why.
func (e *NotDeferredError) Unwrap() error { return e.Err }

// Is makes errors.Is hold for [ErrNotDeferred].
func (e *NotDeferredError) Is(target error) bool { return target == ErrNotDeferred }

// NotRun reports that no copy of the call exists: deferring it again, even under another ID, is safe.
func (e *NotDeferredError) NotRun() bool { return outcome.Of(e.Err) == outcome.NotRun }

// OutcomeUnknown reports that a copy may have reached a queue: defer it again only under the same ID.
func (e *NotDeferredError) OutcomeUnknown() bool { return outcome.Of(e.Err) == outcome.Unknown }

// A SendError is a transport's error for one message. All transports return it, so that the outcome is always said.
type SendError struct {
	Name    string // of the transport; "" where none was involved
	Region  string
	Outcome SendOutcome
	Code    string // the service's error code; "" when there was no answer
	Invalid bool   // the message itself is at fault: no Region will take it
	Err     error
}

// SendOutcome says what is known of a failed send.
type SendOutcome uint8

const (
	SendNotRun  SendOutcome = iota // the message is not in the queue
	SendUnknown                    // the reply was lost: it may be
)

// Error names the transport, the Region and whether the message may have been sent.
func (e *SendError) Error() string {
	what := "not sent"
	if e.Outcome == SendUnknown {
		what = "send of unknown outcome"
	}
	who := "queue"
	if e.Name != "" {
		who = fmt.Sprintf("queue %q", e.Name)
	}
	return fmt.Sprintf("%s: Region %q: %s: %v", who, e.Region, what, e.Err)
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// NotRun reports that the message is not in the queue.
func (e *SendError) NotRun() bool { return e.Outcome == SendNotRun }

// OutcomeUnknown reports that the message may be in the queue.
func (e *SendError) OutcomeUnknown() bool { return e.Outcome == SendUnknown }

// Permanent reports that the message itself is at fault.
func (e *SendError) Permanent() bool { return e.Invalid }

// Snooze, returned by a handler, puts the call off by d without counting an attempt. Values below 1 s are 1 s.
func Snooze(d time.Duration) error { return &snoozeError{max(d, minWait)} }

// minWait is the floor of every wait between two deliveries of one message.
const minWait = time.Second

type snoozeError struct{ wait time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("queue: snoozed for %v", e.wait) }

// NotRun makes an idempotency guard release the key.
func (e *snoozeError) NotRun() bool              { return true }
func (e *snoozeError) OutcomeUnknown() bool      { return false }
func (e *snoozeError) RetryAfter() time.Duration { return e.wait }

// notRunError hands a stopped, repeatable call to Once as not run, so that its key is released.
type notRunError struct{ err error }

func (e *notRunError) Error() string        { return e.err.Error() }
func (e *notRunError) Unwrap() error        { return e.err }
func (e *notRunError) NotRun() bool         { return true }
func (e *notRunError) OutcomeUnknown() bool { return false }

// A PanicError is the error of a handler that panicked or called runtime.Goexit.
type PanicError struct {
	Value any // nil for Goexit
	Stack []byte
}

// Error names the value; the stack is in Stack.
func (e *PanicError) Error() string { return fmt.Sprintf("queue: handler panicked: %v", e.Value) }

// NotRun is false: the handler ran.
func (e *PanicError) NotRun() bool { return false }

// OutcomeUnknown is true: it ended where nobody expected it.
func (e *PanicError) OutcomeUnknown() bool { return true }
