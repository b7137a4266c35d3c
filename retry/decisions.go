package retry

import (
	"context"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// allows reports whether a call may make its attempt of that number.
func (p *Policy) allows(number int) bool {
	if p.MaxAttempts == 0 {
		return number <= defaultMaxAttempts
	}
	return p.MaxAttempts == Unlimited || number <= p.MaxAttempts
}

// hinted is the wait of an error that asks for more than the schedule's own delay: its hint, as far as
// MaxHint lets it.
func (p *Policy) hinted(own, hint time.Duration) time.Duration {
	extra := min(orDefault(p.MaxHint, defaultMaxHint), hint-own)
	if own > math.MaxInt64-extra {
		return math.MaxInt64
	}
	return own + extra
}

// The following three serve clients with a loop of their own, such as the AWS SDK, which tell a policy of an
// attempt's number and error and not of the call it belongs to. MaxElapsed, AttemptTimeout and OnRetry are beyond them.

// Admit admits an attempt, the first of a call or one that Spend has granted. It returns an [Error] that is NotRun if the
// attempt must not start, because ctx has ended or p is unusable. A call made by [Do] or [Policy.Start] admits itself.
func (p *Policy) Admit(ctx context.Context) error {
	s := p.stateOf()
	if ctx.Err() != nil || s.invalid != nil {
		return s.refuse(ctx, false)
	}
	if !s.settleGranted() {
		s.budget.payIn(ctx, s.owner)
	}
	return nil
}

// Spend pays for one repetition after err and returns zero, or the reason why there is none: the context has
// ended, an outer call is being repeated already, the wait that err asks for ends past the deadline, or the budget refuses.
// Whether err may be repeated, and how often, is the client's to ask.
func (p *Policy) Spend(ctx context.Context, err error) Reason {
	s := p.stateOf()
	reason := s.refusal(ctx, err)
	if reason != 0 {
		s.gaveUp[reason].Add(1)
		return reason
	}
	s.retries.Add(1)
	s.granted.Add(1)
	return 0
}

// refusal is the part of decide that needs no history.
func (s *state) refusal(ctx context.Context, err error) Reason {
	hint, hinted := outcome.RetryAfter(err)
	switch {
	case ctx.Err() != nil:
		return ReasonContext
	case nested(ctx, s.owner.Name):
		return ReasonNested
	case hinted && pastDeadline(ctx, s.owner.hinted(0, hint)):
		return ReasonDeadline
	case !s.budget.spendFor(err):
		return ReasonBudget
	}
	return 0
}

// Delay returns the wait after a call's n-th failure, with err; n below 1 counts as 1. It fails if the schedule is unusable
// or has ended. Every call of Delay walks a new schedule, so delays that depend on the one before are drawn anew.
func (p *Policy) Delay(n int, err error) (time.Duration, error) {
	p = p.stateOf().owner
	schedule, invalid := newSchedule(p.Backoff)
	if invalid != nil {
		return 0, invalid
	}
	own := schedule.NextBackOff()
	for range n - 1 {
		if own < 0 {
			break
		}
		own = schedule.NextBackOff()
	}
	if own < 0 {
		return 0, errScheduleStopped
	}
	if hint, ok := outcome.RetryAfter(err); ok && hint > own {
		return p.hinted(own, hint), nil
	}
	return own, nil
}
