package retryaws

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/retryafter"
	"github.com/holdfast-go/holdfast/retry"
)

// New returns a retryer for aws.Config.Retryer and the Retryer option of clients; prefer [Use]. A nil policy has the defaults of
// [retry.Do]. A policy that is unusable, or has MaxElapsed, AttemptTimeout or OnRetry, fails every operation
// before it is sent. Safe for concurrent use.
func New(p *retry.Policy) aws.RetryerV2 {
	return &retryer{policy: p, unusable: unsupported(p, true)}
}

// retryer decides attempt by attempt.
type retryer struct {
	policy   *retry.Policy
	unusable error
}

// unsupported names the first field that the SDK's loop cannot honour.
func unsupported(p *retry.Policy, bare bool) error {
	if p == nil {
		return nil
	}
	if err := p.Validate(); err != nil {
		return err
	}
	switch {
	case p.AttemptTimeout > 0:
		return errors.New("retryaws: Policy.AttemptTimeout: not supported: set a timeout on the HTTP client")
	case bare && p.MaxElapsed > 0:
		return errors.New("retryaws: Policy.MaxElapsed: not supported by New: use Use")
	case bare && p.OnRetry != nil:
		return errors.New("retryaws: Policy.OnRetry: not supported by New: use Use")
	}
	return nil
}

func refuse(p *retry.Policy, reason retry.Reason, cause error) error {
	e := &retry.Error{Reason: reason, Cause: cause}
	if p != nil {
		e.Name = p.Name
	}
	return e
}

// MaxAttempts implements aws.Retryer. Zero means no limit there.
func (r *retryer) MaxAttempts() int {
	const byDefault = 4
	switch {
	case r.policy == nil || r.policy.MaxAttempts == 0:
		return byDefault
	case r.policy.MaxAttempts == retry.Unlimited:
		return 0
	}
	return r.policy.MaxAttempts
}

// IsErrorRetryable implements aws.Retryer.
func (r *retryer) IsErrorRetryable(err error) bool {
	signs, _ := outcome.Read(err)
	switch {
	case signs&outcome.SaysPermanent != 0:
		return false
	case r.policy != nil && r.policy.Retryable != nil:
		return r.policy.Retryable(err)
	case signs&(outcome.SaysUnknown|outcome.SaysCanceled) != 0:
		return false
	case signs&outcome.SaysNotRun != 0:
		return true
	}
	return awsretry.IsErrorRetryables(awsretry.DefaultRetryables).IsErrorRetryable(err).Bool()
}

// RetryDelay implements aws.Retryer. The attempts of the SDK's modes count from 1 or from 0.
func (r *retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	return r.policy.Delay(attempt, withHint(err, time.Now()))
}

// GetAttemptToken implements aws.RetryerV2.
func (r *retryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if r.unusable != nil {
		return nil, refuse(r.policy, retry.ReasonInvalid, r.unusable)
	}
	return release, r.policy.Admit(ctx)
}

// GetRetryToken implements aws.Retryer. The SDK joins what it returns with err.
func (r *retryer) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	if reason := r.policy.Spend(ctx, withHint(err, time.Now())); reason != 0 {
		return nil, refuse(r.policy, reason, context.Cause(ctx))
	}
	return release, nil
}

// GetInitialToken implements aws.Retryer. The SDK calls GetAttemptToken instead.
func (r *retryer) GetInitialToken() func(error) error { return release }

// release gives no token back: what was paid for a repetition stays paid.
func release(error) error { return nil }

// hinted is an SDK error with the wait that its response asks for.
type hinted struct {
	error
	wait time.Duration
}

func (h *hinted) Unwrap() error             { return h.error }
func (h *hinted) RetryAfter() time.Duration { return h.wait }

// withHint adds what err's response says about when to come back.
func withHint(err error, now time.Time) error {
	e, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || e.Response == nil || e.Response.Response == nil {
		return err
	}
	if wait, ok := milliseconds(e.Response.Header.Get("X-Amz-Retry-After")); ok {
		return &hinted{err, wait}
	}
	if wait, ok := retryafter.Parse(e.Response.Header, now); ok {
		return &hinted{err, wait}
	}
	return err
}

const maxMilliseconds = 1<<63/1_000_000 - 1

// milliseconds reads a number of milliseconds. More than a Duration holds is the most it holds.
func milliseconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(n, maxMilliseconds)) * time.Millisecond, true
}
