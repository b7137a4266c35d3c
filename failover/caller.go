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
	deadline, ok := ctx.Deadline()
	return caller{ctx: ctx, short: ok && time.Until(deadline) < deadlineCounts}
}

// class is f's class of err, or neutral if the caller ended the call: by cancelling it, or with a deadline that
// gave the Region no fair chance.
func (c caller) class(f func(error) Class, err error) Class {
	if err == nil {
		return ClassOK
	}
	class := f(err)
	if class != ClassUnknown {
		return class
	}
	switch c.ctx.Err() {
	case context.Canceled:
		return ClassNeutral
	case context.DeadlineExceeded:
		if c.short {
			return ClassNeutral
		}
	}
	return class
}
