package runbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// Config configures a run.
type Config struct {
	// Journal records the run. Required.
	Journal Journal

	// By is who asked for the run. Required; they cannot approve their own steps.
	By string

	// Mode is whether the run is planned. The zero value is unplanned.
	Mode Mode

	// Reason is why the run was asked for.
	Reason string

	// RTO is the time within which the run should be complete, counted from Since. Zero means none.
	RTO time.Duration

	// Since is when the fault began. Zero means the run's start.
	Since time.Time

	// RPO and Exposure are shown in the report: what may be lost, and what was at the switch.
	RPO, Exposure time.Duration

	// Parallel is how many steps may run at once. Zero means 4.
	Parallel int

	// PollEvery is the interval of Verify, of waiting for approvals and of looking for pauses. Zero means 2 s; at least 10 ms.
	PollEvery time.Duration

	// ApprovalTTL is how long the run waits for the approvals of a step. Zero means 1 h.
	ApprovalTTL time.Duration

	// Cooldown refuses a run that begins sooner after the last one of this runbook; MaxRuns one more than so many in 24 h. Both hold
	// only runs without a person's name, By "auto" or "auto/…". Zero means none.
	Cooldown time.Duration
	MaxRuns  int

	// Logger receives a line per step. Nil is silent.
	Logger *slog.Logger
}

func (c Config) withDefaults(r *Runbook) (Config, error) {
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.PollEvery == 0 {
		c.PollEvery = 2 * time.Second
	}
	if c.ApprovalTTL == 0 {
		c.ApprovalTTL = time.Hour
	}
	c.Logger = telemetry.Logger(c.Logger).With("runbook", r.name)
	switch {
	case c.Journal == nil:
		return c, refused("runbook %q: Config.Journal is nil", r.name)
	case c.By == "":
		return c, refused("runbook %q: Config.By is empty", r.name)
	case c.Parallel < 0:
		return c, refused("runbook %q: Config.Parallel: %d is negative", r.name, c.Parallel)
	case c.PollEvery < 10*time.Millisecond:
		return c, refused("runbook %q: Config.PollEvery: %v is below the minimum 10ms", r.name, c.PollEvery)
	case c.RTO < 0 || c.RPO < 0 || c.Exposure < 0 || c.ApprovalTTL < 0 || c.Cooldown < 0 || c.MaxRuns < 0:
		return c, refused("runbook %q: Config: RTO, RPO, Exposure, ApprovalTTL, Cooldown and MaxRuns must not be negative", r.name)
	}
	return c, nil
}

// A runner carries out one run of a runbook.
type runner struct {
	book  *Runbook
	cfg   Config
	run   string
	plan  string
	token uint64

	mu   sync.Mutex // guards the following
	done map[string]bool
	busy map[string]bool
	err  error // the first that stopped the run
}

// Run carries the runbook out, or goes on where an earlier runner of the same run stopped, crashed or was lost: every step is checked
// again, and the journal only says which Do may still be under way. It blocks until all steps are done, a step stops the run or ctx
// ends, and waits for the steps in flight. The report covers everything so far, with an error too.
//
// Errors: [ErrRefused] (nothing was changed: a bad Config, a run of another plan, cooldown), a [*StepError] around [ErrBlocked],
// [ErrUndecided], [ErrFenced] or the step's own, [ErrCancelled], the end of ctx. All but ErrRefused and ErrCancelled can be resumed.
func (r *Runbook) Run(ctx context.Context, runID string, cfg Config) (Report, error) {
	run, err := r.acquire(ctx, runID, cfg)
	if err != nil {
		return Report{}, err
	}
	err = run.end(ctx, run.steps(ctx))
	report, reportErr := r.report(context.WithoutCancel(ctx), runID, run.cfg)
	return report, errors.Join(err, reportErr)
}

// acquire validates and makes this process the run's runner.
func (r *Runbook) acquire(ctx context.Context, runID string, cfg Config) (*runner, error) {
	cfg, err := cfg.withDefaults(r)
	if err != nil {
		return nil, err
	}
	entries, err := cfg.Journal.Load(ctx, runID)
	if err != nil {
		return nil, err
	}
	h, plan := read(entries), r.hash(cfg.Mode)
	switch {
	case runID == "":
		return nil, refused("runbook %q: the run ID is empty", r.name)
	case len(entries) > 0 && (entries[0].Runbook != r.name || h.plan != plan):
		return nil, refused("run %q belongs to runbook %q, plan %s; this is %q, plan %s", runID, entries[0].Runbook, h.plan, r.name, plan)
	case h.cancelled != nil:
		return nil, refused("run %q was cancelled by %s: %s", runID, h.cancelled.By, h.cancelled.Reason)
	case h.undone:
		return nil, refused("run %q was undone: start a new one", runID)
	case len(entries) == 0:
		if err := r.tooSoon(ctx, cfg); err != nil {
			return nil, err
		}
	}
	run := &runner{book: r, cfg: cfg, run: runID, plan: plan, done: map[string]bool{}, busy: map[string]bool{}}
	first := run.entry(EventAcquired, "", cfg.Reason)
	if run.token, err = cfg.Journal.Acquire(ctx, first); err != nil {
		return nil, err
	}
	return run, nil
}

