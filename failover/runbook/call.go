package runbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// patience is how long a function of a step has to return once its context has ended.
const patience = 5 * time.Second

// guarded runs f, whatever f does: a panic and runtime.Goexit are errors, and a call that ignores the end of its context is left to itself.
func guarded[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type reply struct {
		value T
		err   error
	}
	replies := make(chan reply, 1) // room for the reply of a call that nobody waits for any more
	go func() {
		r := reply{err: errors.New("ended its goroutine")}
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("panicked: %v", p)
			}
			replies <- r
		}()
		r.value, r.err = f(ctx)
	}()
	select {
	case r := <-replies:
		return r.value, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-replies:
		return r.value, r.err
	case <-timer.C:
		var none T
		return none, fmt.Errorf("%w: no return %v after the end of its context (%v)", ErrHung, patience, context.Cause(ctx)) //nolint:errorlint // a step that hangs has not ended for that cause
	}
}

// observe is Check or Verify, whichever is there; preferred says which first. Steps with neither are needed.
func observe(ctx context.Context, preferred, other func(context.Context) (State, error)) (State, error) {
	if preferred == nil {
		preferred = other
	}
	if preferred == nil {
		return StateNeeded, nil
	}
	state, err := guarded(ctx, preferred)
	if err != nil {
		return StateBlocked, err
	}
	return state, nil
}

// call runs a Do, an Undo or a Preflight.
func call(ctx context.Context, do func(context.Context) error) error {
	_, err := guarded(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

type (
	tokenKey struct{}
	runKey   struct{}
)

// context is the context of a step's functions.
func (s Step) context(ctx context.Context, run, what string) context.Context {
	return context.WithValue(context.WithValue(ctx, runKey{}, run), tokenKey{}, requestToken(run, what+s.Name))
}

// Token returns a token for the request that the calling Do makes: the same for every attempt of the step in its run, in every process,
// and different for every other. Check and Verify of the step see the same, Undo another. It is 32 hexadecimal digits; "" outside a run.
func Token(ctx context.Context) string {
	token, _ := ctx.Value(tokenKey{}).(string)
	return token
}

// RunID returns the ID of the run that the calling function of a step belongs to; "" in a plan and outside of runs.
func RunID(ctx context.Context) string {
	run, _ := ctx.Value(runKey{}).(string)
	return run
}

func requestToken(run, step string) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%d:%s%s", len(run), run, step)))
	return hex.EncodeToString(sum[:16])
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
