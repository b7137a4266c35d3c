package breaker

import (
	"context"
)

// A Permit is the right to make one call, given by a [Breaker] or a [Bulkhead]. Call Done exactly once, also
// when the call panics: the Do forms see to that. Done twice panics where it can be seen, for probes of a
// breaker and when a bulkhead would have fewer than no calls in flight; elsewhere it counts twice.
type Permit struct {
	breaker   *Breaker
	bulkhead  *Bulkhead
	ctx       context.Context // the call's, to tell its caller's end from a failure
	admission admission
}

// Allow is shorthand for [Breaker.Acquire] without a caller that could give up: a call that returns
// [context.Canceled] is neutral, one that returns [context.DeadlineExceeded] has failed.
func (b *Breaker) Allow() (Permit, error) { return b.Acquire(context.Background()) }

// Acquire admits a call made under ctx in two steps, where [Do] does not fit: the call is over when the
// Permit's Done is called. It never waits. The error is an [OpenError].
func (b *Breaker) Acquire(ctx context.Context) (Permit, error) {
	a, err := b.admit(ctx)
	if err != nil {
		return Permit{}, err
	}
	return Permit{breaker: b, ctx: ctx, admission: a}, nil
}

// Done ends the call with its result.
func (p Permit) Done(err error) {
	switch {
	case p.bulkhead != nil:
		p.bulkhead.release()
	case p.breaker != nil:
		p.breaker.finish(p.ctx, p.admission, err)
	default:
		panic("breaker: Done of a zero Permit")
	}
}

// DoneAs ends the call with a verdict that the caller reached itself; a failure is still neutral if the call's
// context ended as [Config].DeadlineCounts describes. err, which may be nil, is asked only for its RetryAfter.
// A bulkhead ignores both arguments.
func (p Permit) DoneAs(verdict Verdict, err error) {
	if p.breaker == nil {
		p.Done(err)
		return
	}
	if verdict == VerdictFailure && p.breaker.blameless(p.ctx, p.admission.start) {
		verdict = VerdictNeutral
	}
	p.breaker.record(p.admission, verdict, err)
}

// Answered returns p with the call's duration fixed at now, for calls whose answer comes before they are
// over, such as those with a streamed body. It matters for [Config].SlowCall only.
func (p Permit) Answered() Permit {
	if p.breaker != nil && p.admission.start != 0 {
		p.admission.took = max(1, p.breaker.now()-p.admission.start)
	}
	return p
}
