package retryaws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"

	"github.com/holdfast-go/holdfast/retry"
)

// Use makes all clients that are made from cfg repeat by p: it sets cfg.Retryer and adds to cfg.APIOptions, and replaces
// what an earlier Use did. A nil policy has the defaults of [retry.Do]. A policy that is unusable or has an AttemptTimeout
// fails every operation before it is sent. A client that sets a Retryer of its own repeats by that one alone.
func Use(cfg *aws.Config, p *retry.Policy) {
	r := &operationRetryer{retryer{policy: p, unusable: unsupported(p, false)}}
	cfg.Retryer = func() aws.Retryer { return r }
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], func(stack *middleware.Stack) error {
		return install(stack, r)
	})
}

const (
	sdkRetryID  = "Retry" // of the SDK's own middleware
	operationID = "Holdfast:Retry"
	attemptID   = "Holdfast:RetryAttempt"
)

// install puts our middleware around and inside the SDK's loop. A stack without the loop, such as a presigner's, is left alone.
func install(stack *middleware.Stack, r *operationRetryer) error {
	if _, ok := stack.Finalize.Get(sdkRetryID); !ok {
		return nil
	}
	if _, ok := stack.Finalize.Get(operationID); ok { // an earlier Use of a config that was copied since
		_, err := stack.Finalize.Swap(operationID, middleware.FinalizeMiddlewareFunc(operationID, r.aroundOperation))
		return err
	}
	err := stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc(operationID, r.aroundOperation), sdkRetryID, middleware.Before)
	if err != nil {
		return err
	}
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc(attemptID, aroundAttempt), sdkRetryID, middleware.After)
}

// operationRetryer knows the operation that an attempt belongs to: aroundOperation puts it into the context. The SDK's loop
// keeps its part, cloning and rewinding requests and numbering them; the decisions and the waits are the
// sequence's. The wait is made in GetRetryToken, the one place where the SDK hands over the context.
type operationRetryer struct{ retryer }

type operationKey struct{}

// operation is one call of a client.
type operation struct {
	seq       *retry.Sequence
	ended     bool // by the SDK, whose reasons are final
	exhausted bool // ended because there were MaxAttempts
	stop      error
	failed    error // of the last attempt, while the next one has not begun
}

func (r *operationRetryer) aroundOperation(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
) {
	if r.unusable != nil {
		return out, metadata, refuse(r.policy, retry.ReasonInvalid, r.unusable)
	}
	var op operation
	op.seq, err = r.policy.Start(ctx, func(error) bool { return !op.ended || op.exhausted })
	if err != nil {
		return out, metadata, err
	}
	defer op.seq.End()
	out, metadata, err = next.HandleFinalize(context.WithValue(ctx, operationKey{}, &op), in)
	if err != nil {
		err = op.end(err, r.MaxAttempts())
	}
	return out, metadata, err
}

// end is the error of an operation that the SDK's loop ended with err.
func (op *operation) end(err error, limit int) error {
	if op.stop != nil {
		return op.stop // wraps the last attempt's error; err is both joined
	}
	op.ended = true
	if op.failed != nil {
		err = &unsentError{err: err, last: op.failed}
	}
	if e, ok := errors.AsType[*awsretry.MaxAttemptsError](err); ok && e.Attempt == limit {
		op.exhausted = true
		err = e.Err
	}
	if _, stop := op.seq.Next(withHint(err, time.Now())); stop != nil {
		return stop
	}
	return err
}

// GetAttemptToken implements aws.RetryerV2. The operation has been admitted by aroundOperation.
func (r *operationRetryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if operationOf(ctx) == nil {
		return nil, refuse(r.policy, retry.ReasonInvalid, errNotInstalled)
	}
	return release, nil
}

var errNotInstalled = errors.New("retryaws: the client has the Retryer of Use without its APIOptions")

// GetRetryToken implements aws.Retryer: it decides, pays and waits.
func (r *operationRetryer) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	op := operationOf(ctx)
	wait, stop := op.seq.Next(withHint(err, time.Now()))
	if stop == nil {
		stop = op.seq.Wait(wait)
	}
	op.stop, op.failed = stop, err
	return release, stop
}

// unsentError is what ended the SDK's loop before an attempt that had been decided, such as a context that ended just then.
type unsentError struct{ err, last error }

func (e *unsentError) Error() string   { return fmt.Sprintf("%v, after: %v", e.err, e.last) }
func (e *unsentError) Unwrap() []error { return []error{e.last, e.err} }
func (e *unsentError) NotRun() bool    { return true }

// RetryDelay implements aws.Retryer: the wait is over. The SDK's mode of 2026 would wait for x-amz-retry-after once more, for up to
// sdkHint longer than the delay that it gets here; from a delay so far below zero it makes none.
func (r *operationRetryer) RetryDelay(int, error) (time.Duration, error) { return -sdkHint, nil }

const sdkHint = 5 * time.Second

func operationOf(ctx context.Context) *operation {
	op, _ := ctx.Value(operationKey{}).(*operation)
	return op
}

// aroundAttempt marks the context of repeated attempts, for policies below the SDK's HTTP client.
func aroundAttempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	if op := operationOf(ctx); op != nil {
		op.failed = nil
		if a := retry.From(op.seq.Context()); a.Number > 1 {
			ctx = retry.WithAttempt(ctx, a)
		}
	}
	return next.HandleFinalize(ctx, in)
}
