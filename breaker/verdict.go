package breaker

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/internal/caller"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// A Verdict says what a call's result means for the dependency's health.
type Verdict uint8

const (
	VerdictFailure Verdict = iota // it speaks against the dependency
	VerdictSuccess                // it speaks for the dependency, though the call returned an error
	VerdictNeutral                // it says nothing: not counted, and a probe gives its slot back
	VerdictTripNow                // open at once, whatever the window holds
)

// String returns the name in lower case.
func (v Verdict) String() string {
	return nameOf("Verdict", v, "failure", "success", "neutral", "trip now")
}

// DefaultVerdict is the verdict when [Config].Verdict is nil: nil is a success; neutral are refusals made
// on this side (an inner breaker, bulkhead or limit), errors marked permanent (the dependency answered, and
// would answer the same again) and [context.Canceled]; all others are failures.
func DefaultVerdict(err error) Verdict {
	switch {
	case err == nil:
		return VerdictSuccess
	case errors.Is(err, context.Canceled), outcome.LocalRefusal(err), outcome.Permanent(err):
		return VerdictNeutral
	}
	return VerdictFailure
}

// judge is the verdict on a call's error: first what its caller's end makes of it, then what the error says.
func (b *Breaker) judge(ctx context.Context, start int64, err error) Verdict {
	if b.blameless(ctx, start) {
		return VerdictNeutral
	}
	return b.cfg.Verdict(err)
}

// blameless reports whether the caller of a call that began at start stopped waiting too soon to blame anyone.
func (b *Breaker) blameless(ctx context.Context, start int64) bool {
	toLive := caller.Forever
	if start != 0 {
		toLive = caller.ToLive(ctx, b.base.Add(time.Duration(start)))
	}
	return caller.Neutral(ctx, toLive, b.cfg.SlowCall, b.cfg.DeadlineCounts)
}

// hintOf is how long err asks to be left alone; zero if it does not.
func hintOf(err error) time.Duration {
	wait, _ := outcome.RetryAfter(err)
	return min(wait, math.MaxInt64/4) // headroom for jitter
}
