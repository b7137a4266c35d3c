package runbook

import (
	"context"
	"errors"
	"slices"
)

// Undo takes back the steps of a run that are done or may be, newest first, where they have an Undo. It refuses once a point of no return is done, or
// may be, and while the run's last runner may still be at work: pause or cancel it first. A run that was undone cannot be resumed.
// Errors: [ErrRefused], a [*StepError] at the step that could not be undone (calling Undo again goes on there), [ErrFenced].
func (r *Runbook) Undo(ctx context.Context, runID string, cfg Config) (Report, error) {
	cfg, err := cfg.withDefaults(r)
	if err != nil {
		return Report{}, err
	}
	entries, err := cfg.Journal.Load(ctx, runID)
	if err != nil {
		return Report{}, err
	}
	h := read(entries)
	if err := r.undoable(runID, entries, h); err != nil {
		return Report{}, err
	}
	run := &runner{book: r, cfg: cfg, run: runID, plan: h.plan}
	if run.token, err = cfg.Journal.Acquire(ctx, run.entry(EventAcquired, "", "undo: "+cfg.Reason)); err != nil {
		return Report{}, err
	}
	for _, s := range slices.Backward(r.steps) {
		if err := run.undo(ctx, s, h); err != nil {
			report, _ := r.report(context.WithoutCancel(ctx), runID, cfg)
			return report, run.end(ctx, err)
		}
	}
	return r.report(ctx, runID, cfg)
}

func (r *Runbook) undoable(runID string, entries []Entry, h history) error {
	switch {
	case len(entries) == 0:
		return refused("there is no run %q", runID)
	case entries[0].Runbook != r.name || h.plan != r.hash(Mode(h.planned)):
		return refused("run %q belongs to runbook %q, plan %s", runID, entries[0].Runbook, h.plan)
	case h.cancelled == nil && !h.paused && !ended(entries):
		return refused("run %q may still be at work: pause or cancel it first", runID)
	}
	for _, s := range r.steps {
		e, touched := h.last[s.Name]
		if s.PointOfNoReturn && touched && e.Event != EventFailed {
			return refused("run %q is past the point of no return: step %q is %s", runID, s.Name, e.Event)
		}
	}
	return nil
}

// ended: the last thing a runner noted was the end of its work.
func ended(entries []Entry) bool {
	for _, e := range slices.Backward(entries) {
		if e.Token != 0 {
			return e.Event == EventStopped || e.Event == EventFinished || e.Event == EventUndone
		}
	}
	return false
}

func (run *runner) undo(ctx context.Context, s Step, h history) error {
	e, touched := h.last[s.Name]
	if !touched || s.Undo == nil || e.Event == EventFailed || e.Event == EventUndone {
		return nil
	}
	stopped := func(at string, err error) error {
		return &StepError{Runbook: run.book.name, Step: s.Name, At: at, Err: err}
	}
	if err := run.note(ctx, EventUndoing, s.Name, ""); err != nil {
		return stopped("journal", err)
	}
	bounded, cancel := context.WithTimeout(context.WithValue(ctx, tokenKey{}, requestToken(run.run, "undo "+s.Name)), s.timeout())
	defer cancel()
	if err := call(bounded, s.Undo); err != nil {
		return stopped("undo", err)
	}
	if err := run.note(ctx, EventUndone, s.Name, ""); err != nil {
		return stopped("journal", err)
	}
	return nil
}

// RunOrUndo is Run, and Undo if the run did not finish, also when ctx ended: for runs that must leave nothing behind. Its error is Run's,
// joined with Undo's. The report is that of the end.
func (r *Runbook) RunOrUndo(ctx context.Context, runID string, cfg Config) (Report, error) {
	rep, err := r.Run(ctx, runID, cfg)
	if err == nil || rep.Run == "" {
		return rep, err
	}
	cfg.Reason = "the run did not finish"
	undone, undoErr := r.Undo(context.WithoutCancel(ctx), runID, cfg)
	if undone.Run != "" {
		rep = undone
	}
	return rep, errors.Join(err, undoErr)
}
