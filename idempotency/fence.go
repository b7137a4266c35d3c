package idempotency

import (
	"cmp"
	"fmt"
	"strconv"
)

// A Fence is a token that grows with every claim of a key: epoch first, then N. Write it beside what the call
// changes and refuse a write whose fence is below the stored one; then a slow attempt cannot overwrite a newer one.
//
// Its text form, 16 hex digits of Epoch and 14 of N, sorts as the fence does, so SQL and Lua compare strings.
type Fence struct {
	Epoch uint64 // of Config.Epoch when the claim was made; 0 without one
	N     uint64 // below 2^53: microseconds of the store's clock, or the previous fence plus one if that is more
}

// Compare returns -1, 0 or +1 as f is before, equal to or after other.
func (f Fence) Compare(other Fence) int {
	return cmp.Or(cmp.Compare(f.Epoch, other.Epoch), cmp.Compare(f.N, other.N))
}

// String returns the text form.
func (f Fence) String() string { return fmt.Sprintf("%016x%014x", f.Epoch, f.N) }

// ParseFence reads the text form.
func ParseFence(s string) (Fence, error) {
	if len(s) != 30 {
		return Fence{}, fmt.Errorf("idempotency: fence %q: %d characters, want 30", s, len(s))
	}
	epoch, err := strconv.ParseUint(s[:16], 16, 64)
	if err != nil {
		return Fence{}, fmt.Errorf("idempotency: fence %q: %w", s, err)
	}
	n, err := strconv.ParseUint(s[16:], 16, 53)
	if err != nil {
		return Fence{}, fmt.Errorf("idempotency: fence %q: %w", s, err)
	}
	return Fence{epoch, n}, nil
}
