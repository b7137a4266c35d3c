package retry

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"

	"github.com/holdfast-go/holdfast/internal/striped"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// state is what a Policy carries beside its settings. It is made at the first use and found again through
// an atomic pointer, so that a Policy needs no constructor.
type state struct {
	owner   *Policy // never nil; a copy of a used Policy finds another's state and makes its own
	invalid error   // of validateFields
	timed   bool    // calls need the time of their start
	plain   bool    // neither: a call may start at once
	budget  *Budget // never nil
	logger  *slog.Logger

	set     telemetry.Set
	reasons [reasons]telemetry.Set

	retries striped.Counter
	gaveUp  [reasons]atomic.Int64
	granted atomic.Int64 // by Policy.Spend, not yet begun
}

// stateOf returns p's state.
func (p *Policy) stateOf() *state {
	if s := p.madeState(); s != nil {
		return s
	}
	return p.newState()
}

// madeState returns p's state, or nil before the first use. It is small enough to be inlined into Do.
func (p *Policy) madeState() *state {
	if p == nil {
		return noPolicy
	}
	if s := p.state.Load(); s != nil && s.owner == p {
		return s
	}
	return nil
}

// noPolicy is the state of a nil Policy: defaults without a budget, and counts that nobody reads.
var noPolicy = (&Policy{Budget: NoBudget}).buildState()

// newState makes p's state. Of goroutines that meet here one wins; the others' are dropped unused.
func (p *Policy) newState() *state {
	old := p.state.Load()
	if old != nil && old.owner == p {
		return old
	}
	s := p.buildState()
	if !p.state.CompareAndSwap(old, s) {
		return p.newState()
	}
	telemetry.Attach(p.MeterProvider, telemetry.Retry, s, (*state).collect)
	return s
}

func (p *Policy) buildState() *state {
	s := &state{
		owner:   p,
		invalid: p.validateFields(),
		timed:   p.MaxElapsed > 0 || p.AttemptTimeout > 0,
		logger:  telemetry.Logger(p.Logger),
		budget:  p.Budget,
	}
	s.plain = s.invalid == nil && !s.timed
	if s.budget == nil {
		s.budget, _ = NewBudget(BudgetConfig{Name: p.Name, MeterProvider: p.MeterProvider}) // defaults are valid
	}
	name := attribute.String(telemetry.NameAttribute.Key, p.Name)
	s.set = telemetry.NewSet(name)
	for r := range s.reasons {
		s.reasons[r] = telemetry.NewSet(name, attribute.String("reason", Reason(r).text().short))
	}
	return s
}

func (s *state) collect(c *telemetry.Collector) {
	c.Int(telemetry.RetryRetries, s.retries.Load(), s.set)
	for r := ReasonAttempts; r < reasons; r++ {
		c.Int(telemetry.RetryGiveUps, s.gaveUp[r].Load(), s.reasons[r])
	}
}

// begin admits the first attempt of a call that needs more than Do's first look: it returns the error of a
// call that must not start.
func (s *state) begin(ctx context.Context, nilFunc bool) error {
	if nilFunc || ctx.Err() != nil || s.invalid != nil {
		return s.refuse(ctx, nilFunc)
	}
	s.budget.payIn(ctx, s.owner)
	return nil
}

// settleGranted reports whether an attempt that begins is one that Spend granted. Which one does not matter: the
// sums of retries and deposits come out right.
func (s *state) settleGranted() bool {
	for n := s.granted.Load(); n > 0; n = s.granted.Load() {
		if s.granted.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// refuse is the error of a call that never starts.
func (s *state) refuse(ctx context.Context, nilFunc bool) error {
	reason, cause := ReasonInvalid, errNilFunc
	switch {
	case nilFunc:
	case s.invalid != nil:
		cause = s.invalid
	default:
		reason, cause = ReasonContext, context.Cause(ctx)
	}
	q := Sequence{ctx: ctx, state: s}
	return q.giveUp(reason, cause)
}
