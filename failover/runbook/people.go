package runbook

import (
	"context"
	"strings"
	"time"
)

// person appends what a person did to an existing run that is not over. check may complete the entry.
func person(ctx context.Context, j Journal, e Entry, check func(history, *Entry) error) error {
	switch {
	case j == nil:
		return refused("run %q: the journal is nil", e.Run)
	case strings.TrimSpace(e.By) == "":
		return refused("run %q: %s needs a name", e.Run, e.Event)
	}
	entries, err := j.Load(ctx, e.Run)
	if err != nil {
		return err
	}
	h := read(entries)
	switch {
	case len(entries) == 0:
		return refused("there is no run %q", e.Run)
	case h.cancelled != nil:
		return refused("run %q was cancelled by %s: %s", e.Run, h.cancelled.By, h.cancelled.Reason)
	case h.finished:
		return refused("run %q has finished", e.Run)
	}
	e.Runbook, e.Plan, e.Planned, e.At = h.first.Runbook, h.plan, bool(h.mode), time.Now()
	if check != nil {
		if err := check(h, &e); err != nil {
			return err
		}
	}
	return j.Append(ctx, e)
}

// Approve records that by approves step of the run, for ttl; zero means 1 h. plan is the hash the person has seen: an approval of another
// plan is refused, and so is one by the requester, of a step that needs none, or of an unknown one.
func (r *Runbook) Approve(ctx context.Context, j Journal, run, step, by, plan string, ttl time.Duration) error {
	if ttl == 0 {
		ttl = time.Hour
	}
	s, ok := r.step(step)
	switch {
	case !ok:
		return refused("runbook %q has no step %q", r.name, step)
	case s.Approve == 0:
		return refused("step %q needs no approval", step)
	case ttl < 0:
		return refused("approval of step %q: ttl %v is negative", step, ttl)
	}
	e := Entry{Run: run, Event: EventApproved, Step: step, By: by, Expires: time.Now().Add(ttl).UTC()}
	return person(ctx, j, e, func(h history, _ *Entry) error {
		switch {
		case h.plan != plan:
			return refused("run %q follows plan %s, the approval is of plan %s", run, h.plan, plan)
		case same(h.by, by):
			return refused("%s asked for run %q and cannot approve its steps", by, run)
		case automatic(by):
			return refused("%s is not a person and cannot approve", by)
		}
		return nil
	})
}

// Skip records that by waives step of the run, for a reason. Only steps with Waive can be skipped, and none whose Do may be under way.
func (r *Runbook) Skip(ctx context.Context, j Journal, run, step, by, reason string) error {
	s, ok := r.step(step)
	switch {
	case !ok:
		return refused("runbook %q has no step %q", r.name, step)
	case !s.Waive:
		return refused("step %q cannot be waived", step)
	case strings.TrimSpace(reason) == "":
		return refused("skipping step %q needs a reason", step)
	}
	return person(ctx, j, Entry{Run: run, Event: EventSkipped, Step: step, By: by, Reason: reason}, func(h history, _ *Entry) error {
		if err := r.mine(run, h); err != nil {
			return err
		}
		if h.open(step) {
			return refused("step %q has been started and nothing says what became of it", step)
		}
		return nil
	})
}

// Unplan makes a planned run go on as an unplanned one, for when the Region that was to be left in peace is lost on the way: the steps
// that are only for planned runs are left out from then on, those only for unplanned ones take part, and approvals of the planned
// plan no longer count. There is no way back: what an unplanned run does may lose writes.
func (r *Runbook) Unplan(ctx context.Context, j Journal, run, by, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return refused("going on with run %q unplanned needs a reason", run)
	}
	return person(ctx, j, Entry{Run: run, Event: EventUnplanned, By: by, Reason: reason}, func(h history, e *Entry) error {
		if err := r.mine(run, h); err != nil {
			return err
		}
		if h.mode == Unplanned {
			return refused("run %q is unplanned already", run)
		}
		e.Plan, e.Planned = r.hash(Unplanned), false
		return nil
	})
}

// Pause keeps the run from starting further steps, also those that wait for approval, until [Continue]. Steps that have come to their
// Do go on.
func Pause(ctx context.Context, j Journal, run, by, reason string) error {
	return person(ctx, j, Entry{Run: run, Event: EventPaused, By: by, Reason: reason}, nil)
}

// Continue ends a pause.
func Continue(ctx context.Context, j Journal, run, by string) error {
	return person(ctx, j, Entry{Run: run, Event: EventContinued, By: by}, nil)
}

// Cancel ends the run for good. Steps that have come to their Do finish; nothing is undone by itself.
func Cancel(ctx context.Context, j Journal, run, by, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return refused("cancelling run %q needs a reason", run)
	}
	return person(ctx, j, Entry{Run: run, Event: EventCancelled, By: by, Reason: reason}, nil)
}
