package idempotency

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/uuid"
)

// NewID returns a new call ID, a UUIDv7 (RFC 9562): 36 characters, unique, and holding the time it was made, by
// which a guard knows after a failover whether the key is older than it. Make it once for a call, before the
// first attempt, and keep it for every repetition.
func NewID() string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // never fails
	ms := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(u[:], uint32(ms>>16))
	binary.BigEndian.PutUint16(u[4:], uint16(ms))
	return uuid.Format(u, 7)
}

// mintedAt returns when NewID made id, or the part of id behind its last slash, as queues name their
// calls. ok is false for IDs that do not look like NewID's.
func mintedAt(id string) (at time.Time, ok bool) {
	id = id[strings.LastIndexByte(id, '/')+1:]
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[14] != '7' || id[18] != '-' || id[23] != '-' {
		return time.Time{}, false
	}
	var ms [8]byte
	if _, err := hex.Decode(ms[2:6], []byte(id[:8])); err != nil {
		return time.Time{}, false
	}
	if _, err := hex.Decode(ms[6:], []byte(id[9:13])); err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))), true
}

// ChildID returns the key for a call that the guarded function makes to another service: a UUIDv8 derived from the key
// of the attempt in ctx and from op. It is the same on every re-run of that key, in every process and Region, so
// that the other service recognises the repetition. Calls that differ need different ops. Outside a guarded
// function there is nothing to derive from and ChildID returns a [NewID].
func ChildID(ctx context.Context, op string) string {
	a, ok := From(ctx)
	if !ok {
		return NewID()
	}
	return a.Child(op)
}
