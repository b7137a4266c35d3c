package failover

import (
	"fmt"
	"time"
)

// FenceMode says what keeps the old writer Region from writing after the new one has opened.
type FenceMode uint8

const (
	// FenceLease: each instance of the writer Region holds a lease of LeaseTTL, counted from the request that renewed it,
	// and refuses writes without one; the new Region opens only after the last lease must have ended. The price: an
	// outage of the coordinator longer than LeaseTTL stops writes, never reads. Pauses and writes in flight longer
	// than MaxFlight are outside its protection: check the token at the resource too.
	FenceLease FenceMode = iota
	// FenceToken: the resource itself refuses lower epochs, in the transaction of the write. Losing the coordinator
	// stops nothing. A resource that cannot learn the new epoch protects nothing.
	FenceToken
	// FenceNone: availability first. Two Regions may accept writes at the same time.
	FenceNone
)

// String returns "lease", "token" or "none".
func (m FenceMode) String() string {
	if int(m) < len(fenceModes) {
		return fenceModes[m]
	}
	return fmt.Sprintf("FenceMode(%d)", uint8(m))
}

var fenceModes = [...]string{"lease", "token", "none"}

// A Fence is what a write carries: the resource compares Epoch with the highest it has learned, in the same
// transaction as the write, and refuses lower ones.
type Fence struct {
	Epoch      uint64
	Region     Region    // the writer Region of Epoch
	DecisionID string    // the decision that opened Epoch
	Until      time.Time // when this instance's lease ends; zero without FenceLease
}

// Token returns the epoch as 16 hexadecimal digits.
func (f Fence) Token() string { return FormatEpoch(f.Epoch) }
