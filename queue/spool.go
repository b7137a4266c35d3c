package queue

import (
	"context"
	"time"
)

// A Spool keeps messages on disk while no Region takes them. spool.Open returns one. Methods are safe for
// concurrent use; one client drains it.
type Spool interface {
	// Append returns nil when the message is on disk, fsynced. An error matching [ErrSpoolFull] says that there is no room,
	// and that nothing was written unless its outcome is unknown.
	Append(ctx context.Context, o Outgoing) error

	// Holds reports whether a message of the FIFO group is in the spool: later ones must follow it in.
	Holds(group string) bool

	// Take hands out up to n messages, oldest first, at most one of each FIFO group and none of a group that has
	// one out already. It blocks until there is one or ctx ends.
	Take(ctx context.Context, n int) ([]Spooled, error)

	// Settle ends what Take began. why explains SpoolRefused.
	Settle(s Spooled, v SpoolVerdict, why error) error

	// Stats counts.
	Stats() SpoolStats
}

// A Spooled message was handed out by Take.
type Spooled struct {
	Sequence uint64
	Message  Outgoing
	Appended time.Time
}

// SpoolVerdict says what becomes of a spooled message.
type SpoolVerdict uint8

const (
	SpoolSent    SpoolVerdict = iota // acknowledged by a queue: forget it
	SpoolAgain                       // not taken: hand it out again, in its place
	SpoolRefused                     // no queue will ever take it: to the quarantine
)

// SpoolStats are a spool's counts at one instant.
type SpoolStats struct {
	Messages int
	Bytes    int64     // on disk
	Oldest   time.Time // zero when empty
	Full     bool
	Syncs    int64 // fdatasync calls since it was opened
	Damaged  int64 // records in quarantine since it was opened
}
