package runbook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A runner carries out one run of a runbook.
type runner struct {
	book     *Runbook
	cfg      Config
	run      string
	token    uint64
	acquired time.Time // when this runner took the run over
	counts   instruments

	mu     sync.Mutex // guards the following
	plan   string
	mode   Mode
	done   map[string]bool
	flying map[string]*flight
	err    error // the first that stopped the run
}

// A flight is a step under way.
type flight struct {
	cancel context.CancelCauseFunc
	doing  bool // Do is about to start, or has
}

// Causes that end a step without an error of the run.
var (
	errSkipped = errors.New("runbook: skipped")
	errLeftOut = errors.New("runbook: not of this mode")
)

// Run carries the runbook out, or goes on where an earlier runner of the same run stopped, crashed or was lost: every step is checked
// again, and the journal only says which Do may still be under way. It blocks until all steps are done, a step stops the run or ctx
// ends, and waits for the steps in flight. The report covers everything so far, with an error too.
//
// Errors: [ErrRefused] (nothing was changed: a bad Config, a run of another plan, cooldown), a [*StepError] around [ErrBlocked],
// [ErrUndecided], [ErrFenced], [ErrHung] or the step's own, [ErrCancelled], the end of ctx. All but ErrRefused and ErrCancelled can be resumed.
func (r *Runbook) Run(ctx context.Context, runID string, cfg Config) (Report, error) {
	run, err := r.acquire(ctx, runID, cfg)
	if err != nil {
		return Report{}, err
	}
	ctx, ended := run.counts.run(ctx, runID)
	err = run.end(ctx, run.steps(ctx))
	ended(err)
	late := context.WithoutCancel(ctx)
	if r.undoFailed && err != nil && !errors.Is(err, ErrFenced) {
		cfg.Reason = "the run did not finish"
		_, undoErr := r.Undo(late, runID, cfg)
		err = errors.Join(err, undoErr)
	}
	report, reportErr := r.Report(late, runID, run.cfg.Journal)
	if run.cfg.OnReport != nil && reportErr == nil {
		if err := run.cfg.OnReport(late, report); err != nil {
			run.cfg.Logger.Error("report not delivered", slog.String("run", runID), slog.Any("error", err))
		}
	}
	return report, errors.Join(err, reportErr)
}

// acquire validates and makes this process the run's runner.
func (r *Runbook) acquire(ctx context.Context, runID string, cfg Config) (*runner, error) {
	cfg, err := cfg.withDefaults(r)
	if err != nil {
		return nil, err
	}
	if runID == "" {
		return nil, refused("runbook %q: the run ID is empty", r.name)
	}
	entries, err := cfg.Journal.Load(ctx, runID)
	if err != nil {
		return nil, err
	}
	h, mode := read(entries), cfg.Mode
	switch err := r.mine(runID, h); {
	case len(entries) == 0:
		if err := r.mayBegin(ctx, cfg); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case cfg.Mode != h.mode && cfg.Mode != h.first.mode():
		return nil, refused("run %q is %v and cannot be resumed as %v", runID, h.mode, cfg.Mode)
	case h.cancelled != nil:
		return nil, refused("run %q was cancelled by %s: %s", runID, h.cancelled.By, h.cancelled.Reason)
	case h.undone:
		return nil, refused("run %q was undone: start a new one", runID)
	default:
		mode = h.mode
	}
	run := r.runner(runID, cfg, mode)
	first := run.entry(EventAcquired, "", cfg.Reason)
	first.Targets = cfg.targets()
	if run.token, err = cfg.Journal.Acquire(ctx, first); err != nil {
		return nil, err
	}
	run.acquired = time.Now()
	return run, nil
}

// mine refuses a run of another runbook or another version of this one.
func (r *Runbook) mine(runID string, h history) error {
	if len(h.entries) > 0 && (h.first.Runbook != r.name || h.plan != r.hash(h.mode)) {
		return refused("run %q belongs to runbook %q, plan %s; this is %q, plan %s", runID, h.first.Runbook, h.plan, r.name, r.hash(h.mode))
	}
	return nil
}

