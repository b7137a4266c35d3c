package redisstore

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

const (
	headLength = 129
	ownLength  = 22 // the part of a head that says whose first attempt it is, and that nobody waits
)

var (
	errRecord = errors.New("malformed record")
	states    = map[byte]idempotency.State{'0': idempotency.StateAbsent, 'i': idempotency.StateInFlight, 'h': idempotency.StateHeld, 'd': idempotency.StateDone}
	letters   = [...]string{"0", "i", "h", "d"} // by State
)

// appendFirst appends the record of h's attempt as that of a first one: what is in flight is granted for lease,
// and the rest has no lease. The result follows.
func appendFirst(b []byte, state idempotency.State, h *idempotency.Holder, lease, retention int64) []byte {
	b = append(append(append(b, "hf2"...), letters[state]...), "00"...)
	b = append(append(b, h.Owner[:]...), h.Key.Fingerprint[:]...)
	b = appendEpoch(b, h.Fence.Epoch)
	b = appendDigits(b, int64(min(h.Fence.N, math.MaxInt64)), 16)
	b = append(b, "00000001"...)
	ends := int64(0)
	if state == idempotency.StateInFlight {
		ends = max(0, retention-lease)
	}
	b = appendDigits(b, ends, 13)
	b = appendDigits(b, retention, 13)
	return append(b, "000000000"...)
}

// appendDigits appends n in width digits.
func appendDigits(b []byte, n int64, width int) []byte {
	end := len(b) + width
	for range width {
		b = append(b, '0')
	}
	for i := end - 1; i >= end-width && n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// appendEpoch appends what compares as a string as the epoch does as a number, which Lua's doubles cannot hold.
func appendEpoch(b []byte, epoch uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[epoch>>shift&15])
	}
	return b
}

// parseRecord reads a record whose key expires in left milliseconds.
func parseRecord(text string, left int64) (r idempotency.Record, err error) {
	if len(text) < headLength || text[:3] != "hf2" {
		return r, errRecord
	}
	state, ok := states[text[3]]
	prior, ok2 := states[text[4]]
	copy(r.Owner[:], text[6:22])
	copy(r.Fingerprint[:], text[22:54])
	epoch, err1 := strconv.ParseUint(text[54:70], 16, 64)
	var n [5]int64
	for i, field := range [...]string{text[70:86], text[86:94], text[94:107], text[107:120], text[120:129]} {
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil || n[i] < 0 {
			return r, errRecord
		}
	}
	tail, saved := text[headLength:], n[4]-1
	if !ok || !ok2 || state == idempotency.StateAbsent || err1 != nil || n[0] >= 1<<53 || saved > int64(len(tail)) {
		return r, errRecord
	}
	r.State, r.Prior, r.Fence, r.Attempt = state, prior, idempotency.Fence{Epoch: epoch, N: uint64(n[0])}, int(n[1])
	r.Lease, r.Running, r.Retention = millis(left-n[2]), millis(n[3]-left), millis(left)
	if saved >= 0 {
		r.Checkpoint, tail = []byte(tail[:saved]), tail[saved:]
	}
	if state == idempotency.StateDone {
		r.Result = []byte(tail)
	}
	return r, nil
}

// fenceAt is the fence of a first claim whose key expires at an instant of the server's clock.
func fenceAt(epoch uint64, expires, retention int64) (idempotency.Fence, error) {
	began := expires - retention
	if began <= 0 || began >= 1<<53/1000 {
		return idempotency.Fence{}, errRecord
	}
	return idempotency.Fence{Epoch: epoch, N: uint64(began) * 1000}, nil
}

func fenceText(f idempotency.Fence) string {
	b := appendEpoch(make([]byte, 0, 30), f.Epoch)
	return string(append(b, hex.EncodeToString([]byte{
		byte(f.N >> 48), byte(f.N >> 40), byte(f.N >> 32), byte(f.N >> 24), byte(f.N >> 16), byte(f.N >> 8), byte(f.N),
	})...))
}

// inMillis rounds up, so that nothing positive becomes zero.
func inMillis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
