package runbook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// step carries out one step and notes what became of it.
func (run *runner) step(ctx context.Context, s Step) {
	ctx, cancel := context.WithCancelCause(s.context(ctx, run.run, ""))
	defer cancel(nil)
	run.mu.Lock()
	run.flying[s.Name].cancel = cancel
	run.mu.Unlock()
	ctx, ended := run.counts.step(ctx, s)
	at, err := run.carryOut(ctx, s)
	if cause := context.Cause(ctx); err != nil && (cause == errSkipped || cause == errLeftOut) {
		err = nil
	}
	ended(err)
	err = run.mayFail(ctx, s, at, err)
	run.mu.Lock()
	defer run.mu.Unlock()
	delete(run.flying, s.Name)
	if err == nil {
		run.done[s.Name] = true
		run.cfg.Logger.Info("step done", slog.String("step", s.Name), slog.String("run", run.run))
		return
	}
	run.cfg.Logger.Error("step stopped", slog.String("step", s.Name), slog.String("run", run.run), slog.Any("error", err))
	if run.err == nil {
		run.err = &StepError{Runbook: run.book.name, Step: s.Name, At: at, Err: err}
	}
}

// mayFail lets the run go on where the step's failure is the step's own and the step may fail.
func (run *runner) mayFail(ctx context.Context, s Step, at string, err error) error {
	if err == nil || !s.MayFail || ctx.Err() != nil || at == "journal" || at == "approve" {
		return err
	}
	run.cfg.Logger.Warn("step failed, going on", slog.String("step", s.Name), slog.String("run", run.run), slog.Any("error", err))
	if at == "do" || at == "verify" && s.Do != nil {
		return nil // noted already: as failed, or as unknown
	}
	return run.note(ctx, EventFailed, s.Name, err.Error())
}

// carryOut is Check, approval, Do, Verify, with the journal written before and after Do. It returns at which of them the step stopped.
func (run *runner) carryOut(ctx context.Context, s Step) (at string, err error) {
	h, err := run.load(ctx)
	if err != nil {
		return "journal", err
	}
	if h.open(s.Name) {
		state, err := run.decide(ctx, s, run.believable(h.last[s.Name]))
		switch {
		case err != nil:
			return "verify", err
		case state == StateDone:
			return "journal", run.note(ctx, EventDone, s.Name, "an earlier Do has taken effect")
		}
		if err := run.note(ctx, EventFailed, s.Name, "an earlier Do has had no effect"); err != nil {
			return "journal", err
		}
	}
	state, err := run.check(ctx, s)
	switch {
	case err != nil:
		return "check", err
	case state == StateDone:
		return "journal", run.note(ctx, EventDone, s.Name, "it was so already")
	}
	if s.Do == nil || s.Approve > 0 {
		if err := run.note(ctx, EventWaiting, s.Name, ""); err != nil {
			return "journal", err
		}
	}
	if err := run.awaitClearance(ctx, s); err != nil {
		return "approve", err
	}
	if s.Do == nil {
		if s.Check != nil || s.Verify != nil {
			return run.awaitEffect(ctx, s)
		}
		return "journal", run.note(ctx, EventDone, s.Name, "")
	}
	if !run.begins(ctx, s) {
		return "approve", context.Cause(ctx)
	}
	if err := run.note(ctx, EventStarted, s.Name, ""); err != nil {
		return "journal", err
	}
	return run.do(ctx, s)
}

// believable returns from when on Verify's word counts that e's Do has had no effect. A Do that another runner had started and said
// no more of may still run, until that runner has seen that it was replaced.
func (run *runner) believable(e Entry) time.Time {
	if e.Event == EventStarted {
		return run.acquired.Add(takeover * run.cfg.PollEvery)
	}
	return run.acquired
}

// begins says that s is about to run its Do, so that it can no longer be skipped; false if that, or a cancellation, came first.
func (run *runner) begins(ctx context.Context, s Step) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.flying[s.Name].doing = true
	return ctx.Err() == nil
}

