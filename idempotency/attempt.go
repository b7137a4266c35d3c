package idempotency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/uuid"
)

// An Attempt is one run of a guarded function. Its methods are safe for concurrent use.
type Attempt struct {
	Key    Key
	Fence  Fence // grows with every attempt of the key; zero if the attempt is unprotected
	Number int   // how many attempts the key has seen, this one included; 0 if unprotected

	// Prior says how the attempt before ended: StateAbsent (there is none that may have had an effect),
	// StateInFlight (it died) or StateHeld.
	Prior State

	// Saved is the last checkpoint of the attempts before; nil for none.
	Saved []byte

	core   *core
	parent *Attempt
	lease  *lease // nil if unprotected
}

type attemptKey struct{}

// From returns the attempt that ctx belongs to. ok is false outside guarded functions.
func From(ctx context.Context) (a *Attempt, ok bool) {
	a, ok = ctx.Value(attemptKey{}).(*Attempt)
	return a, ok
}

// Child returns the ID for a call that the function makes to another service; see [ChildID].
func (a *Attempt) Child(op string) string {
	return uuid.Child(a.Key.Scope, a.Key.Op, a.Key.ID, op)
}

// Lease returns how long the attempt owns its key for certain, by this process's monotonic clock; it
// grows with every heartbeat. Zero or less means that it may be somebody else's by now.
func (a *Attempt) Lease() time.Duration {
	if a.lease == nil {
		return 0
	}
	return a.lease.left()
}

// Checkpoint saves how far the function got, for the next attempt of the key should this one die. It is one
// round trip, replaces the checkpoint before and also extends the lease. data is at most Config.MaxBytes long.
//
// It returns ErrLeaseLost if the key is no longer the attempt's, and the store's error if it did not answer; the
// checkpoint may then be saved or not. An unprotected attempt cannot save anything and gets ErrUnavailable.
func (a *Attempt) Checkpoint(ctx context.Context, data []byte) error {
	if a.lease == nil {
		return a.core.refusal(a.Key, ErrUnavailable, errors.New("the attempt is unprotected"))
	}
	if len(data) > a.core.config.MaxBytes {
		return fmt.Errorf("idempotency %q: checkpoint of %d bytes is more than MaxBytes", a.core.config.Name, len(data))
	}
	sealed, err := a.core.sealCheckpoint(ctx, a.Key, data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.core.config.StoreTimeout)
	defer cancel()
	return a.lease.extend(ctx, sealed)
}

func (g *core) sealCheckpoint(ctx context.Context, key Key, data []byte) ([]byte, error) {
	if g.config.Seal == nil {
		return append([]byte{}, data...), nil // the store keeps it; never nil, which would mean none
	}
	sealed, err := g.config.Seal.Seal(ctx, key, data)
	if err != nil {
		return nil, fmt.Errorf("idempotency %q: sealing a checkpoint: %w", g.config.Name, err)
	}
	return sealed, nil
}

func (g *core) openCheckpoint(ctx context.Context, key Key, saved []byte) ([]byte, error) {
	if g.config.Seal == nil || saved == nil {
		return bytes.Clone(saved), nil
	}
	return g.config.Seal.Open(ctx, key, saved)
}

// within reports whether key is one that ctx's function is already running under.
func within(ctx context.Context, g *core, key *Key) bool {
	a, _ := From(ctx)
	for ; a != nil; a = a.parent {
		if a.core == g && a.Key.place() == key.place() {
			return true
		}
	}
	return false
}