func (r *Runbook) runner(runID string, cfg Config, mode Mode) *runner {
	return &runner{
		book: r, cfg: cfg, run: runID, plan: r.hash(mode), mode: mode, counts: newInstruments(r.name, cfg),
		done: map[string]bool{}, flying: map[string]*flight{},
	}
}

// mayBegin applies cooldown, budget and Alone to a new run.
func (r *Runbook) mayBegin(ctx context.Context, cfg Config) error {
	held := automatic(cfg.By) && (cfg.Cooldown > 0 || cfg.MaxRuns > 0)
	if !held && !cfg.Alone {
		return nil
	}
	first, err := cfg.Journal.Runs(ctx)
	if err != nil {
		return err
	}
	recent := 0
	for _, e := range first {
		if e.Runbook != r.name {
			continue
		}
		age := time.Since(e.At)
		if held && age < cfg.Cooldown {
			return refused("runbook %q: run %q began %v ago; the cooldown is %v", r.name, e.Run, age.Round(time.Second), cfg.Cooldown)
		}
		if automatic(e.By) && age < 24*time.Hour {
			recent++
		}
		if cfg.Alone {
			if err := r.over(ctx, cfg.Journal, e.Run); err != nil {
				return err
			}
		}
	}
	if held && cfg.MaxRuns > 0 && recent >= cfg.MaxRuns {
		return refused("runbook %q: %d automatic runs within 24 h; the budget is %d", r.name, recent, cfg.MaxRuns)
	}
	return nil
}

// over refuses while the other run may still change something.
func (r *Runbook) over(ctx context.Context, j Journal, run string) error {
	entries, err := j.Load(ctx, run)
	if err != nil {
		return err
	}
	if h := read(entries); h.cancelled == nil && !h.undone && !h.finished {
		return refused("runbook %q: run %q is not over: resume it, or cancel it first", r.name, run)
	}
	return nil
}

func (run *runner) entry(event Event, step, reason string) Entry {
	run.mu.Lock()
	defer run.mu.Unlock()
	return Entry{
		Run: run.run, Runbook: run.book.name, Plan: run.plan, Token: run.token, At: time.Now(), Event: event,
		Step: step, By: run.cfg.By, Reason: reason, Planned: bool(run.mode),
	}
}

func (run *runner) note(ctx context.Context, event Event, step, reason string) error {
	return run.cfg.Journal.Append(ctx, run.entry(event, step, reason))
}

// steps starts every step whose needs are done, until all are done or one stops the run.
func (run *runner) steps(ctx context.Context) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan struct{}, len(run.book.steps))
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(run.cfg.PollEvery)
	defer ticker.Stop()
	ended, heard := ctx.Done(), time.Now()
	for {
		switch h, err := run.load(running); {
		case err == nil:
			heard = time.Now()
			for _, s := range run.react(h, cancel) {
				wg.Go(func() {
					run.step(running, s)
					finished <- struct{}{}
				})
			}
		case time.Since(heard) >= silence*run.cfg.PollEvery || ctx.Err() != nil:
			// Another runner may have taken over: its wait for the end of our Dos counts on this.
			run.stop(fmt.Errorf("the journal cannot be read: %w", err))
			cancel(err)
		}
		over, err := run.over()
		if over {
			return err
		}
		if err != nil { // nobody needs to wait for an approval any more
			run.endWaits(func(Step) error { return err })
		}
		select {
		case <-finished:
		case <-ticker.C:
		case <-ended:
			ended = nil // once: the steps in flight still need their time
			run.stop(context.Cause(ctx))
		}
	}
}

// A runner that has not read its journal for silence polls cuts off its Dos. One that takes a run over lets takeover polls pass before
// it believes that a Do of another runner has had no effect: until then that runner, if it lives, has seen it and stopped.
const (
	silence  = 2
	takeover = 4
)

