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

// drive moves the state machine on, as far as it is this instance's turn. It runs on the polling goroutine.
func (c *Controller) drive(ctx context.Context, wg *sync.WaitGroup) {
	c.mu.Lock()
	rec, conflict := c.record.clone(), c.conflict
	c.mu.Unlock()
	if conflict != "" || c.cfg.Role == RoleWitness {
		c.endTask()
		return
	}
	switch rec.Phase {
	case PhaseSteady:
		c.endTask()
		c.propose(ctx)
	case PhaseAwaitApproval:
		c.endTask()
		c.reconsider(ctx, rec)
	default:
		if rec.Transition.To == c.cfg.Self {
			c.execute(ctx, wg, rec)
		}
	}
}

// propose begins an automatic move into this Region: a failover that a quorum wants, or a failback that is due.
func (c *Controller) propose(ctx context.Context) {
	now := time.Now()
	said := c.ask(now)
	c.mu.Lock()
	t, err := c.wantedLocked(said, now)
	refused, _ := errors.AsType[*RefusedError](err)
	news := refused != nil && (c.proposal == nil || c.proposal.Guard != refused.Guard)
	c.proposal = refused
	c.mu.Unlock()
	if news {
		c.log.Warn("automatic move refused", slog.Any("error", refused))
	}
	if t == nil || err != nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	_, err = c.change(bounded, func(r *Record) (audit.Record, error) {
		if r.Epoch != t.Epoch { // what the quorum said was about another writer
			return audit.Record{}, errOvertaken
		}
		return c.begin(r, *t)
	})
	if err != nil && err != errOvertaken {
		c.log.Warn("automatic move not begun", slog.Any("error", err))
	}
}

// wantedLocked is the automatic move that this instance would begin now; nil if none.
func (c *Controller) wantedLocked(said asked, now time.Time) (*Transition, error) {
	rec := c.record
	t := &Transition{ID: randomName(), From: rec.Writer, To: c.cfg.Self, Epoch: rec.Epoch, Auto: true, By: c.cfg.Instance, Asked: now.UTC()}
	switch {
	case rec.Writer == c.cfg.Self || c.suspect && !c.rule.neverAbstain:
		return nil, nil
	case said.failback && c.failbackDueLocked(now):
		t.Planned, t.Reason = true, "failback: the preferred region has been healthy for "+c.cfg.FailbackAfter.String()
	default:
		if wanted, err := c.quorumWantsLocked(t, now); !wanted {
			return nil, err
		}
	}
	if !t.Auto { // asks a person, who is not bound by an automatic move's budget
		if now.Before(rec.AskAgain) {
			return nil, nil
		}
		return t, nil
	}
	_, err := c.guardsLocked(rec, t, said, now)
	return t, err
}

// quorumWantsLocked reports whether the group wants t, and fills in what it says.
func (c *Controller) quorumWantsLocked(t *Transition, now time.Time) (bool, error) {
	agreed, vantage, why := c.quorumLocked(t.From)
	writer := c.health[t.From]
	if !agreed {
		c.agreed = time.Time{}
		if writer == nil || writer.state != HealthUnhealthy {
			return false, nil
		}
		return false, c.refuse(t.To, GuardQuorum, "%s", why)
	}
	if c.agreed.IsZero() {
		c.agreed = now
	}
	if c.cfg.Automatic && !vantage && now.Sub(c.agreed) < 2*c.rule.liveness {
		return false, nil // the witness may only be a poll behind: do not bother people yet
	}
	t.Reason = fmt.Sprintf("a quorum calls %q unhealthy", t.From)
	t.Auto, t.Group = c.cfg.Automatic && vantage, true
	if writer != nil && !writer.troubled.IsZero() {
		t.Mark = writer.troubled.UTC()
		detected := writer.ejected
		if detected.Before(writer.troubled) {
			detected = now // the others were sure first
		}
		t.lap("detect", detected)
		t.lap("decide", now)
	}
	return true, nil
}

func (c *Controller) failbackDueLocked(now time.Time) bool {
	return c.cfg.Self == c.cfg.Regions[0] && !c.stable.IsZero() && now.Sub(c.stable) >= c.cfg.FailbackAfter
}

// begin edits r so that t starts: at once, or by asking for approval. The guards run against the record being changed.
func (c *Controller) begin(r *Record, t Transition) (audit.Record, error) {
	if r.Phase != PhaseSteady {
		return audit.Record{}, c.refuse(t.To, GuardPhase, "another move is under way (%s)", r.Phase)
	}
	t.From, t.Epoch = r.Writer, r.Epoch
	t.Expires = t.Asked.Add(c.cfg.ApprovalTTL)
	if t.Mark.IsZero() {
		t.Mark = t.Asked
	}
	approved := t.Auto || t.Second != ""
	if !approved {
		r.Phase, r.Transition = PhaseAwaitApproval, &t
		return t.entry("asked for approval: " + t.why()), nil // reconsider sees to the rest
	}
	return c.launch(r, t)
}

