package failover

import (
	"context"
	"time"
)

// A caller remembers, from before a call, what its caller allowed it.
type caller struct {
	ctx   context.Context
	short bool // the caller's deadline was too near to say anything about the Region
}

// callerOf reads the clock only if ctx has a deadline.
func callerOf(ctx context.Context) caller {
	if _, ok := ctx.Deadline(); !ok {
		return caller{ctx: ctx}
	}
	return callerSince(ctx, time.Now())
}

func callerSince(ctx context.Context, now time.Time) caller {
	deadline, ok := ctx.Deadline()
	return caller{ctx: ctx, short: ok && deadline.Sub(now) < deadlineCounts}
}

// health is what class says about the Region's health: nothing if the caller ended the call, by cancelling it or with a deadline
// that gave the Region no fair chance. Neutral for health is not known: the class itself stays.
func (c caller) health(class Class) effect {
	if class == ClassUnknown || class == ClassNotSent {
		switch c.ctx.Err() {
		case context.Canceled:
			return effectNone
		case context.DeadlineExceeded:
			if c.short {
				return effectNone
			}
		}
	}
	return class.effect()
}
