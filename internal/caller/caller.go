// Package caller tells a call that its caller gave up on from a call that failed.
//
// It is the one implementation of two rules. A caller's cancel says nothing about the other side's health.
// A caller's deadline speaks against the other side only if the call had enough time to live when it started:
// at least the smallest limit that is set for it.
package caller

import (
	"context"
	"errors"
	"math"
	"time"
)

// Forever is the time to live of a call without a deadline.
const Forever = time.Duration(math.MaxInt64)

// An End says whether and how a caller stopped waiting.
type End uint8

const (
	Waiting   End = iota // the caller still waits
	Cancelled            // it cancelled
	Expired              // its deadline passed
)

// Ended says how ctx ended, as of now. A deadline that has passed counts even before ctx has noticed:
// connections are given the same instant and often report it first. A cancel whose cause is a deadline is a deadline:
// it is how time limits end that do not cover all of what their context does.
func Ended(ctx context.Context) End {
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return Expired
		}
		return Cancelled
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= 0 {
		return Expired
	}
	return Waiting
}

// ToLive returns how long a call that starts at start may take before ctx's deadline ends it.
func ToLive(ctx context.Context, start time.Time) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline.Sub(start)
	}
	return Forever
}

// Neutral reports whether a call under ctx that returned an error says nothing about the other side's
// health. toLive is [ToLive] of its start; limits are the durations that are set for such a call,
// of which those at or below zero are unset. An attempt timeout set by [WithAttemptTimeout] is one more.
func Neutral(ctx context.Context, toLive time.Duration, limits ...time.Duration) bool {
	switch Ended(ctx) {
	case Cancelled:
		return true
	case Expired:
		return toLive < smallest(ctx, limits)
	}
	return false
}

func smallest(ctx context.Context, limits []time.Duration) time.Duration {
	least := Forever
	if timeout, ok := ctx.Value(attemptKey{}).(time.Duration); ok {
		// The call starts a little after its attempt: with nine tenths left it had its time.
		least = timeout - timeout/10
	}
	for _, limit := range limits {
		if limit > 0 {
			least = min(least, limit)
		}
	}
	if least == Forever {
		return 0 // no limit is set: every deadline that passed was long enough
	}
	return least
}

type attemptKey struct{}

// WithAttemptTimeout is context.WithTimeoutCause for one attempt of a call. It makes timeout known to [Neutral],
// so that an attempt that used its whole time counts as a failure however short that time is.
func WithAttemptTimeout(ctx context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithValue(ctx, attemptKey{}, timeout), timeout, cause)
}

// AsksAttempt reports whether key, of a context's Value method, asks for what [WithAttemptTimeout] keeps: a time.Duration. Contexts of
// attempts that are ended by other means answer it themselves.
func AsksAttempt(key any) bool {
	_, ok := key.(attemptKey)
	return ok
}