// launch edits r so that the approved t stops the old writer.
func (c *Controller) launch(r *Record, t Transition) (audit.Record, error) {
	now := time.Now()
	said := c.ask(now)
	c.mu.Lock()
	exposure, err := c.guardsLocked(*r, &t, said, now)
	c.mu.Unlock()
	if err != nil {
		return audit.Record{}, err
	}
	t.Exposure = exposure
	t.lap("approve", now)
	r.Transition = &t
	if t.Planned {
		r.Phase = PhaseDraining
		return t.entry(t.why()), nil
	}
	return c.cut(r, t.why())
}

// cut edits r so that nobody may write: the next epoch, without a writer.
func (c *Controller) cut(r *Record, reason string) (audit.Record, error) {
	epoch, err := c.nextEpoch(r.Epoch)
	if err != nil {
		return audit.Record{}, err
	}
	t := r.Transition
	now := time.Now().UTC()
	t.Cut = now
	if t.Planned {
		t.lap("drain", now)
	}
	r.Epoch, r.DecisionID, r.Phase, r.Writer, r.Since = epoch, t.ID, PhaseFenced, "", now
	r.Moves = append(r.Moves, Move{At: now, Auto: t.Auto, Planned: t.Planned})
	if extra := len(r.Moves) - 16; extra > 0 {
		r.Moves = r.Moves[extra:]
	}
	return t.entry(reason), nil
}

// entry is the audit entry of a change of t's phase.
func (t *Transition) entry(reason string) audit.Record {
	return audit.Record{From: t.From, To: t.To, ID: t.ID, Who: t.By, Second: t.Second, Why: reason}
}

// why is t's reason, and which loss was accepted by whom.
func (t *Transition) why() string {
	l := t.AcceptLoss
	if l == nil {
		return t.Reason
	}
	accepted := fmt.Sprintf("loss up to %v", l.Exposure)
	if l.Exposure == UnknownExposure {
		accepted = "any loss"
	}
	if l.FormerWriter {
		accepted += ", and a former writer's data,"
	}
	return fmt.Sprintf("%s; %s accepted by %s: %s", t.Reason, accepted, l.By, l.Reason)
}

// reconsider ends a request that waits: it has expired, or it is the group's own and the group has made up its mind. A request stands in
// the way of every other move, so that one that came of a glimpse must not outlive it: a Region that is lost later has to be left.
func (c *Controller) reconsider(ctx context.Context, rec Record) {
	decide := c.second(rec)
	if decide == nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	id := rec.Transition.ID
	_, err := c.change(bounded, func(r *Record) (audit.Record, error) {
		if r.Phase != PhaseAwaitApproval || r.Transition.ID != id {
			return audit.Record{}, errOvertaken
		}
		return decide(r)
	})
	if err != nil && err != errOvertaken {
		c.log.Warn("request not ended", slog.Any("error", err))
	}
}

// second is the group's second thought about a request that waits, nil if it has none.
func (c *Controller) second(rec Record) func(r *Record) (audit.Record, error) {
	now, t := time.Now(), rec.Transition
	if !now.Before(t.Expires) {
		return func(r *Record) (audit.Record, error) { return c.deny(r, "nobody approved in time", ""), nil }
	}
	if !t.Group || t.To != c.cfg.Self {
		return nil
	}
	c.mu.Lock()
	agreed, vantage, _ := c.quorumLocked(t.From)
	from := c.health[t.From]
	healthy := from != nil && from.state == HealthHealthy
	c.mu.Unlock()
	switch {
	case agreed && vantage && c.cfg.Automatic:
		return func(r *Record) (audit.Record, error) {
			own := *r.Transition
			own.Auto = true
			return c.launch(r, own)
		}
	case !agreed && healthy:
		return func(r *Record) (audit.Record, error) {
			return c.deny(r, fmt.Sprintf("the group calls %q healthy again", t.From), ""), nil
		}
	}
	return nil
}

// deny edits r so that the request that waits in it is gone. by is "" for its expiry.
func (c *Controller) deny(r *Record, reason, by string) audit.Record {
	entry := r.Transition.entry("denied: " + reason)
	entry.Who = orString(by, entry.Who)
	r.Phase, r.Transition, r.AskAgain = PhaseSteady, nil, time.Now().Add(c.cfg.Cooldown).UTC()
	return entry
}