// tooSoon applies cooldown and budget to a new automatic run.
func (r *Runbook) tooSoon(ctx context.Context, cfg Config) error {
	if cfg.Cooldown == 0 && cfg.MaxRuns == 0 || !automatic(cfg.By) {
		return nil
	}
	first, err := cfg.Journal.Runs(ctx)
	if err != nil {
		return err
	}
	recent := 0
	for _, e := range first {
		age := time.Since(e.At)
		if e.Runbook != r.name {
			continue
		}
		if age < cfg.Cooldown {
			return refused("runbook %q: run %q began %v ago; the cooldown is %v", r.name, e.Run, age.Round(time.Second), cfg.Cooldown)
		}
		if automatic(e.By) && age < 24*time.Hour {
			recent++
		}
	}
	if cfg.MaxRuns > 0 && recent >= cfg.MaxRuns {
		return refused("runbook %q: %d automatic runs within 24 h; the budget is %d", r.name, recent, cfg.MaxRuns)
	}
	return nil
}

// automatic: names of machines, by convention.
func automatic(by string) bool { return by == "auto" || len(by) > 5 && by[:5] == "auto/" }

func (run *runner) entry(event Event, step, reason string) Entry {
	return Entry{
		Run: run.run, Runbook: run.book.name, Plan: run.plan, Token: run.token, At: time.Now(), Event: event,
		Step: step, By: run.cfg.By, Reason: reason, Planned: bool(run.cfg.Mode),
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
	for {
		h, err := run.load(running)
		switch {
		case err != nil:
			run.stop(err)
		case h.cancelled != nil:
			run.stop(fmt.Errorf("%w by %s: %s", ErrCancelled, h.cancelled.By, h.cancelled.Reason))
		case h.token > run.token:
			run.stop(ErrFenced)
			cancel(ErrFenced)
		case !h.paused:
			for _, s := range run.ready(h) {
				wg.Go(func() {
					run.step(running, s)
					finished <- struct{}{}
				})
			}
		}
		if over, err := run.over(); over {
			return err
		}
		select {
		case <-finished:
		case <-ticker.C:
		case <-ctx.Done():
			run.stop(context.Cause(ctx))
		}
	}
}

func (run *runner) load(ctx context.Context) (history, error) {
	entries, err := run.cfg.Journal.Load(ctx, run.run)
	return read(entries), err
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
		return len(run.busy) == 0, run.err
	}
	return len(run.done) == len(run.book.steps), nil
}

// ready takes the steps that may start now.
func (run *runner) ready(h history) (start []Step) {
	run.mu.Lock()
	defer run.mu.Unlock()
	for again := true; again; { // a step that does not take part frees others at once
		again = false
		for _, s := range run.book.steps {
			if run.done[s.Name] || run.busy[s.Name] || run.err != nil || !run.freeLocked(s) {
				continue
			}
			if _, skipped := h.skipped[s.Name]; skipped || !s.in(bool(run.cfg.Mode)) {
				run.done[s.Name], again = true, true
				continue
			}
			if len(run.busy) < run.cfg.Parallel {
				run.busy[s.Name] = true
				start = append(start, s)
			}
		}
	}
	return start
}

func (run *runner) freeLocked(s Step) bool {
	for _, need := range s.Needs {
		if !run.done[need] {
			return false
		}
	}
	return true
}