// load reads the journal, and the run's mode from it.
func (run *runner) load(ctx context.Context) (history, error) {
	entries, err := run.cfg.Journal.Load(ctx, run.run)
	if err != nil {
		return history{}, err
	}
	h := read(entries)
	run.mu.Lock()
	defer run.mu.Unlock()
	run.plan, run.mode = h.plan, h.mode
	return h, nil
}

// react does what the journal says, and returns the steps that may start now.
func (run *runner) react(h history, cancel context.CancelCauseFunc) []Step {
	if err := run.ousted(h); err != nil {
		run.stop(err)
		cancel(err)
		return nil
	}
	if h.cancelled != nil {
		err := fmt.Errorf("%w by %s: %s", ErrCancelled, h.cancelled.By, h.cancelled.Reason)
		run.stop(err)
		run.endWaits(func(Step) error { return err })
		return nil
	}
	run.endWaits(func(s Step) error {
		if _, skipped := h.skipped[s.Name]; skipped && !h.open(s.Name) {
			return errSkipped
		}
		return nil
	})
	run.leaveOut(h.mode)
	if h.paused {
		return nil
	}
	return run.ready(h)
}

// ousted: another runner, or somebody's Undo, has the run now.
func (run *runner) ousted(h history) error {
	if h.token > run.token || h.undone {
		return ErrFenced
	}
	return nil
}

// endWaits ends the steps that have not come to their Do and that why has an error for.
func (run *runner) endWaits(why func(Step) error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	for _, s := range run.book.steps {
		if f := run.flying[s.Name]; f != nil && !f.doing {
			if err := why(s); err != nil {
				f.cancel(err)
			}
		}
	}
}

// leaveOut ends the steps that are not of the mode, which may have changed, also in their Do.
func (run *runner) leaveOut(mode Mode) {
	run.mu.Lock()
	defer run.mu.Unlock()
	for _, s := range run.book.steps {
		if f := run.flying[s.Name]; f != nil && !s.in(mode) {
			f.cancel(errLeftOut)
		}
	}
}

// stop keeps the first reason why no further step may start.
func (run *runner) stop(err error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.err == nil {
		run.err = err
	}
}

// over: all steps are done, or the run was stopped and nothing is in flight.
func (run *runner) over() (bool, error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.err != nil {
		return len(run.flying) == 0, run.err
	}
	for _, s := range run.book.steps {
		if s.in(run.mode) && !run.done[s.Name] {
			return false, nil
		}
	}
	return len(run.flying) == 0, nil
}

// ready takes the steps that may start now.
func (run *runner) ready(h history) (start []Step) {
	run.mu.Lock()
	defer run.mu.Unlock()
	for again := true; again; { // a step that is skipped frees others at once
		again = false
		for _, s := range run.book.steps {
			if run.done[s.Name] || run.flying[s.Name] != nil || run.err != nil || !s.in(h.mode) || !run.freeLocked(s) {
				continue
			}
			if _, skipped := h.skipped[s.Name]; skipped && !h.open(s.Name) || s.Once && h.last[s.Name].Event == EventDone {
				run.done[s.Name], again = true, true
				continue
			}
			if len(run.flying) < run.cfg.Parallel {
				run.flying[s.Name] = &flight{cancel: func(error) {}}
				start = append(start, s)
			}
		}
	}
	return start
}

// freeLocked: everything that s needs is done, or not of the mode.
func (run *runner) freeLocked(s Step) bool {
	for _, need := range s.Needs {
		if n, _ := run.book.step(need); n.in(run.mode) && !run.done[need] {
			return false
		}
	}
	return true
}

// end notes how the run ended for this runner. A run whose end is not in the journal is not over: it can be resumed.
func (run *runner) end(ctx context.Context, err error) error {
	late := context.WithoutCancel(ctx)
	switch {
	case err == nil:
		return run.note(late, EventFinished, "", "")
	case errors.Is(err, ErrFenced):
		return err
	}
	if noted := run.note(late, EventStopped, "", err.Error()); noted != nil {
		run.cfg.Logger.Warn("end of run not noted", slog.String("run", run.run), slog.Any("error", noted))
	}
	return err
}
