package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// errOvertaken ends an edit whose record has moved on.
var errOvertaken = errors.New("failover: the record has moved on")

// A task is the goroutine that drives one transition on its executor.
type task struct {
	id     string
	token  uint64
	cancel context.CancelCauseFunc
	done   chan struct{}
	limit  *time.Timer // cancels when another instance may have taken over
}

// extend lets the task run on for d.
func (t *task) extend(d time.Duration) { t.limit.Reset(d) }

// errExecutorLost is the cause of a task's context when another instance has taken over, or may have.
var errExecutorLost = errors.New("failover: this instance no longer drives the move")

// execute makes sure that exactly one instance of the target Region drives rec's transition: this one if it is the
// executor or the executor is gone.
func (c *Controller) execute(ctx context.Context, wg *sync.WaitGroup, rec Record) {
	t := rec.Transition
	if t.Executor != c.cfg.Instance {
		c.endTask()
		c.takeOver(ctx, t)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.task != nil {
		if c.task.id == t.ID && c.task.token == t.RunToken && !c.task.ended() {
			return
		}
		c.task.cancel(errExecutorLost)
		if !c.task.ended() {
			return // the next poll starts the new one: two tasks of one instance must not overlap
		}
	}
	left := c.driveLeft()
	if left <= 0 {
		return
	}
	running, cancel := context.WithCancelCause(ctx)
	started := &task{id: t.ID, token: t.RunToken, cancel: cancel, done: make(chan struct{})}
	started.limit = time.AfterFunc(left, func() { cancel(errExecutorLost) })
	c.task = started
	wg.Go(func() {
		defer close(started.done)
		defer cancel(nil)
		defer started.limit.Stop()
		c.runTransition(running, started)
	})
}

func (t *task) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// takeOver makes this instance the executor if nobody is, or the one who was has not voted for too long.
func (c *Controller) takeOver(ctx context.Context, t *Transition) {
	c.mu.Lock()
	busy := t.Executor != "" && (time.Since(c.tokenSeen) < c.rule.liveness || c.drivesLocked(t))
	c.mu.Unlock()
	if busy && !c.rule.manyExecutors {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	_, err := c.change(bounded, func(r *Record) (audit.Record, error) {
		if r.Transition == nil || r.Transition.ID != t.ID || r.Transition.RunToken != t.RunToken {
			return audit.Record{}, errOvertaken
		}
		r.Transition.Executor = c.cfg.Instance
		r.Transition.RunToken++
		return audit.Record{}, nil
	})
	if err == nil {
		nudge(c.poke)
	}
}

// endTask cancels the running task, if any.
func (c *Controller) endTask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.task != nil {
		c.task.cancel(errExecutorLost)
	}
}

// runTransition drives the transition through its phases until it is over or this instance is no longer the executor.
// A step that fails is repeated after a pause; the record says where to go on after a crash.
func (c *Controller) runTransition(ctx context.Context, me *task) {
	for ctx.Err() == nil {
		rec, ok := c.mine(me)
		if !ok {
			return
		}
		step := map[Phase]func(context.Context, Record) error{
			PhaseDraining: c.stepDraining, PhaseFenced: c.stepFenced, PhasePromoting: c.stepPromoting,
			PhaseOpen: c.stepOpen, PhaseRamping: c.stepRamping,
		}[rec.Phase]
		err := step(ctx, rec)
		switch {
		case err == nil || ctx.Err() != nil:
			continue
		case err == errOvertaken: // look at the record again
			_ = wait(ctx, casFloor)
			continue
		}
		c.log.Error("move is stuck, trying again", slog.String("phase", rec.Phase.String()), slog.String("id", me.id), slog.Any("error", err))
		_ = wait(ctx, c.jittered(c.cfg.PollEvery))
	}
}

// mine returns the record if it is still this task's to drive.
func (c *Controller) mine(me *task) (Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.record.Transition
	ok := t != nil && t.ID == me.id && t.RunToken == me.token && t.Executor == c.cfg.Instance
	return c.record.clone(), ok
}

// advance changes the record from rec's phase; any other instance's change in between is errOvertaken.
func (c *Controller) advance(ctx context.Context, rec Record, edit func(*Record) (audit.Record, error)) error {
	_, err := c.change(ctx, func(r *Record) (audit.Record, error) {
		t := r.Transition
		if t == nil || r.Phase != rec.Phase || t.ID != rec.Transition.ID || t.RunToken != rec.Transition.RunToken {
			return audit.Record{}, errOvertaken
		}
		return edit(r)
	})
	return err
}

// stepDraining lets the reads of the old writer Region move away before writes are cut.
func (c *Controller) stepDraining(ctx context.Context, rec Record) error {
	if err := c.waitPhase(ctx, time.Duration(len(ramp))*c.cfg.RampStep); err != nil {
		return err
	}
	if err := c.guardExposure(rec.Transition, c.exposureNow(ctx, rec)); err != nil { // it has fallen behind while reads drained
		return c.goBack(ctx, rec, err)
	}
	return c.advance(ctx, rec, func(r *Record) (audit.Record, error) { return c.cut(r, "reads drained; writes stopped") })
}

// waitPhase waits until this instance has seen the current phase for d.
func (c *Controller) waitPhase(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	left := d - time.Since(c.phaseSeen)
	c.mu.Unlock()
	return wait(ctx, max(0, left))
}

// stepFenced waits until the old writer must have stopped, fences its side, and for a planned move
// until everything it acknowledged is present.
func (c *Controller) stepFenced(ctx context.Context, rec Record) error {
	if err := c.waitPhase(ctx, c.rule.fenceWait); err != nil {
		return err
	}
	old, err := c.fenceOld(ctx, *rec.Transition)
	if err != nil {
		return err
	}
	exposure := c.exposureNow(ctx, rec) // without leases, what the old side acknowledged until it was fenced counts
	if rec.Transition.Planned {
		exposure, err = c.awaitReplication(ctx, rec, exposure.AcknowledgedUntil)
	} else if rec.Transition.Auto && rec.Transition.OldSide == "" {
		err = c.guardExposure(rec.Transition, exposure) // the old writer may have renewed once more while this began; a waiver is a person's decision
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return c.goBack(ctx, rec, err)
	}
	return c.advance(ctx, rec, func(r *Record) (audit.Record, error) {
		t := r.Transition
		t.Exposure = exposure
		t.lap("fence", time.Now())
		t.OldSide = orString(t.OldSide, old)
		r.Phase = PhasePromoting
		return t.entry(fmt.Sprintf("old writer fenced; old side: %s; exposure: %v (known: %t)", t.OldSide, t.Exposure.Bound, t.Exposure.Known)), nil
	})
}

// goBack aborts the move because of why.
func (c *Controller) goBack(ctx context.Context, rec Record, why error) error {
	err := c.advance(ctx, rec, func(r *Record) (audit.Record, error) { return c.abort(r, c.cfg.Instance, why.Error()) })
	if err == nil {
		c.moveEnded(ctx, rec.Transition, true)
	}
	return err
}

// exposureNow bounds what rec's move may lose. Votes older than a poll prove nothing of the old Region's leases: it looks again, so that the
// moment of the look does not decide whether a move goes back, or what is printed of it.
func (c *Controller) exposureNow(ctx context.Context, rec Record) Exposure {
	if c.cfg.Fence == FenceLease && c.votesOld() {
		_ = c.refreshVotes(ctx) // without them the bound is a lease from now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exposureLocked(rec, rec.Transition, time.Now())
}

// fencePatience bounds one attempt of FenceOld where the move waits for its success: a waiver must be seen between attempts.
const fencePatience = 30 * time.Second

// fenceOld runs the old side's fence step and says what became of it. Under FenceLease it has as long as a write may take: the
// Region may be a black hole, and the lease has ended anyway.
func (c *Controller) fenceOld(ctx context.Context, t Transition) (string, error) {
	if t.OldSide != "" { // waived by a person
		return t.OldSide, nil
	}
	if c.cfg.FenceOld == nil {
		return "no step configured", nil
	}
	t.ctl = c
	patience := fencePatience
	if c.cfg.Fence == FenceLease {
		patience = c.cfg.MaxFlight
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := guarded(func() error { return c.cfg.FenceOld(bounded, t) })
	switch {
	case err == nil:
		return "done", nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case c.cfg.Fence == FenceLease:
		return "waived by policy: " + err.Error(), nil
	}
	return "", fmt.Errorf("fencing the old side: %w", err)
}

// replicationPatience is how long a planned move waits for the last write to arrive before it goes back.
const replicationPatience = 2 * time.Minute

// awaitReplication waits until the target has everything that the old writer may have acknowledged, which it may have done for a
// while after the cut. The heartbeat row must go on being written while the application is fenced, or it never shows that.
func (c *Controller) awaitReplication(ctx context.Context, rec Record, acknowledged time.Time) (Exposure, error) {
	c.mu.Lock()
	deadline := c.phaseSeen.Add(c.rule.fenceWait + replicationPatience) // also when this runs again because the record could not be changed
	c.mu.Unlock()
	for {
		e := c.exposureNow(ctx, rec)
		if e.Known && !e.ReplicatedThrough.Before(acknowledged.Add(c.cfg.ClockSkew)) {
			e.AcknowledgedUntil, e.Bound = acknowledged.UTC(), 0
			return e, nil
		}
		over, accepted := time.Now().After(deadline), rec.Transition.AcceptLoss
		if accepted != nil && (over || !e.Known && accepted.Exposure == UnknownExposure) {
			return e, c.guardLoss(rec.Transition, e)
		}
		if over {
			return e, fmt.Errorf("replication has not reached the last write after %v", replicationPatience)
		}
		if err := wait(ctx, tick); err != nil {
			return e, err
		}
	}
}

// stepPromoting runs the promotion, or waits for the operator's word that it is done.
func (c *Controller) stepPromoting(ctx context.Context, rec Record) error {
	t := *rec.Transition
	t.ctl = c
	evidence := t.Evidence
	switch {
	case evidence != "":
	case c.cfg.Promote == nil:
		return c.awaitChange(ctx, rec.Sequence)
	default:
		if err := guarded(func() error { return c.cfg.Promote(ctx, t) }); err != nil {
			return fmt.Errorf("promotion: %w", err)
		}
		evidence = "Promote returned without an error"
	}
	return c.advance(ctx, rec, func(r *Record) (audit.Record, error) { return c.open(r, evidence) })
}

// open edits r so that the new Region writes.
func (c *Controller) open(r *Record, evidence string) (audit.Record, error) {
	epoch, err := c.nextEpoch(r.Epoch)
	if err != nil {
		return audit.Record{}, err
	}
	t := r.Transition
	t.Evidence = evidence
	t.lap("promote", time.Now())
	r.Epoch, r.DecisionID, r.Phase, r.Writer, r.Since = epoch, t.ID, PhaseOpen, t.To, time.Now().UTC()
	r.TookOver = epoch
	return t.entry("promoted: " + evidence), nil
}

// abort edits r so that the old writer writes again, at an epoch of its own. There is no way back
// once the promotion is verified: that is a new move.
func (c *Controller) abort(r *Record, by, reason string) (audit.Record, error) {
	entry := r.Transition.entry("aborted: " + reason)
	entry.Who = by
	if r.Phase != PhaseDraining { // the writer was cut
		epoch, err := c.nextEpoch(r.Epoch)
		if err != nil {
			return audit.Record{}, err
		}
		r.Epoch, r.Writer, r.Since = epoch, r.Transition.From, time.Now().UTC()
	}
	r.Phase, r.Transition, r.AskAgain = PhaseSteady, nil, time.Now().Add(c.cfg.Cooldown).UTC()
	return entry, nil
}

// stepOpen waits until this process may write and runs the smoke test against the open writer.
func (c *Controller) stepOpen(ctx context.Context, rec Record) error {
	t := *rec.Transition
	t.ctl = c
	for epoch := uint64(0); epoch == 0; epoch, _ = c.Epoch() {
		if err := wait(ctx, casFloor); err != nil {
			return err
		}
		if c.Decision().Epoch != rec.Epoch {
			return nil
		}
	}
	opened := time.Now()
	if c.cfg.Smoke != nil {
		if err := guarded(func() error { return c.cfg.Smoke(ctx, t) }); err != nil {
			return fmt.Errorf("smoke test: %w", err)
		}
	}
	return c.finishing(ctx, rec, func(r *Record) (audit.Record, error) {
		r.Transition.lap("open", opened)
		r.Transition.lap("validate", time.Now())
		if r.Transition.Planned || c.rule.rampAlways {
			r.Phase = PhaseRamping
			return r.Transition.entry("smoke test passed"), nil
		}
		return finish(r), nil
	})
}

// stepRamping lets the reads of the new writer Region come back in steps.
func (c *Controller) stepRamping(ctx context.Context, rec Record) error {
	if err := c.waitPhase(ctx, time.Duration(len(ramp))*c.cfg.RampStep); err != nil {
		return err
	}
	return c.finishing(ctx, rec, func(r *Record) (audit.Record, error) {
		r.Transition.lap("ramp", time.Now())
		return finish(r), nil
	})
}

// finishing is advance for a step that may be the last: it reports the move that is over.
func (c *Controller) finishing(ctx context.Context, rec Record, edit func(*Record) (audit.Record, error)) error {
	var last *Transition
	err := c.advance(ctx, rec, func(r *Record) (audit.Record, error) {
		entry, err := edit(r)
		last = nil
		if r.Transition == nil {
			last = r.Last
		}
		return entry, err
	})
	if err == nil && last != nil {
		c.moveEnded(ctx, last, false)
	}
	return err
}

// finish edits r so that the move is over.
func finish(r *Record) audit.Record {
	entry := r.Transition.entry("move complete")
	r.Phase, r.Last, r.Transition = PhaseSteady, r.Transition, nil
	return entry
}

// awaitChange waits until the record is a later one than sequence.
func (c *Controller) awaitChange(ctx context.Context, sequence uint64) error {
	for {
		c.mu.Lock()
		changed, now := c.changed, c.record.Sequence
		c.mu.Unlock()
		if now != sequence {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// guarded runs a user's callback and turns its panic into an error: a move must not end the process that drives it.
func guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("failover: callback panicked: %v", p)
		}
	}()
	return call()
}
