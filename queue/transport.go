package queue

import (
	"context"
	"time"
)

// A Transport is a queue that hands out messages under a lease: SQS, the memory queue, several Regions of either.
// The conformance kit queuetest.TestTransport says what it must do. Every method is safe for concurrent use.
//
// Methods that take several messages return nil when all succeeded, else one error per message, nil for those
// that did. A transport splits what exceeds its own batch limits.
type Transport interface {
	// Send puts messages in the queue, in order, and returns one result each. It makes one attempt: the caller
	// decides about repeating, by the error's outcome.
	Send(ctx context.Context, messages []Outgoing) []SendResult

	// Receive waits up to r.Wait for messages and leases them for r.Lease. No message and a nil error means that
	// the wait passed. It ends soon after that also if nothing answers: a worker that tries one call at a time waits
	// for it. Cancelling ctx may leave messages leased that nobody has seen; they come back when the lease ends.
	Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error)

	// Extend makes the leases end after lease from now. An error matching [ErrLeaseLost] says the message
	// belongs to someone else now, or nobody.
	Extend(ctx context.Context, messages []*Message, lease time.Duration) []error

	// Release gives messages back, each to be handed out again after its wait.
	Release(ctx context.Context, releases []Release) []error

	// Delete removes messages for good. Deleting what is gone already is no error.
	Delete(ctx context.Context, messages []*Message) []error

	// Dead moves messages to the dead-letter queue with their reasons: it sends first and deletes then, so a crash
	// between the two leaves a message in both queues and never in none.
	Dead(ctx context.Context, letters []DeadLetter) []error

	// Stats returns approximate counts.
	Stats(ctx context.Context) (Depth, error)

	// Limits returns what the queue can carry. It does no I/O.
	Limits() Limits
}

// An Outgoing is one message on its way into a queue.
type Outgoing struct {
	CallID     string // the same for every copy of a call
	DedupID    string // deduplication ID on a FIFO queue; "" = CallID
	Body       string // the encoded [Envelope]
	Group      string // of a FIFO queue; "" elsewhere
	Tenant     string // for fair queues
	NotBefore  time.Time
	Expires    time.Time         // zero = never
	Attributes map[string]string // beside the body; at most 5, nil for normal calls

	checked string // the Body whose characters a client has checked: transports need not do it again
}

// Delay returns how long from now until the message may run, at most limit.
func (o *Outgoing) Delay(limit time.Duration) time.Duration {
	if o.NotBefore.IsZero() {
		return 0
	}
	return min(max(0, time.Until(o.NotBefore)), limit)
}

// A SendResult is what became of one [Outgoing].
type SendResult struct {
	MessageID string
	Region    string
	Via       Via
	Durable   bool
	Copies    bool  // a Region whose reply was lost may hold a copy
	Err       error // has the outcome methods: not run, or unknown when the reply was lost
}

// A ReceiveRequest says how many messages to hand out at most, how long to wait for the first, and for how long
// they are leased.
type ReceiveRequest struct {
	Max   int
	Wait  time.Duration
	Lease time.Duration
}

// A Message is handed out under a lease. It is not changed after Receive returned it.
type Message struct {
	ID            string
	Receipt       string // names this lease
	Region        string
	Body          string
	Group, Tenant string
	Sent          time.Time
	FirstReceived time.Time
	Receives      int // including this one; approximate on SQS
	LeaseUntil    time.Time
	Attributes    map[string]string
	Claim         string // where the payload is kept, when it is not in Body

	memory *memoryMessage // of a Memory: what this is a lease of

	// Fetch gets the whole body of a message whose payload is kept elsewhere; nil when Body is whole. An error
	// with a method DeadReason() string says that it is gone for good and why.
	Fetch func(ctx context.Context) (string, error)
}

// A Release gives Message back, to be handed out again after After; zero is at once.
type Release struct {
	Message *Message
	After   time.Duration
}

// A DeadLetter is a message on its way to the dead-letter queue.
type DeadLetter struct {
	Message  *Message
	Body     string // what to store: the envelope with its death certificate, or the raw body of a poisoned message
	CallID   string
	Call     string // call name; "" when it could not be read
	Reason   Reason
	Class    string // type of the last error
	Attempts int
	Err      error // the last error, for OnDead; not stored
}

// Limits say what a transport can carry.
type Limits struct {
	Region       string
	FIFO         bool
	Batch        int           // messages in one request
	BatchBytes   int           // bytes in one request
	MessageBytes int           // bytes in one message
	MaxDelay     time.Duration // longest delay the queue itself can do
	MaxLease     time.Duration // longest total lease of one receive; 0 = any
	Retention    time.Duration // after which the queue forgets a message; 0 = unknown
}

// A Depth is an approximate count of a queue's messages.
type Depth struct {
	Visible, InFlight, Delayed int
	Regions                    map[string]Depth // of a [Regional]; nil elsewhere
	Unverified                 []string         // Regions that did not answer: not zero, unknown
}

// Total is the sum of all messages.
func (d Depth) Total() int { return d.Visible + d.InFlight + d.Delayed }

// errorAt returns the error of message i of a batch.
func errorAt(errs []error, i int) error {
	if errs == nil {
		return nil
	}
	return errs[i]
}

// allFail returns n times err, the result of a batch that failed as a whole.
func allFail(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
