package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// A Request is an operator's wish for a move.
type Request struct {
	Reason string // required
	By     string // required: who asks
	Second string // who approves at once; another person than By, and not only blanks. Empty: the request waits for Approve

	// Planned asks for a move without loss: reads move first, writes are cut, and the move goes on only when everything
	// acknowledged is present on the target; else, after two minutes, it goes back. It is refused while the target is further behind than that.
	Planned bool

	// AcceptLoss accepts an exposure above the RPO, or an unknown one. A planned move still waits as long for the last write.
	AcceptLoss *AcceptLoss
}

func (q Request) check(c *Controller, to Region) error {
	refuse := func(reason string) error {
		return c.refuse(to, GuardRequest, "%s", reason)
	}
	switch {
	case strings.TrimSpace(q.Reason) == "":
		return refuse("Request.Reason is empty")
	case strings.TrimSpace(q.By) == "":
		return refuse("Request.By is empty")
	case q.Second != "" && strings.TrimSpace(q.Second) == "":
		return refuse("Request.Second is blank")
	case samePerson(q.Second, q.By):
		return refuse("Request.Second is the requester")
	case q.AcceptLoss != nil && !q.AcceptLoss.complete():
		return refuse("Request.AcceptLoss needs Exposure, Reason and By")
	}
	return nil
}

func (l *AcceptLoss) complete() bool {
	return strings.TrimSpace(l.Reason) != "" && strings.TrimSpace(l.By) != "" && l.Exposure > 0
}

// Failover asks for a move of the writer to another Region and returns the transition once it is recorded: waiting for
// approval, or under way if Second approved it. Errors: a [*RefusedError] that names the guard, nothing was
// changed; or the coordinator's, after which Status tells whether the request was recorded.
func (c *Controller) Failover(ctx context.Context, to Region, q Request) (Transition, error) {
	if err := q.check(c, to); err != nil {
		return Transition{}, err
	}
	t := Transition{
		ID: randomName(), To: to, Planned: q.Planned, Reason: q.Reason, By: q.By, Second: q.Second,
		Asked: time.Now().UTC(), AcceptLoss: q.AcceptLoss,
	}
	rec, err := c.changeForPeople(ctx, func(r *Record) (audit.Record, error) {
		switch {
		case !slices.Contains(c.cfg.Regions, to):
			return audit.Record{}, c.refuse(to, GuardTarget, "not one of %q", c.cfg.Regions)
		case to == r.Writer:
			return audit.Record{}, c.refuse(to, GuardTarget, "it is the writer")
		}
		return c.begin(r, t)
	})
	return c.moved(rec, err)
}

// errVotesOld says that the votes have grown old while the record was read.
var errVotesOld = errors.New("failover: the votes are too old")

// looks is how often a person's wish is held against fresh votes before the guard refuses because there are none.
const looks = 3

// changeForPeople is change with votes that are no older than a poll when edit sees the record: the exposure guard counts them, takes old ones for none,
// and people do not ask again by themselves.
func (c *Controller) changeForPeople(ctx context.Context, edit func(*Record) (audit.Record, error)) (Record, error) {
	unsure := map[string]Record{} // over all looks: a store of an earlier one may arrive late
	for look := 1; ; look++ {
		if err := c.refreshVotes(ctx); err != nil {
			return Record{}, err
		}
		rec, err := c.changeUnsure(ctx, unsure, func(r *Record) (audit.Record, error) {
			if look < looks && c.votesOld() {
				return audit.Record{}, errVotesOld
			}
			return edit(r)
		})
		if !errors.Is(err, errVotesOld) {
			return rec, err
		}
	}
}

func (c *Controller) votesOld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.votesAt) > c.cfg.PollEvery
}

// moved returns rec's transition and has it driven without waiting for the next poll.
func (c *Controller) moved(rec Record, err error) (Transition, error) {
	if err != nil {
		return Transition{}, err
	}
	nudge(c.poke)
	t := *rec.Transition
	t.ctl = c
	return t, nil
}

// Approve lets the request id begin. by must be another person than the requester; the guards are checked again, with the exposure of
// now. Errors as [Controller.Failover].
func (c *Controller) Approve(ctx context.Context, id, by string) (Transition, error) {
	return c.approve(ctx, id, by, nil)
}

// ApproveLoss is [Controller.Approve] by loss.By, who also accepts the loss: loss takes the place of the request's own AcceptLoss, for
// this request alone. It is how a request of the group, which cannot accept anything, passes the exposure guard.
func (c *Controller) ApproveLoss(ctx context.Context, id string, loss AcceptLoss) (Transition, error) {
	if !loss.complete() {
		return Transition{}, c.refuse("", GuardRequest, "AcceptLoss needs Exposure, Reason and By")
	}
	return c.approve(ctx, id, loss.By, &loss)
}

func (c *Controller) approve(ctx context.Context, id, by string, loss *AcceptLoss) (Transition, error) {
	rec, err := c.changeForPeople(ctx, func(r *Record) (audit.Record, error) {
		t := r.Transition
		switch {
		case r.Phase != PhaseAwaitApproval || t.ID != id:
			return audit.Record{}, c.refuse("", GuardPhase, "no request %q waits for approval", id)
		case strings.TrimSpace(by) == "" || samePerson(by, t.By):
			return audit.Record{}, c.refuse(t.To, GuardRequest, "it takes a second person to approve")
		case !time.Now().Before(t.Expires):
			return audit.Record{}, c.refuse(t.To, GuardRequest, "the request expired at %v", t.Expires)
		}
		approved := *t
		approved.Second = by
		if loss != nil {
			approved.AcceptLoss = loss
		}
		return c.launch(r, approved)
	})
	return c.moved(rec, err)
}

