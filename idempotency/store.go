package idempotency

import (
	"context"
	"iter"
	"time"
)

// A Store keeps one record per key. Each method is one atomic step and, on a network, one round trip. A store
// judges time by its own clock, never by its callers', and keeps a record for its retention whatever its state.
//
// The steps are those of the table in the package comment; idempotency/storetest checks them. A method returns an
// error only when the step may not have been taken: anything the record says is a [Status]. Errors that match
// [ErrCorrupt] or [ErrStoreFull] say so; all others count as an outage.
//
// Steps may be sent twice by a client library that lost a reply. Owner makes that harmless: it is new for every
// attempt, so a store recognises a repetition and answers as it did the first time.
//
// Implementations are safe for concurrent use. They must not keep or change the slices they are given, and
// callers do not change slices they get. A store may also be a [Watcher] or a [Replica].
type Store interface {
	// Begin claims c.Key. It answers StatusGranted with the new record, or says what stands in the way with
	// the record found: StatusDone, StatusMismatch, StatusInFlight, StatusAbandoned, StatusHeld, StatusAbsent, StatusStale.
	Begin(ctx context.Context, c Claim) (Answer, error)
	// Complete stores the result of the owner's attempt. StatusGranted: stored, now or by an earlier copy of
	// this step. StatusDone: another owner's result stands and is in the record. StatusFenced: another owner is at it.
	Complete(ctx context.Context, c Completion) (Answer, error)
	// Renew extends the owner's lease and, if given, saves a checkpoint. StatusGranted or StatusFenced.
	Renew(ctx context.Context, r Renewal) (Status, error)
	// Release ends the owner's attempt without a result. StatusGranted, StatusAbsent, or StatusFenced
	// when the record is not the owner's and was left alone.
	Release(ctx context.Context, r Release) (Status, error)
}

// A Watcher is a store that can say when a call ends, so that waiting callers need not poll.
type Watcher interface {
	// Watch returns a channel that receives or closes soon after key's attempt ended. It may do so for no
	// reason and may miss an end: callers also poll. stop frees what Watch took and may be called twice.
	Watch(ctx context.Context, key Key) (ended <-chan struct{}, stop func(), err error)
}

// A Replica is a store that [NewRegional] can pair with another: it remembers what its peer has missed.
type Replica interface {
	Store
	// Load returns the record of key as it is; its State is StateAbsent if there is none.
	Load(ctx context.Context, key Key) (Record, error)
	// Put writes a peer's record unless the one here knows as much or more: a result knows more than none,
	// then the higher fence more than the lower, then of one attempt held more than in flight, then of one
	// owner the lease that ends later after the attempt began.
	Put(ctx context.Context, key Key, r Record) error
	// Discard deletes the record of key if it has no result and its fence is not above f.
	Discard(ctx context.Context, key Key, f Fence) error
	// Unsynced lists the keys written by steps with Unsynced set and not cleared since: each that is there all the while
	// at least once. An error that matches ErrCorrupt is that of one note, and the listing may go on; any other ends it.
	// A note may go when the retention of its step has passed: what the peer may have of the key has expired then. It should, or
	// notes grow without a limit while the peer is away.
	Unsynced(ctx context.Context) iter.Seq2[Mark, error]
	// Synced clears m unless its key was written unsynced again after m was listed. With Count zero it
	// clears whatever note of the key has m.Fence.
	Synced(ctx context.Context, m Mark) error
}

// A Mark says that a peer has missed a write, or may have.
type Mark struct {
	Key   Key    // without its fingerprint
	Fence Fence  // of the write
	Count uint64 // tells marks of one key apart
}

// State is what a record says of its call.
type State uint8

const (
	StateAbsent   State = iota // no record
	StateInFlight              // an owner is at it, or died at it
	StateHeld                  // an attempt ended and nobody knows whether it had its effect
	StateDone                  // the result is stored
)

var stateNames = [...]string{"absent", "in flight", "held", "done"}

// String returns the name, such as "in flight".
func (s State) String() string { return nameOf(stateNames[:], s) }

// Status is a store's answer to a step.
type Status uint8

const (
	_               Status = iota
	StatusGranted          // the step was taken
	StatusDone             // a result is stored, in the record
	StatusMismatch         // the record has another fingerprint
	StatusInFlight         // another owner's lease is live
	StatusAbandoned        // another owner's lease has passed, and the claim does not take over
	StatusHeld             // the outcome is unknown, and the claim does not take over
	StatusAbsent           // there is no record, and the claim is for existing ones
	StatusStale            // the record was written under a later epoch than the claim's
	StatusFenced           // the record is another owner's
)

var statusNames = [...]string{"none", "granted", "done", "mismatch", "in flight", "abandoned", "held", "absent", "stale", "fenced"}

// String returns the name, such as "granted".
func (s Status) String() string { return nameOf(statusNames[:], s) }

func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "invalid"
}

// An Owner is one attempt's nonce: random, new for every claim, and never zero.
type Owner [16]byte

// A Claim asks to own a key.
type Claim struct {
	Key              Key
	Owner            Owner
	Lease, Retention time.Duration
	Epoch            uint64 // the claimant's; in-flight records of lower epochs count as abandoned
	Fence            Fence  // if N is not zero, the fence to use, unless the record's is higher; given by a peer store
	TakeAbandoned    bool   // take over when the lease has passed
	TakeHeld         bool   // take over when the outcome is unknown
	Existing         bool   // do not claim a key that has no record
	Wait             bool   // the caller will wait: its end should wake watchers
	Unsynced         bool   // mark the write as missed by the peer
	Noted            bool   // if the call is done, say whether the peer has missed that
}

// A Holder names an attempt: the key, its owner and its fence.
type Holder struct {
	Key   Key
	Owner Owner
	Fence Fence
}

// A Completion carries an attempt's result.
type Completion struct {
	Holder
	Result    []byte // never empty; opaque to the store
	Retention time.Duration
	Unsynced  bool
}

// A Renewal extends a lease.
type Renewal struct {
	Holder
	Lease, Retention time.Duration
	Checkpoint       []byte // nil keeps the one stored
	Unsynced         bool
}

// A Release ends an attempt without a result. What an earlier attempt left is put back: a release deletes the
// record only if no earlier attempt died or was held.
type Release struct {
	Holder
	Hold      bool          // keep the key with its outcome unknown
	Retention time.Duration // of the key if it is held, and of the note if the peer missed the release
	Unsynced  bool
}

// A Record is what a store knows of a key. Durations are measured by the store's clock when it answers.
type Record struct {
	State       State
	Attempt     int // how many claims were granted; 1 for the first
	Fence       Fence
	Owner       Owner
	Fingerprint Sum
	Lease       time.Duration // left; zero or less: passed
	Running     time.Duration // since the attempt was granted; of StateDone: since the result was stored
	Retention   time.Duration // left
	Prior       State         // how the attempt before ended: StateAbsent (none), StateInFlight (died) or StateHeld
	Checkpoint  []byte        // the last one saved by any attempt; nil for none
	Result      []byte        // of StateDone
}

// An Answer is a status with the record as it is after the step. Stores may leave out the record of a Complete that was granted.
type Answer struct {
	Status Status
	Record Record
	Missed uint64 // Mark.Count of the record found, for a Claim with Noted; 0 if the peer has missed nothing
}
