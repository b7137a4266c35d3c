package failover

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// poll is one round with the coordinator: vote (which asks for the lease), load, adopt, count the votes, act.
// An unreachable coordinator changes nothing but the lease, which runs out by itself.
func (c *Controller) poll(ctx context.Context, wg *sync.WaitGroup) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	asked := time.Since(c.start)
	vote := c.nextVote()
	coord := c.coordinator()
	voteErr := coord.Vote(bounded, vote)
	rec, err := coord.Load(bounded)
	switch {
	case errors.Is(err, ErrNoRecord):
		c.bootstrap(bounded)
		return
	case err != nil:
		c.fenceExecutor()
		return
	}
	c.adopt(rec)
	if voteErr == nil {
		c.renewed(vote, rec, asked)
	}
	votes, err := coord.Votes(bounded)
	if err != nil {
		c.fenceExecutor()
		return
	}
	c.countVotes(votes)
	c.drive(ctx, wg)
}

func (c *Controller) coordinator() Coordinator {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.coord
}

// nextVote builds this instance's vote. A writer's vote is also its request for a lease.
func (c *Controller) nextVote() Vote {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ballot++
	v := Vote{Instance: c.cfg.Instance, Region: c.cfg.Self, Witness: c.cfg.Role == RoleWitness, Number: c.ballot,
		Abstain: c.suspect, Views: map[Region]Health{}, At: time.Now().UTC()}
	for r, h := range c.health {
		v.Views[r] = h.state
	}
	if ok, _ := c.mayWriteLocked(); ok && c.cfg.Fence == FenceLease {
		v.Epoch, v.TTL = c.record.Epoch, c.cfg.LeaseTTL
	}
	if t := c.record.Transition; t != nil && t.Executor == c.cfg.Instance {
		v.RunToken = t.RunToken
	}
	return v
}

// renewed grants this instance its lease: the vote that asked for it is stored, and the record read after it still names
// this Region at that epoch. A Fenced record stored later waits for the whole lease, counted from then.
func (c *Controller) renewed(v Vote, rec Record, asked time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voted = time.Now()
	if v.Epoch == 0 || v.Epoch != rec.Epoch || rec.Writer != c.cfg.Self || c.conflict != "" {
		return
	}
	c.lease.Store(&lease{epoch: v.Epoch, until: asked + c.cfg.LeaseTTL})
}

// adopt makes rec this process's decision, unless it contradicts what is known.
func (c *Controller) adopt(rec Record) {
	if c.adoptInMemory(rec) {
		c.persist()
	}
}

func (c *Controller) adoptInMemory(rec Record) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.record
	if c.known {
		switch {
		case rec.Epoch < before.Epoch:
			c.stopWritesLocked("the coordinator went back to an older epoch")
			return false
		case rec.Epoch == before.Epoch && rec.DecisionID != before.DecisionID:
			c.stopWritesLocked("the coordinator granted this epoch twice")
			return false
		case rec.Epoch == before.Epoch && rec.Sequence < before.Sequence:
			return false // a read that was overtaken
		}
	}
	if !c.known || rec.Phase != before.Phase || rec.Epoch != before.Epoch {
		c.phaseSeen = time.Now()
	}
	changed = !c.known || rec.Sequence != before.Sequence || rec.Epoch != before.Epoch
	c.record, c.known, c.conflict = rec.clone(), true, ""
	c.publishLocked()
	if rec.Epoch != before.Epoch || rec.Phase != before.Phase {
		c.log.Info("decision", slog.String("phase", rec.Phase.String()), slog.String("writer", rec.Writer),
			slog.String("epoch", FormatEpoch(rec.Epoch)), slog.Uint64("sequence", rec.Sequence))
		nudge(c.poke) // ask for a lease, or drive the next phase, without waiting an interval
	}
	return changed
}

// stopWritesLocked enters conflict mode: reads go on, writes stop until a person breaks the glass or the
// coordinator tells a story that fits again.
func (c *Controller) stopWritesLocked(why string) {
	if c.conflict == "" {
		c.log.Error("writes stopped", slog.String("reason", why), slog.String("epoch", FormatEpoch(c.record.Epoch)))
	}
	c.conflict = why
	c.lease.Store(nil)
	c.publishLocked()
}

// bootstrap stores the first record of a fleet: Regions[0] is the writer. A process that knows a decision
// does not: its coordinator has lost it.
func (c *Controller) bootstrap(ctx context.Context) {
	c.mu.Lock()
	if c.known {
		c.stopWritesLocked("the coordinator lost the decision")
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	now := time.Now().UTC()
	id := randomName()
	first := Record{Sequence: 1, Epoch: 1, DecisionID: id, Phase: PhaseSteady, Writer: c.cfg.Regions[0], Since: now, Stamp: randomName()}
	first.note(Entry{At: now, To: first.Writer, ID: id, By: c.cfg.Instance, Reason: "first boot"})
	if err := c.coordinator().CompareAndSwap(ctx, 0, first); err == nil {
		c.adopt(first)
	}
	nudge(c.poke) // lost the race or the reply: the next poll reads what stands
}

// A seenVote is a vote, when this instance first saw its author, and when the number last grew since. A vote that was
// there before proves nothing about its author being alive now.
type seenVote struct {
	vote  Vote
	first time.Time
	grew  time.Time // zero until it has grown once
}

// countVotes notes which instances are alive.
func (c *Controller) countVotes(votes []Vote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	present := map[string]bool{}
	for _, v := range votes {
		present[v.Instance] = true
		switch seen, ok := c.votes[v.Instance]; {
		case !ok:
			c.votes[v.Instance] = seenVote{vote: v, first: now}
		case v.Number != seen.vote.Number:
			c.votes[v.Instance] = seenVote{vote: v, first: seen.first, grew: now}
		}
	}
	maps.DeleteFunc(c.votes, func(name string, _ seenVote) bool { return !present[name] })
}

// voters are the votes of instances that are certainly alive.
func (c *Controller) votersLocked() (live []Vote) {
	for _, seen := range c.votes {
		if !seen.grew.IsZero() && time.Since(seen.grew) < c.rule.liveness {
			live = append(live, seen.vote)
		}
	}
	return live
}

// maybeAliveLocked reports whether instance may still be at work: it voted lately, or was first seen lately.
func (c *Controller) maybeAliveLocked(instance string) bool {
	seen, ok := c.votes[instance]
	latest := seen.first
	if seen.grew.After(latest) {
		latest = seen.grew
	}
	return ok && time.Since(latest) < c.rule.liveness
}
