package failover

import (
	"context"
	"errors"
	"time"
)

// A Coordinator stores the group's one [Record] and the instances' votes. It is the only shared state, and reads of routes
// never touch it. Implementations are safe for concurrent use and give up when ctx ends; coordtest checks them.
type Coordinator interface {
	// Load returns the stored record, [ErrNoRecord] if there is none. A linearizable coordinator never
	// returns one older than a completed CompareAndSwap.
	Load(ctx context.Context) (Record, error)

	// CompareAndSwap stores next if the stored record's Sequence is sequence (0: if there is none). It
	// returns [ErrConflict] if it is another; any other error leaves open whether next was stored.
	CompareAndSwap(ctx context.Context, sequence uint64, next Record) error

	// Vote stores v in place of the earlier vote of v.Instance. If the stored one has a higher Number it returns [ErrConflict] and
	// changes nothing: a request that was delayed must not hide a newer lease.
	Vote(ctx context.Context, v Vote) error

	// Votes returns the newest vote of every instance that voted within [VoteRetention].
	Votes(ctx context.Context) ([]Vote, error)

	// Info says what the coordinator can be trusted with. It does no I/O.
	Info() CoordinatorInfo
}

// CoordinatorInfo says what a coordinator can be trusted with.
type CoordinatorInfo struct {
	Name         string
	Linearizable bool     // an acknowledged CompareAndSwap is never lost
	Survives     []Region // it keeps working when any one of these Regions is lost
}

// VoteRetention is how long coordinators keep the vote of an instance that is gone: the last lease
// of a lost Region bounds the exposure, however long an approval takes.
const VoteRetention = 24 * time.Hour

// Errors of coordinators.
var (
	ErrNoRecord = errors.New("failover: the coordinator has no record")
	ErrConflict = errors.New("failover: the record was changed by another instance")
)

// A Vote is what one instance last said about the world. Readers judge its freshness by seeing Number
// grow on their own clock, never by its instants.
type Vote struct {
	Instance string            `json:"instance"`
	Region   Region            `json:"region"`
	Witness  bool              `json:"witness,omitempty"`
	Number   uint64            `json:"number"`            // grows with every vote of the instance
	Abstain  bool              `json:"abstain,omitempty"` // all Regions look bad: the fault is likely here
	Views    map[Region]Health `json:"views,omitempty"`
	At       time.Time         `json:"at"`                  // when the request was made, wall clock, UTC
	Epoch    uint64            `json:"epoch,omitempty"`     // the epoch for which the vote asks a lease; 0 = none
	TTL      time.Duration     `json:"ttl,omitempty"`       // of that lease, counted from At
	RunToken uint64            `json:"run_token,omitempty"` // of the transition this instance is executing
}