// step carries out one step and notes what became of it.
func (run *runner) step(ctx context.Context, s Step) {
	at, err := run.carryOut(ctx, s)
	run.mu.Lock()
	defer run.mu.Unlock()
	delete(run.busy, s.Name)
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

// carryOut is Check, approval, Do, Verify, with the journal written before and after Do. It returns at which of them the step stopped.
func (run *runner) carryOut(ctx context.Context, s Step) (at string, err error) {
	ctx = context.WithValue(ctx, tokenKey{}, requestToken(run.run, s.Name))
	h, err := run.load(ctx)
	if err != nil {
		return "journal", err
	}
	if h.open(s.Name) {
		state, err := run.decide(ctx, s, true)
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
	if skipped, err := run.awaitApproval(ctx, s); err != nil || skipped {
		return "approve", err
	}
	if s.Do == nil {
		if s.Check != nil || s.Verify != nil {
			return run.awaitEffect(ctx, s)
		}
		return "journal", run.note(ctx, EventDone, s.Name, "")
	}
	if err := run.note(ctx, EventStarted, s.Name, ""); err != nil {
		return "journal", err
	}
	return run.do(ctx, s)
}

// do runs Do and lets Verify decide what became of it.
func (run *runner) do(ctx context.Context, s Step) (at string, err error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	doErr := call(bounded, s.Do)
	cancel()
	if doErr == nil {
		return run.awaitEffect(ctx, s)
	}
	if outcome.Of(doErr) == outcome.NotRun {
		return "do", errors.Join(doErr, run.note(ctx, EventFailed, s.Name, doErr.Error()))
	}
	late := context.WithoutCancel(ctx) // a run that is being stopped still says what it does not know
	if err := run.note(late, EventUnknown, s.Name, doErr.Error()); err != nil {
		return "journal", errors.Join(doErr, err)
	}
	state, err := run.decide(ctx, s, true)
	switch {
	case err != nil:
		return "verify", errors.Join(doErr, err)
	case state == StateDone:
		return "journal", run.note(ctx, EventDone, s.Name, "Do failed and has taken effect: "+doErr.Error())
	}
	return "do", errors.Join(doErr, run.note(ctx, EventFailed, s.Name, doErr.Error()))
}

// awaitEffect polls Verify after a Do that succeeded.
func (run *runner) awaitEffect(ctx context.Context, s Step) (at string, err error) {
	if _, err := run.decide(ctx, s, false); err != nil {
		return "verify", err
	}
	return "journal", run.note(ctx, EventDone, s.Name, "")
}

// check asks Check once.
func (run *runner) check(ctx context.Context, s Step) (State, error) {
	if s.Do == nil && s.Check == nil && s.Verify == nil {
		return StateNeeded, nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	state, err := observe(bounded, s.Check, s.Verify)
	if err == nil && state == StateBlocked {
		err = ErrBlocked
	}
	return state, err
}

// decide polls Verify until it says done or, if no is an answer, needed. Errors of Verify are asked again: it only observes.
func (run *runner) decide(ctx context.Context, s Step, no bool) (State, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	var last error
	for {
		state, err := observe(bounded, s.Verify, s.Check)
		switch {
		case err == nil && state == StateDone, err == nil && state == StateNeeded && no:
			return state, nil
		case err != nil:
			last = err
		}
		if err := sleep(bounded, run.cfg.PollEvery); err != nil {
			if ctx.Err() != nil {
				return StateBlocked, errors.Join(ErrUndecided, context.Cause(ctx), last)
			}
			return StateBlocked, errors.Join(ErrUndecided, fmt.Errorf("verify has not seen the effect within %v", s.timeout()), last)
		}
	}
}

// awaitApproval waits until enough people have approved, or one has skipped the step.
func (run *runner) awaitApproval(ctx context.Context, s Step) (skipped bool, err error) {
	deadline := time.Now().Add(run.cfg.ApprovalTTL)
	for s.Approve > 0 {
		h, err := run.load(ctx)
		if err != nil {
			return false, err
		}
		if _, skipped := h.skipped[s.Name]; skipped {
			return true, nil
		}
		people := h.approvers(s.Name, time.Now())
		switch {
		case len(people) >= s.Approve:
			return false, nil
		case h.cancelled != nil:
			return false, fmt.Errorf("%w by %s: %s", ErrCancelled, h.cancelled.By, h.cancelled.Reason)
		case h.token > run.token:
			return false, ErrFenced
		case time.Now().After(deadline):
			return false, fmt.Errorf("%w: %d of %d approvals within %v", ErrBlocked, len(people), s.Approve, run.cfg.ApprovalTTL)
		}
		if err := sleep(ctx, run.cfg.PollEvery); err != nil {
			return false, err
		}
	}
	return false, nil
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

type tokenKey struct{}

// Token returns a token for the request that the calling Do makes: the same for every attempt of the step in its run, in every process,
// and different for every other. It is 32 hexadecimal digits; "" outside a Do.
func Token(ctx context.Context) string {
	token, _ := ctx.Value(tokenKey{}).(string)
	return token
}

func requestToken(run, step string) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%d:%s%s", len(run), run, step)))
	return hex.EncodeToString(sum[:16])
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
