package failover

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// A ReadOption is an option of [Read].
type ReadOption struct {
	kind    readKind
	d       time.Duration
	session *Session
}

type readKind uint8

const (
	readMaxStaleness readKind = iota + 1
	readHedge
	readAllowStale
	readSession
)

// MaxStaleness reads only where the copy is known to be at most d old: in the writer Region, or where the Member's Lag says so. The
// estimate counts from the newest commit instant seen there, so it is never too small while samples are right. It costs a clock read.
func MaxStaleness(d time.Duration) ReadOption { return ReadOption{kind: readMaxStaleness, d: d} }

// Hedge starts the read in a second Region if the first has not answered after a delay, and takes the first success. It asks Spend.
// The loser's context is cancelled and the loser waited for. It costs goroutines and allocations.
func Hedge(after time.Duration) ReadOption { return ReadOption{kind: readHedge, d: after} }

// AllowStale reads a copy of any age rather than nothing, where MaxStaleness or ReadYourWrites leave no Region.
func AllowStale() ReadOption { return ReadOption{kind: readAllowStale} }

// ReadYourWrites reads only where the session's last write is known to be present: in the writer Region, and where the Member's Lag says
// so. What an unplanned move has lost is not in the writer Region either.
func ReadYourWrites(s *Session) ReadOption { return ReadOption{kind: readSession, session: s} }

// A Session remembers when its last write was acknowledged. The zero value has written nothing. Safe for concurrent use.
type Session struct{ wrote atomic.Int64 }

// note remembers a write acknowledged at t.
func (s *Session) note(t time.Time) {
	for n := t.UnixNano(); ; {
		old := s.wrote.Load()
		if n <= old || s.wrote.CompareAndSwap(old, n) {
			return
		}
	}
}

// readPlan is what the options of one read come to.
type readPlan struct {
	maxStale   time.Duration
	hedge      time.Duration
	session    *Session
	allowStale bool
}

func planRead(opts []ReadOption) (p readPlan) {
	for _, o := range opts {
		switch o.kind {
		case readMaxStaleness:
			p.maxStale = o.d
		case readHedge:
			p.hedge = o.d
		case readAllowStale:
			p.allowStale = true
		case readSession:
			p.session = o.session
		}
	}
	return p
}

func (p *readPlan) bounded() bool { return p.maxStale > 0 || p.session != nil }

// Read calls fn with the client of this process's own Region, or of the next usable one if that is not usable or the call did not get
// an answer there. fn may run once in each Region, so it must only read. The route is one atomic load: no lock, no clock, no
// allocation.
//
// Errors: fn's own when a Region answered; a [*RegionsError] when several were tried; a [*StaleError] when no copy is fresh enough;
// the caller's own cancel ends the read without trying another Region.
func Read[T, R any](ctx context.Context, c *Client[T], fn func(context.Context, T) (R, error), opts ...ReadOption) (R, error) {
	plan := planRead(opts)
	order := c.order()
	if plan.bounded() || c.cfg.Advisory {
		var err error
		if order, err = c.narrow(order, &plan); err != nil {
			var zero R
			return zero, err
		}
	}
	if plan.hedge > 0 && len(order) > 1 {
		return hedgedRead(ctx, c, order, plan.hedge, fn)
	}
	who := callerOf(ctx)
	v, class, err := readIn(ctx, c, order[0], who, fn)
	if len(order) == 1 || !c.tryNext(who, class) {
		return v, err
	}
	return readElsewhere(ctx, c, order, who, Tried{c.ctl.cfg.Regions[order[0]], class, err}, fn)
}

// Read is [Read] for a function without a result.
func (c *Client[T]) Read(ctx context.Context, fn func(context.Context, T) error, opts ...ReadOption) error {
	_, err := Read(ctx, c, func(ctx context.Context, client T) (struct{}, error) { return struct{}{}, fn(ctx, client) }, opts...)
	return err
}

func (c *Client[T]) order() []int {
	s := c.ctl.current.Load()
	if s.awayNow() {
		return s.awayOrder
	}
	return s.order
}

func readIn[T, R any](ctx context.Context, c *Client[T], region int, who caller, fn func(context.Context, T) (R, error)) (R, Class, error) {
	e := c.regions[region]
	v, err := fn(ctx, *e.current.Load())
	class := c.classify(err)
	e.health.counts.add(who.health(class))
	return v, class, err
}

// classify is the class of err; success costs nothing.
func (c *Client[T]) classify(err error) Class {
	if err == nil {
		return ClassOK
	}
	return c.cfg.Classify(err)
}

// tryNext reports whether a read that ended with class may go on in another Region.
func (c *Client[T]) tryNext(who caller, class Class) bool {
	switch class {
	case ClassNotSent, ClassRejected, ClassUnknown:
		return who.ctx.Err() == nil
	case ClassOverload:
		return who.ctx.Err() == nil && (c.cfg.Spend == nil || c.cfg.Spend())
	}
	return false
}

// readElsewhere goes on after the first Region.
func readElsewhere[T, R any](ctx context.Context, c *Client[T], order []int, who caller, first Tried, fn func(context.Context, T) (R, error)) (R, error) {
	tried := []Tried{first}
	for _, region := range order[1:] {
		v, class, err := readIn(ctx, c, region, who, fn)
		if class == ClassOK || class == ClassAnswer {
			return v, err
		}
		tried = append(tried, Tried{c.ctl.cfg.Regions[region], class, err})
		if !c.tryNext(who, class) {
			break
		}
	}
	var zero R
	return zero, &RegionsError{Name: c.cfg.Name, Tried: tried}
}

