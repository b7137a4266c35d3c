package failover

import (
	"context"
	"time"

	callers "github.com/holdfast-go/holdfast/internal/caller"
)

// A caller remembers, from before a call, what its caller allowed it.
type caller struct {
	ctx    context.Context
	toLive time.Duration
}

// callerOf reads the clock only if ctx has a deadline.
func callerOf(ctx context.Context) caller {
	if _, ok := ctx.Deadline(); !ok {
		return caller{ctx: ctx, toLive: callers.Forever}
	}
	return callerSince(ctx, time.Now())
}

func callerSince(ctx context.Context, now time.Time) caller {
	return caller{ctx: ctx, toLive: callers.ToLive(ctx, now)}
}

// health is what class says about the Region's health: nothing if the caller ended the call, by cancelling it or with a deadline
// that gave the Region no fair chance. Neutral for health is not known: the class itself stays.
func (c caller) health(class Class) effect {
	if (class == ClassUnknown || class == ClassNotSent) && callers.Neutral(c.ctx, c.toLive, deadlineCounts) {
		return effectNone
	}
	return class.effect()
}
