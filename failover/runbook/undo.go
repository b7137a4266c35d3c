package runbook

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Undo takes back the steps whose Do the run has started, newest first, where they have an Undo; what was there before the run stays. A
// Do of unknown outcome is decided by Verify first, so that it cannot take effect after its Undo. Undo refuses once a
// point of no return is done, or may be, and while the run's last runner may still be at work: pause or cancel it first. A run that was
// undone cannot be resumed. Errors: [ErrRefused], a [*StepError] at the step that could not be undone (calling Undo again goes on
// there), [ErrFenced].
func (r *Runbook) Undo(ctx context.Context, runID string, cfg Config) (Report, error) {
	cfg, err := cfg.withDefaults(r)
	if err != nil {
		return Report{}, err
	}
	h, err := r.undoable(ctx, runID, cfg.Journal)
	if err != nil {
		return Report{}, err
	}
	if !h.quiet() {
		return Report{}, refused("run %q may still be at work: pause or cancel it first", runID)
	}
	run := r.runner(runID, cfg, h.mode)
	if run.token, err = cfg.Journal.Acquire(ctx, run.entry(EventAcquired, "", "undo: "+cfg.Reason)); err != nil {
		return Report{}, err
	}
	run.acquired = time.Now()
	if err = run.undoAll(ctx); err != nil {
		err = run.end(ctx, err)
	}
	report, reportErr := r.Report(context.WithoutCancel(ctx), runID, cfg.Journal)
	return report, errors.Join(err, reportErr)
}

// undoable refuses a run that is not r's or cannot be taken back any more.
func (r *Runbook) undoable(ctx context.Context, runID string, j Journal) (history, error) {
	entries, err := j.Load(ctx, runID)
	if err != nil {
		return history{}, err
	}
	h := read(entries)
	if len(entries) == 0 {
		return h, refused("there is no run %q", runID)
	}
	if err := r.mine(runID, h); err != nil {
		return h, err
	}
	for _, s := range r.steps {
		e, touched := h.last[s.Name]
		if s.PointOfNoReturn && touched && e.Event != EventFailed {
			return h, refused("run %q is past the point of no return: step %q is %s", runID, s.Name, e.Event)
		}
	}
	return h, nil
}

// quiet: no runner is starting steps. One that undoes may be joined: the newer fences the older off.
func (h history) quiet() bool {
	return h.cancelled != nil || h.paused || h.undone || h.finished || h.stopped != ""
}

// undoAll looks again, now that no older runner can start a step, and takes the steps back.
func (run *runner) undoAll(ctx context.Context) error {
	h, err := run.book.undoable(ctx, run.run, run.cfg.Journal)
	if err != nil {
		return err
	}
	if err := run.note(ctx, EventUndoing, "", ""); err != nil {
		return err
	}
	for _, s := range slices.Backward(run.book.steps) {
		if at, err := run.undo(ctx, s, h); err != nil {
			return &StepError{Runbook: run.book.name, Step: s.Name, At: at, Err: err}
		}
	}
	return run.note(ctx, EventUndone, "", "")
}

func (run *runner) undo(ctx context.Context, s Step, h history) (at string, err error) {
	if !h.done[s.Name] || s.Undo == nil {
		return "", nil
	}
	if h.open(s.Name) {
		if _, err := run.decide(s.context(ctx, run.run, ""), s, run.believable(h.last[s.Name])); err != nil {
			return "verify", err
		}
	}
	if err := run.note(ctx, EventUndoing, s.Name, ""); err != nil {
		return "journal", err
	}
	bounded, cancel := context.WithTimeout(s.context(ctx, run.run, "undo "), s.timeout())
	defer cancel()
	if err := call(bounded, s.Undo); err != nil {
		return "undo", err
	}
	return "journal", run.note(ctx, EventUndone, s.Name, "")
}
