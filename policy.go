package holdfast

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A Policy runs a call in its own way: repeated, guarded, limited, timed. Policies of the other packages
// (*retry.Policy, *breaker.Breaker, …) implement it, and so does a method value wrapped in [PolicyFunc].
//
// Do returns nil if and only if call succeeded, and otherwise an error that wraps what stopped it. It may run call
// any number of times, none included, also concurrently; it must not use call after Do has returned, and it hands
// call a context derived from ctx. Implementations are safe for concurrent use.
type Policy interface {
	Do(ctx context.Context, call func(context.Context) error) error
}

// PolicyFunc is a function used as a [Policy].
type PolicyFunc func(ctx context.Context, call func(context.Context) error) error

// Do calls f.
func (f PolicyFunc) Do(ctx context.Context, call func(context.Context) error) error {
	return f(ctx, call)
}

// Stack nests policies, the first outermost: Stack(a, b).Do(ctx, call) is a.Do(ctx, b.Do(…, call)). The package
// comment gives the order that works, with reasons. Stack() runs the call as it is.
//
// Stack panics if a policy is nil, naming its position. A Do over n policies costs n allocations, the closure of
// the call among them, and [Call] costs two more: on hot paths nest the packages' generic functions, which cost none.
func Stack(policies ...Policy) Policy {
	for i, p := range policies {
		if f, isFunc := p.(PolicyFunc); p == nil || isFunc && f == nil {
			panic(fmt.Sprintf("holdfast: Stack: policy %d of %d is nil", i+1, len(policies)))
		}
	}
	return stack(policies)
}

type stack []Policy

func (s stack) Do(ctx context.Context, call func(context.Context) error) error {
	switch len(s) {
	case 0:
		return call(ctx)
	case 1:
		return s[0].Do(ctx, call)
	}
	return s[0].Do(ctx, func(ctx context.Context) error { return s[1:].Do(ctx, call) })
}

// ErrNoResult is returned by [Call] when the policy reported success without running the function.
var ErrNoResult = errors.New("holdfast: the policy succeeded without running the call, so there is no result")

// Call runs fn under p and returns its result; on an error it returns the zero T. If p runs fn several times, the
// first success counts. A policy that succeeds without running fn, as an idempotency guard does on a replay,
// has no T to give: the error is then [ErrNoResult], and the package's own generic function is the one to use.
func Call[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error)) (T, error) {
	var first struct {
		sync.Mutex // a hedging policy runs fn concurrently
		value      T
		done       bool
	}
	err := p.Do(ctx, func(ctx context.Context) error {
		value, err := fn(ctx)
		if err != nil {
			return err
		}
		first.Lock()
		defer first.Unlock()
		if !first.done {
			first.value, first.done = value, true
		}
		return nil
	})
	first.Lock()
	defer first.Unlock()
	if err == nil && first.done {
		return first.value, nil
	}
	var zero T
	if err == nil {
		err = ErrNoResult
	}
	return zero, err
}
