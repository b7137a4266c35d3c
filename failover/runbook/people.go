package runbook

import (
	"context"
	"strings"
	"time"
)

// person appends what a person did to an existing run.
func person(ctx context.Context, j Journal, e Entry, check func(history) error) error {
	if strings.TrimSpace(e.By) == "" {
		return refused("run %q: %s needs a name", e.Run, e.Event)
	}
	entries, err := j.Load(ctx, e.Run)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return refused("there is no run %q", e.Run)
	}
	h := read(entries)
	if h.cancelled != nil {
		return refused("run %q was cancelled by %s: %s", e.Run, h.cancelled.By, h.cancelled.Reason)
	}
	if check != nil {
		if err := check(h); err != nil {
			return err
		}
	}
	e.Runbook, e.Plan, e.Planned, e.At = entries[0].Runbook, h.plan, h.planned, time.Now()
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
	return person(ctx, j, e, func(h history) error {
		switch {
		case h.plan != plan:
			return refused("run %q follows plan %s, the approval is of plan %s", run, h.plan, plan)
		case h.by == by:
			return refused("%s asked for run %q and cannot approve its steps", by, run)
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
	return person(ctx, j, Entry{Run: run, Event: EventSkipped, Step: step, By: by, Reason: reason}, func(h history) error {
		if h.open(step) {
			return refused("step %q has been started and nothing says what became of it", step)
		}
		return nil
	})
}

// Pause keeps the run from starting further steps until [Continue]. Steps under way go on.
func Pause(ctx context.Context, j Journal, run, by, reason string) error {
	return person(ctx, j, Entry{Run: run, Event: EventPaused, By: by, Reason: reason}, nil)
}

// Continue ends a pause.
func Continue(ctx context.Context, j Journal, run, by string) error {
	return person(ctx, j, Entry{Run: run, Event: EventContinued, By: by}, nil)
}

// Cancel ends the run for good. Steps under way finish; nothing is undone by itself.
func Cancel(ctx context.Context, j Journal, run, by, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return refused("cancelling run %q needs a reason", run)
	}
	return person(ctx, j, Entry{Run: run, Event: EventCancelled, By: by, Reason: reason}, nil)
}
