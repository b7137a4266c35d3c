package redisstore

import (
	"errors"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

const headLength = 142

var (
	errRecord = errors.New("malformed record")
	states    = map[byte]idempotency.State{'0': idempotency.StateAbsent, 'i': idempotency.StateInFlight, 'h': idempotency.StateHeld, 'd': idempotency.StateDone}
	letters   = [...]string{"0", "i", "h", "d"} // by State
)

// parseRecord reads a record as it was at now, in milliseconds of the server's clock.
func parseRecord(text string, now int64) (r idempotency.Record, err error) {
	if len(text) < headLength || text[:3] != "hf1" {
		return r, errRecord
	}
	state, ok := states[text[3]]
	prior, ok2 := states[text[4]]
	copy(r.Owner[:], text[6:22])
	copy(r.Fingerprint[:], text[22:54])
	epoch, err1 := strconv.ParseUint(text[54:70], 16, 64)
	var n [6]int64
	for i, field := range [...]string{text[70:86], text[86:94], text[94:107], text[107:120], text[120:133], text[133:142]} {
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil || n[i] < 0 {
			return r, errRecord
		}
	}
	tail, saved := text[headLength:], n[5]-1
	if !ok || !ok2 || state == idempotency.StateAbsent || err1 != nil || n[0] >= 1<<53 || saved > int64(len(tail)) {
		return r, errRecord
	}
	r.State, r.Prior, r.Fence, r.Attempt = state, prior, idempotency.Fence{Epoch: epoch, N: uint64(n[0])}, int(n[1])
	r.Lease, r.Running, r.Retention = millis(n[2]-now), millis(now-n[3]), millis(n[4]-now)
	if saved >= 0 {
		r.Checkpoint, tail = []byte(tail[:saved]), tail[saved:]
	}
	if state == idempotency.StateDone {
		r.Result = []byte(tail)
	}
	return r, nil
}

// inMillis rounds up, so that nothing positive becomes zero.
func inMillis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
