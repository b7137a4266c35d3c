package failover

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Scope says how far a write is known to be idempotent.
type Scope uint8

const (
	// RegionLocal: running it twice in one Region has one effect, for example because its key is kept there. It is repeated
	// within one epoch only.
	RegionLocal Scope = iota + 1
	// Replicated: key and effect commit in one replicated store, or the effect is a natural upsert. It may be
	// repeated at a later epoch too.
	Replicated
)

// A WriteOption is an option of [Write].
type WriteOption struct {
	scope   Scope
	session *Session
}

// Idempotent allows one repetition after an unknown outcome, within scope.
func Idempotent(scope Scope) WriteOption { return WriteOption{scope: scope} }

// InSession notes the write in s, for [ReadYourWrites].
func InSession(s *Session) WriteOption { return WriteOption{session: s} }

type writePlan struct {
	scope   Scope
	session *Session
}

func planWrite(opts []WriteOption) (p writePlan) {
	for _, o := range opts {
		if o.scope != 0 {
			p.scope = o.scope
		}
		if o.session != nil {
			p.session = o.session
		}
	}
	return p
}

// Write calls fn with the client of this process's own Region if that is the writer and this process may write now. fn hands the
// [Fence] to the resource, which checks it in the transaction of the write. fn never runs in a Region that is not the writer;
// it may run twice if the write is declared Idempotent or the first run had no effect and the epoch has moved.
//
// fn's context ends with the lease, at the latest after MaxFlight: also a write that is under way when its Region is switched away has this
// time, see [ErrRegionDrained]. Its Err is [context.DeadlineExceeded] then. A context made from it says [context.Canceled], and
// [context.Cause] of either is an error that matches [context.DeadlineExceeded]: ask the cause whether it was time.
//
// Errors: a [*FencedError] when this process may not write; fn's own when the Region answered; a [*RegionsError] when the write did not
// run; an [*UnknownOutcomeError] when it may have, after the [Ledger] has one record of it.
func Write[T, R any](ctx context.Context, c *Client[T], fn func(context.Context, T, Fence) (R, error), opts ...WriteOption) (R, error) {
	plan := planWrite(opts)
	var zero R
	var tried []Tried
	epoch := uint64(0)
	for {
		fence, now, end, err := c.fence()
		if err != nil {
			return zero, c.ended(ctx, tried, epoch, err)
		}
		if len(tried) > 0 && !repeatable(tried[len(tried)-1], plan.scope, epoch, fence.Epoch) {
			return zero, c.ended(ctx, tried, epoch, nil)
		}
		epoch = fence.Epoch
		v, one := writeOnce(ctx, c, fence, now, end, fn)
		switch one.Class {
		case ClassOK:
			if plan.session != nil {
				plan.session.note(time.Now())
			}
			return v, nil
		case ClassRejected:
			c.ctl.hint() // the Region says that it is not the writer: the decision may have moved
		case ClassAnswer:
			if len(tried) == 0 || tried[0].outcome() == outcome.NotRun {
				return v, one.Err
			}
		}
		tried = append(tried, one)
		if len(tried) == 2 || ctx.Err() != nil {
			return zero, c.ended(ctx, tried, epoch, nil)
		}
	}
}

// Write is [Write] for a function without a result.
func (c *Client[T]) Write(ctx context.Context, fn func(context.Context, T, Fence) error, opts ...WriteOption) error {
	_, err := Write(ctx, c, func(ctx context.Context, client T, f Fence) (struct{}, error) {
		return struct{}{}, fn(ctx, client, f)
	}, opts...)
	return err
}

// repeatable reports whether a write whose first run ended as one may run again: after no effect only because the decision has moved,
// after an unknown one only within its scope.
func repeatable(one Tried, scope Scope, before, now uint64) bool {
	switch one.outcome() {
	case outcome.NotRun:
		return now != before
	case outcome.Unknown:
		return scope == Replicated || scope == RegionLocal && now == before
	}
	return false
}

// fence returns what a write may carry now and until when it may run, or why there is none. It is one atomic load, under FenceLease a
// second one, and one clock read.
func (c *Client[T]) fence() (f Fence, now, end time.Time, err error) {
	ctl := c.ctl
	s := ctl.current.Load()
	if !s.mayWrite {
		return f, now, end, c.fenced(s, s.reason)
	}
	now = time.Now()
	end = now.Add(ctl.cfg.MaxFlight)
	f = Fence{Epoch: s.decision.Epoch, Region: s.decision.Writer, DecisionID: s.decision.DecisionID}
	if ctl.cfg.Fence != FenceLease {
		return f, now, end, nil
	}
	l := ctl.lease.Load()
	if l == nil || l.epoch != f.Epoch {
		return f, now, end, c.fenced(s, "this process holds no lease")
	}
	until := ctl.start.Add(l.until)
	if !now.Before(until) {
		return f, now, end, c.fenced(s, "this process's lease has ended")
	}
	f.Until = until
	if until.Before(end) {
		end = until
	}
	return f, now, end, nil
}

func (c *Client[T]) fenced(s *snapshot, reason string) error {
	c.ctl.counts.fenced.Add(1)
	return &FencedError{
		Name: c.cfg.Name, Self: c.ctl.cfg.Self, Writer: s.decision.Writer,
		Epoch: s.decision.Epoch, Reason: reason, Wait: c.ctl.cfg.PollEvery,
	}
}

// writeOnce runs fn in the writer Region, until end at the latest.
func writeOnce[T, R any](ctx context.Context, c *Client[T], fence Fence, now, end time.Time, fn func(context.Context, T, Fence) (R, error)) (R, Tried) {
	e := c.regions[c.ctl.index(fence.Region)]
	who := callerSince(ctx, now)
	write := e.flights.begin(ctx, end)
	defer e.flights.land(write)

	v, err := fn(write, *e.current.Load(), fence)
	class := c.classify(err)
	health := who.health(class)
	if class == ClassUnknown && write.Err() != nil && ctx.Err() == nil {
		health = effectNone // we ended it ourselves
	}
	e.health.counts.add(health)
	return v, Tried{fence.Region, class, err}
}

// ledgerPatience is how long a write of unknown outcome waits for its record.
const ledgerPatience = 5 * time.Second

// ended is the error of a write after its last run. refused is why there is no further one, nil if none was wanted.
func (c *Client[T]) ended(ctx context.Context, tried []Tried, epoch uint64, refused error) error {
	if len(tried) == 0 {
		return refused
	}
	if c.ctl.rule.lastAttemptOnly {
		tried = tried[len(tried)-1:]
	}
	all := &RegionsError{Name: c.cfg.Name, Tried: tried}
	if !all.OutcomeUnknown() {
		if all.NotRun() || len(tried) > 1 {
			return all
		}
		return tried[0].Err
	}
	c.ctl.counts.unknown.Add(1)
	last := tried[len(tried)-1]
	unknown := &UnknownOutcomeError{Name: c.cfg.Name, ID: randomName(), Region: last.Region, Epoch: epoch, Err: all}
	if len(tried) == 1 {
		unknown.Err = last.Err
	}
	record := UnknownWrite{ID: unknown.ID, Client: c.cfg.Name, Region: last.Region, Epoch: epoch, At: time.Now().UTC(), Error: unknown.Err.Error()}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerPatience)
	defer cancel()
	if err := c.ctl.cfg.Ledger.Record(bounded, record); err != nil {
		unknown.Err = errors.Join(unknown.Err, err)
	}
	if c.cfg.OnUnknown != nil {
		c.cfg.OnUnknown(ctx, record)
	}
	return unknown
}