// narrow drops the Regions whose copy is not known to be fresh enough, and those an advisory client avoids.
func (c *Client[T]) narrow(order []int, plan *readPlan) ([]int, error) {
	now := time.Now()
	s := c.ctl.current.Load()
	fresh := make([]int, 0, len(order))
	var avoided []int
	for _, region := range order {
		switch {
		case plan.bounded() && !c.fresh(region, s, plan, now):
		case c.cfg.Advisory && c.regions[region].health.avoid.Load():
			avoided = append(avoided, region)
		default:
			fresh = append(fresh, region)
		}
	}
	fresh = append(fresh, avoided...)
	if len(fresh) > 0 {
		return fresh, nil
	}
	if plan.allowStale {
		return order, nil
	}
	bound := "as new as this session's last write"
	if plan.maxStale > 0 {
		bound = fmt.Sprintf("at most %v old", plan.maxStale)
	}
	return nil, &StaleError{Name: c.cfg.Name, Bound: bound}
}

// fresh reports whether region's copy is known to meet plan. The writer's does while no other one can have opened since the
// coordinator last answered, the former writer's while a new one that opened at once would be young enough. After that a sample of a
// newer epoch only shows that the decision known here is old.
func (c *Client[T]) fresh(region int, s *snapshot, plan *readPlan, now time.Time) bool {
	age := now.Sub(c.ctl.start) - time.Duration(c.ctl.confirmed.Load())
	confirmed := age <= c.ctl.rule.fenceWait+plan.maxStale
	switch t := s.decision.Transition; {
	case region == c.ctl.index(s.decision.Writer):
		return confirmed
	case s.decision.Writer == "" && t != nil && region == c.ctl.index(t.From):
		return age <= plan.maxStale
	}
	sample, ok := c.regions[region].health.lag.get()
	if !ok || s.opened == 0 || !sample.of(s.opened) || !confirmed && sample.Epoch > s.opened {
		return false
	}
	if plan.maxStale > 0 && now.Sub(sample.ReplicatedThrough) > plan.maxStale {
		return false
	}
	if plan.session == nil {
		return true
	}
	wrote := plan.session.wrote.Load()
	return wrote == 0 || sample.ReplicatedThrough.UnixNano() >= wrote+int64(c.ctl.cfg.ClockSkew)
}

// hedgedRead runs fn in the first Region of order and, after a delay or when that one gets no answer, in the second.
func hedgedRead[T, R any](ctx context.Context, c *Client[T], order []int, after time.Duration, fn func(context.Context, T) (R, error)) (R, error) {
	h := &hedge[T, R]{client: c, fn: fn, who: callerOf(ctx), results: make(chan hedged[R], 2)}
	ctx, cancel := context.WithCancel(ctx)
	defer h.wait()
	defer cancel()
	h.start(ctx, order[0])
	timer := time.NewTimer(after)
	defer timer.Stop()
	var tried []Tried
	for {
		select {
		case <-timer.C:
			if c.cfg.Spend == nil || c.cfg.Spend() {
				h.start(ctx, order[1])
			}
		case r := <-h.results:
			h.ended(r)
			if r.Class == ClassOK || r.Class == ClassAnswer {
				cancel()
				h.wait()
				return r.value, r.Err
			}
			tried = append(tried, r.Tried)
			switch {
			case h.started == 1 && c.tryNext(h.who, r.Class):
				timer.Stop()
				h.start(ctx, order[1])
			case h.running == 0:
				var zero R
				return zero, &RegionsError{Name: c.cfg.Name, Tried: tried}
			}
		}
	}
}

// A hedge is a read in up to two Regions.
type hedge[T, R any] struct {
	client           *Client[T]
	fn               func(context.Context, T) (R, error)
	who              caller
	results          chan hedged[R]
	started, running int
}

// hedged is how the read in one Region ended.
type hedged[R any] struct {
	value    R
	returned bool // else it panicked, or called Goexit if panicked is nil
	panicked any
	Tried
}

func (h *hedge[T, R]) start(ctx context.Context, region int) {
	h.started++
	h.running++
	go func() { // waited for, see wait
		r := hedged[R]{Tried: Tried{Region: h.client.ctl.cfg.Regions[region]}}
		defer func() {
			if !r.returned {
				r.panicked = recover()
			}
			h.results <- r
		}()
		r.value, r.Class, r.Err = readIn(ctx, h.client, region, caller{ctx: ctx, toLive: h.who.toLive}, h.fn)
		r.returned = true
	}()
}

// ended takes note of r. What has not returned goes on here, on the caller's goroutine, where it would be without a hedge.
func (h *hedge[T, R]) ended(r hedged[R]) {
	h.running--
	switch {
	case r.returned:
	case r.panicked == nil:
		runtime.Goexit()
	default:
		panic(r.panicked)
	}
}

// wait waits for those that still run. Their context has ended.
func (h *hedge[T, R]) wait() {
	for h.running > 0 {
		h.ended(<-h.results)
	}
}