// Deny ends the move id: a request that waits is dropped, a move whose promotion is not verified yet goes back to the old
// writer. Later there is no way back but another move. Errors: a [*RefusedError], or the coordinator's.
func (c *Controller) Deny(ctx context.Context, id, by, reason string) error {
	if strings.TrimSpace(by) == "" || strings.TrimSpace(reason) == "" {
		return c.refuse("", GuardRequest, "Deny needs by and reason")
	}
	_, err := c.change(ctx, func(r *Record) (audit.Record, error) {
		t := r.Transition
		if t == nil || t.ID != id || t.Evidence != "" {
			return audit.Record{}, c.refuse("", GuardPhase, "there is no move %q that can still be denied", id)
		}
		if r.Phase == PhaseAwaitApproval {
			return c.deny(r, reason, by), nil
		}
		return c.abort(r, by, reason)
	})
	nudge(c.poke)
	return err
}

// WaiveFence lets the move id go on although the old side could not be fenced. It is a person's word, in the audit log, that
// the old writer cannot write any more.
func (c *Controller) WaiveFence(ctx context.Context, id, by, reason string) error {
	if strings.TrimSpace(by) == "" || strings.TrimSpace(reason) == "" {
		return c.refuse("", GuardRequest, "WaiveFence needs by and reason")
	}
	_, err := c.change(ctx, func(r *Record) (audit.Record, error) {
		if r.Phase != PhaseFenced || r.Transition.ID != id {
			return audit.Record{}, c.refuse("", GuardPhase, "the move %q is not waiting for the old side's fence", id)
		}
		r.Transition.OldSide = fmt.Sprintf("waived by %s: %s", by, reason)
		entry := r.Transition.entry("old side's fence waived: " + reason)
		entry.Who = by
		return entry, nil
	})
	nudge(c.poke)
	return err
}

// promoted records an operator's evidence; see [Transition.Promoted].
func (c *Controller) promoted(ctx context.Context, id, evidence string) error {
	if strings.TrimSpace(evidence) == "" {
		return c.refuse("", GuardRequest, "Promoted needs evidence")
	}
	_, err := c.change(ctx, func(r *Record) (audit.Record, error) {
		if r.Phase != PhasePromoting || r.Transition.ID != id {
			return audit.Record{}, c.refuse("", GuardPhase, "the move %q is not promoting", id)
		}
		r.Transition.Evidence = evidence
		return audit.Record{}, nil
	})
	nudge(c.poke)
	return err
}

// BreakGlass starts over on coord, when the old coordinator is gone for good or contradicts what this process knows: this process's
// Region becomes the writer in a new incarnation, whose epochs beat all earlier ones. It takes two people. Nothing is known of the old
// side: whoever calls it has made sure that it cannot write, and instances of the old incarnation refuse writes once they learn of
// the new one. The other instances follow when they are started with coord; calling BreakGlass on them with the same coord adopts
// what is there. Errors: a [*RefusedError], or coord's.
func (c *Controller) BreakGlass(ctx context.Context, coord Coordinator, q Request) (Transition, error) {
	if err := q.check(c, c.cfg.Self); err != nil {
		return Transition{}, err
	}
	switch {
	case q.Second == "":
		return Transition{}, c.refuse(c.cfg.Self, GuardRequest, "Request.Second is empty: breaking the glass takes two people")
	case c.cfg.Role == RoleWitness:
		return Transition{}, c.refuse(c.cfg.Self, GuardTarget, "a witness never writes")
	case coord == nil:
		return Transition{}, c.refuse(c.cfg.Self, GuardRequest, "coord is nil")
	}
	rec, err := c.load(ctx, coord)
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return Transition{}, err
	}
	if !c.follows(rec) {
		if rec, err = c.newIncarnation(ctx, coord, rec, q); err != nil {
			return Transition{}, err
		}
	}
	c.mu.Lock()
	c.coord = coord
	c.adopted++ // what the old coordinator answers from now on is overtaken
	seen := c.adopted
	c.mu.Unlock()
	c.adopt(rec, seen)
	nudge(c.poke)
	return Transition{ID: rec.DecisionID, To: rec.Writer, Epoch: rec.Epoch, Reason: q.Reason, By: q.By, Second: q.Second, ctl: c}, nil
}

// follows reports whether rec, which may be none, continues what this process knows.
func (c *Controller) follows(rec Record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.record
	return rec.Sequence > 0 && (!c.known || rec.Epoch > known.Epoch || rec.Epoch == known.Epoch && rec.DecisionID == known.DecisionID)
}

// newIncarnation stores the first record of a new incarnation in place of found.
func (c *Controller) newIncarnation(ctx context.Context, coord Coordinator, found Record, q Request) (Record, error) {
	c.mu.Lock()
	known := c.record.clone()
	c.mu.Unlock()
	epoch, err := nextIncarnation(max(known.Epoch, found.Epoch))
	if err != nil {
		return Record{}, err
	}
	now := time.Now().UTC()
	rec := Record{
		Sequence: found.Sequence + 1, Epoch: epoch, DecisionID: randomName(), Phase: PhaseSteady, Writer: c.cfg.Self, Since: now, TookOver: epoch,
		Moves: []Move{{At: now}}, Log: known.Log, Audit: known.Audit,
	}
	rec.stamp()
	rec.note(audit.Record{
		At: now, To: rec.Writer, ID: rec.DecisionID, Who: q.By, Second: q.Second, Why: "glass broken: " + q.Reason,
		Instance: c.cfg.Instance, Region: c.cfg.Self,
	})
	return rec, c.swap(ctx, coord, found.Sequence, rec)
}