// do runs Do and lets Verify decide what became of it.
func (run *runner) do(ctx context.Context, s Step) (at string, err error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	doErr := call(bounded, s.Do)
	cancel()
	if doErr == nil {
		return run.awaitEffect(ctx, s)
	}
	late := context.WithoutCancel(ctx) // a run that is being stopped still says what it does not know
	if outcome.Of(doErr) == outcome.NotRun {
		return "do", errors.Join(doErr, run.note(late, EventFailed, s.Name, doErr.Error()))
	}
	if err := run.note(late, EventUnknown, s.Name, doErr.Error()); err != nil {
		return "journal", errors.Join(doErr, err)
	}
	if errors.Is(doErr, ErrHung) {
		return "do", errors.Join(ErrUndecided, doErr) // it still runs: nothing that Verify says now is the end of it
	}
	state, err := run.decide(ctx, s, time.Now())
	switch {
	case err != nil:
		return "verify", errors.Join(doErr, err)
	case state == StateDone:
		return "journal", run.note(ctx, EventDone, s.Name, "Do failed and has taken effect: "+doErr.Error())
	}
	return "do", errors.Join(doErr, run.note(ctx, EventFailed, s.Name, doErr.Error()))
}

// awaitEffect polls Verify after a Do that succeeded, or in a step without one.
func (run *runner) awaitEffect(ctx context.Context, s Step) (at string, err error) {
	if _, err := run.decide(ctx, s, time.Time{}); err != nil {
		return "verify", err
	}
	return "journal", run.note(ctx, EventDone, s.Name, "")
}

// check asks Check once.
func (run *runner) check(ctx context.Context, s Step) (State, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	state, err := observe(bounded, s.Check, s.Verify)
	if err == nil && state == StateBlocked {
		err = ErrBlocked
	}
	return state, err
}

// decide polls Verify until it says done or, from no on, needed; a zero no means that needed is no answer. Errors of Verify are asked
// again: it only observes.
func (run *runner) decide(ctx context.Context, s Step, no time.Time) (State, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout()+max(0, time.Until(no)))
	defer cancel()
	var last error
	for {
		state, err := observe(bounded, s.Verify, s.Check)
		switch {
		case err == nil && state == StateDone, err == nil && state == StateNeeded && !no.IsZero() && !time.Now().Before(no):
			return state, nil
		case err != nil && (last == nil || bounded.Err() == nil):
			last = err // that a look was cut off by the end of the wait says less than what the one before had seen
		}
		if errors.Is(err, ErrHung) {
			return StateBlocked, errors.Join(ErrUndecided, err)
		}
		if err := sleep(bounded, run.cfg.PollEvery); err != nil {
			if ctx.Err() != nil {
				return StateBlocked, errors.Join(ErrUndecided, context.Cause(ctx), last)
			}
			return StateBlocked, errors.Join(ErrUndecided, fmt.Errorf("verify has not seen the effect within %v", s.timeout()), last)
		}
	}
}

// awaitClearance is the last look before a step acts: it waits while the run is paused and until enough people have approved, and
// fails if somebody has skipped or cancelled, or another runner has taken over.
func (run *runner) awaitClearance(ctx context.Context, s Step) error {
	deadline := time.Now().Add(run.cfg.ApprovalTTL)
	for {
		h, err := run.load(ctx)
		if err != nil {
			return err
		}
		people := h.approvers(s.Name, time.Now())
		_, skipped := h.skipped[s.Name]
		switch {
		case run.ousted(h) != nil:
			return run.ousted(h)
		case h.cancelled != nil:
			return fmt.Errorf("%w by %s: %s", ErrCancelled, h.cancelled.By, h.cancelled.Reason)
		case skipped:
			run.endStep(s, errSkipped)
			return errSkipped
		case !s.in(h.mode):
			run.endStep(s, errLeftOut)
			return errLeftOut
		case h.paused: // also after the approvals: they may expire meanwhile
		case len(people) >= s.Approve:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %d of %d approvals within %v", ErrBlocked, len(people), s.Approve, run.cfg.ApprovalTTL)
		}
		if err := sleep(ctx, run.cfg.PollEvery); err != nil {
			return err
		}
	}
}

// endStep ends the step's context, so that whoever sees its error knows why.
func (run *runner) endStep(s Step, cause error) {
	run.mu.Lock()
	cancel := run.flying[s.Name].cancel
	run.mu.Unlock()
	cancel(cause)
}
