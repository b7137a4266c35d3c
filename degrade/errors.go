package degrade

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

var (
	// ErrReadOnly matches the refusal of a write at [ReadOnly] or [Offline].
	ErrReadOnly = errors.New("degrade: read-only")
	// ErrOffline matches the refusal of any call at [Offline].
	ErrOffline = errors.New("degrade: offline")
	// ErrShed matches refusals for load, not for level: by package shed, or by a full fallback.
	ErrShed = errors.New("degrade: shed")
	// ErrConflict is returned by a [Store] whose content has changed since it was loaded.
	ErrConflict = errors.New("degrade: overrides have changed since they were loaded")
)

// A RefusedError is returned for a call that was refused: nothing ran. It matches [ErrReadOnly],
// [ErrOffline] or [ErrShed] with errors.Is; a write at Offline matches the first two.
type RefusedError struct {
	Name  string        // the feature, or the shedder, that refused
	Op    Op            // what was refused
	Level Level         // the level it was refused at
	Cause Cause         // why
	Wait  time.Duration // when to ask again; an estimate unless Cause is CauseMaintenance
}

// Error names the feature, what was refused at which level and why, and when to come again.
func (e *RefusedError) Error() string {
	if e.Cause == CauseOverload {
		return fmt.Sprintf("degrade: %q: %v refused for %s, try again in %v", e.Name, e.Op, e.Cause, e.Wait.Round(time.Second))
	}
	return fmt.Sprintf("degrade: feature %q: %v refused at level %v (%s), try again in %v", e.Name, e.Op, e.Level, e.Cause, e.Wait.Round(time.Second))
}

// Is reports whether target is one of this package's sentinels that e stands for.
func (e *RefusedError) Is(target error) bool {
	switch target {
	case ErrShed:
		return e.Cause == CauseOverload
	case ErrOffline:
		return e.Cause != CauseOverload && e.Level >= Offline
	case ErrReadOnly:
		return e.Cause != CauseOverload && e.Op == OpWrite && e.Level >= ReadOnly
	}
	return false
}

// NotRun is true: a refused call had no effect.
func (e *RefusedError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *RefusedError) OutcomeUnknown() bool { return false }

// RetryAfter returns Wait.
func (e *RefusedError) RetryAfter() time.Duration { return e.Wait }

// A FallbackError is returned when the primary call and its fallback both failed. errors.Is and
// errors.AsType find both.
type FallbackError struct {
	Name     string // the feature
	Primary  error  // nil if the level kept the primary call from being made
	Fallback error
}

// Error names the feature and says how both calls failed.
func (e *FallbackError) Error() string {
	if e.Primary == nil {
		return fmt.Sprintf("degrade: feature %q: fallback: %v", e.Name, e.Fallback)
	}
	return fmt.Sprintf("degrade: feature %q: %v, and its fallback: %v", e.Name, e.Primary, e.Fallback)
}

// Unwrap returns the primary call's error, if there is one, and the fallback's.
func (e *FallbackError) Unwrap() []error {
	if e.Primary == nil {
		return []error{e.Fallback}
	}
	return []error{e.Primary, e.Fallback}
}

// NotRun reports whether neither call had an effect.
func (e *FallbackError) NotRun() bool { return e.outcome() == outcome.NotRun }

// OutcomeUnknown reports whether one of the calls may have had an effect.
func (e *FallbackError) OutcomeUnknown() bool { return e.outcome() == outcome.Unknown }

func (e *FallbackError) outcome() outcome.Outcome {
	if e.Primary == nil {
		return outcome.Of(e.Fallback)
	}
	return outcome.Join(outcome.Of(e.Primary), outcome.Of(e.Fallback))
}
