package retry

import (
	"context"
	"sync/atomic"
	"time"
)

// An Attempt describes an attempt of a call, to the attempt itself ([From]) and to [Policy.OnRetry].
type Attempt struct {
	Name   string // of the policy; "" = unnamed
	Number int    // 1 is the first

	// The following are set for OnRetry alone.
	Wait    time.Duration // about to be waited before the attempt
	Elapsed time.Duration // as in Error.Elapsed
	Err     error         // of the attempt before
}

// From returns the innermost repeated attempt that ctx belongs to, with its Name and Number. Without one,
// and in every first attempt outside a repeated one, the Number is 1. A goroutine that outlives its
// attempt sees the number of the newest one.
func From(ctx context.Context) Attempt {
	m := markOf(ctx)
	if m == nil {
		return Attempt{Number: 1}
	}
	return Attempt{Name: *m.name, Number: m.load()}
}

// WithAttempt returns a context that belongs to attempt a of a call which someone else repeats: a service mesh,
// a queue, another client. From a.Number 2 on, every [Do] and [Hedge] below it with the Name a.Name makes a single
// attempt; with an empty a.Name every Do and Hedge does. Numbers below 1 leave ctx as it is.
func WithAttempt(ctx context.Context, a Attempt) context.Context {
	if a.Number < 1 {
		return ctx
	}
	return &mark{Context: ctx, name: &a.Name, number: int64(a.Number)}
}

// mark is the context of a repeated attempt. One serves all repetitions of a call, which run one after the
// other, so that they cost a single small allocation; hence the atomic number.
type mark struct {
	context.Context
	name   *string // of the policy
	number int64   // atomic once shared
}

func (m *mark) load() int         { return int(atomic.LoadInt64(&m.number)) }
func (m *mark) store(attempt int) { atomic.StoreInt64(&m.number, int64(attempt)) }

type markKey struct{}

func (m *mark) Value(key any) any {
	if key == (markKey{}) {
		return m
	}
	return m.Context.Value(key)
}

func markOf(ctx context.Context) *mark {
	m, _ := ctx.Value(markKey{}).(*mark)
	return m
}

// nested reports whether a call of the policy named name is being repeated around ctx. An unnamed
// repetition covers every policy: what it repeats is not known to be something else.
func nested(ctx context.Context, name string) bool {
	for m := markOf(ctx); m != nil; m = markOf(m.Context) {
		if m.load() > 1 && (*m.name == "" || *m.name == name) {
			return true
		}
	}
	return false
}
