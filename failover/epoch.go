package failover

import (
	"errors"
	"fmt"
)

// Region names an AWS Region, such as "us-east-1". Any non-empty name works.
type Region = string

// An epoch numbers write ownership: incarnation (15 bits) << 48 | counter (48 bits), so that it is
// positive in a signed 64-bit column. The counter grows with every move; the incarnation grows when the
// coordinator was lost for good and [Controller.BreakGlass] started over. Zero is no epoch.
const (
	counterBits    = 48
	maxIncarnation = 1<<15 - 1
	maxCounter     = 1<<counterBits - 1
)

var errEpochExhausted = errors.New("failover: epochs are exhausted")

// Incarnation returns the part of epoch that a break-glass raises.
func Incarnation(epoch uint64) uint16 { return uint16(epoch >> counterBits) }

// FormatEpoch returns epoch as 16 hexadecimal digits, which compare as strings like the numbers do. It is the form
// of an epoch in Redis and in headers.
func FormatEpoch(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// nextEpoch is the following epoch of the same incarnation.
func (c *Controller) nextEpoch(epoch uint64) (uint64, error) {
	if c.rule.reuseEpoch {
		return epoch, nil
	}
	if epoch&maxCounter == maxCounter {
		return 0, errEpochExhausted
	}
	return epoch + 1, nil
}

// nextIncarnation is the first epoch that beats every epoch of epoch's incarnation.
func nextIncarnation(epoch uint64) (uint64, error) {
	if Incarnation(epoch) >= maxIncarnation {
		return 0, errEpochExhausted
	}
	return (epoch>>counterBits+1)<<counterBits | 1, nil
}
