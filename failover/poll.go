package failover

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// poll is one round with the coordinator: vote (which asks for the lease), load, adopt, count the votes, act.
// An unreachable coordinator changes nothing but the lease, which runs out by itself, as does the right to drive a move.
func (c *Controller) poll(ctx context.Context, wg *sync.WaitGroup) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	asked := time.Since(c.start)
	vote := c.nextVote()
	coord, seen := c.coordinator()
	voting, end := context.WithTimeout(bounded, c.cfg.PollEvery*3/4) // votes that hang must not hide the decisions of others
	voteErr := coord.Vote(voting, vote)
	end()
	rec, err := coord.Load(bounded)
	switch {
	case errors.Is(err, ErrNoRecord):
		c.endTask()
		c.bootstrap(bounded, coord, seen)
		return
	case err != nil:
		return
	}
	c.adopt(rec, seen)
	c.confirmed.Store(int64(asked))
	if voteErr == nil {
		c.renewed(vote, rec, asked)
	}
	if c.refreshVotes(bounded) == nil {
		c.drive(ctx, wg)
	}
}

// coordinator returns the coordinator, and how many records have been adopted before it is asked for another.
func (c *Controller) coordinator() (coord Coordinator, seen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.coord, c.adopted
}

// nextVote builds this instance's vote. A writer's vote is also its request for a lease.
func (c *Controller) nextVote() Vote {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ballot++
	v := Vote{
		Instance: c.cfg.Instance, Region: c.cfg.Self, Witness: c.cfg.Role == RoleWitness, Number: c.ballot,
		Abstain: c.suspect && !c.rule.neverAbstain, Views: map[Region]Health{}, At: time.Now().UTC(),
	}
	for r, h := range c.health {
		v.Views[r] = h.state
	}
	if ok, _ := c.mayWriteLocked(); ok && c.cfg.Fence == FenceLease {
		v.Epoch, v.TTL = c.record.Epoch, c.cfg.LeaseTTL
	}
	if t := c.record.Transition; t != nil && t.Executor == c.cfg.Instance && c.conflict == "" {
		v.RunToken = t.RunToken
	}
	return v
}

// renewed grants this instance its lease: the vote that asked for it is stored, and the record read after it still names
// this Region at that epoch. A Fenced record stored later waits for the whole lease, counted from then. Both the lease and the
// right to go on driving a move count from before the request.
func (c *Controller) renewed(v Vote, rec Record, asked time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voted = c.start.Add(asked)
	if c.task != nil {
		c.task.extend(c.driveLeft())
	}
	if v.Epoch == 0 || v.Epoch != rec.Epoch || rec.Writer != c.cfg.Self || c.conflict != "" {
		return
	}
	from := asked
	if c.rule.leaseFromResponse {
		from = time.Since(c.start)
	}
	c.lease.Store(&lease{epoch: v.Epoch, until: from + c.cfg.LeaseTTL + c.rule.wallStep})
}

// driveLeft is how long this instance may still drive a move: others take over once its vote has not grown for longer.
func (c *Controller) driveLeft() time.Duration { return time.Until(c.voted.Add(3 * c.cfg.PollEvery)) }

// adopt makes rec this process's decision, unless it contradicts what is known. seen is from before rec was asked for.
func (c *Controller) adopt(rec Record, seen uint64) {
	if !c.adoptInMemory(rec, seen) {
		return
	}
	if c.running.Load() {
		nudge(c.keep)
	} else {
		c.persist()
	}
}

func (c *Controller) adoptInMemory(rec Record, seen uint64) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.record
	if problem := rec.problem(); problem != "" {
		c.stopWritesLocked("the coordinator's record makes no sense: " + problem)
		return false
	}
	behind := c.known && (rec.Epoch < before.Epoch || rec.Epoch == before.Epoch && rec.Sequence < before.Sequence)
	switch {
	case behind && seen != c.adopted:
		return false // a read that a newer one has overtaken
	case c.known && rec.Epoch < before.Epoch && !c.rule.acceptLower:
		c.stopWritesLocked("the coordinator went back to an older epoch")
		return false
	case c.known && rec.Epoch == before.Epoch && rec.DecisionID != before.DecisionID && !c.rule.ignoreDecision:
		c.stopWritesLocked("the coordinator granted this epoch twice")
		return false
	}
	// A lower sequence of the same epoch is adopted: the coordinator lost changes, but none about who writes.
	moved := !c.known || rec.Phase != before.Phase || rec.Epoch != before.Epoch
	if moved {
		c.phaseSeen = time.Now()
	}
	if t, old := rec.Transition, before.Transition; t != nil && (old == nil || old.ID != t.ID || old.RunToken != t.RunToken) {
		c.tokenSeen = time.Now()
	}
	changed = !c.known || rec.Sequence != before.Sequence || rec.Epoch != before.Epoch
	if changed {
		c.adopted++
	}
	c.record, c.known, c.conflict = rec.clone(), true, ""
	c.publishLocked()
	if moved {
		c.log.Info("decision", slog.String("phase", rec.Phase.String()), slog.String("writer", rec.Writer),
			slog.String("epoch", FormatEpoch(rec.Epoch)), slog.Uint64("sequence", rec.Sequence))
		nudge(c.poke) // ask for a lease, or drive the next phase, without waiting an interval
	}
	return changed
}

// stopWritesLocked enters conflict mode: reads go on, writes stop until a person breaks the glass or the
// coordinator tells a story that fits again.
func (c *Controller) stopWritesLocked(why string) {
	if c.conflict != why {
		c.log.Error("writes stopped", slog.String("reason", why), slog.String("epoch", FormatEpoch(c.record.Epoch)))
		c.rule.see("conflict: " + why)
	}
	c.conflict = why
	c.lease.Store(nil)
	c.publishLocked()
}

// bootstrap stores the first record of a fleet: Regions[0] is the writer. A process that knows a decision
// does not: its coordinator has lost it.
func (c *Controller) bootstrap(ctx context.Context, coord Coordinator, seen uint64) {
	c.mu.Lock()
	known := c.known
	if known && seen == c.adopted {
		c.stopWritesLocked("the coordinator lost the decision")
	}
	c.mu.Unlock()
	if known {
		return
	}
	now := time.Now().UTC()
	id := randomName()
	first := Record{Sequence: 1, Epoch: 1, DecisionID: id, Phase: PhaseSteady, Writer: c.cfg.Regions[0], Since: now}
	first.stamp()
	first.note(audit.Record{At: now, To: first.Writer, ID: id, Who: c.cfg.Instance, Why: "first boot", Instance: c.cfg.Instance, Region: c.cfg.Self})
	switch err := coord.CompareAndSwap(ctx, 0, first); {
	case err == nil:
		c.adopt(first, seen)
	case errors.Is(err, ErrConflict):
		nudge(c.poke) // lost the race: the next poll reads what stands
	}
}

// A seenVote is a vote, when this instance first saw its author, and when the number last grew since. A vote that was
// there before proves nothing about its author being alive now.
type seenVote struct {
	vote  Vote
	first time.Time
	grew  time.Time // zero until it has grown once

	asked    time.Time // its author asked for no lease later
	askedFor uint64    // under which epoch; 0 = a vote was missed that may have asked for one, under any
}

// next is what is known of an author after another vote: one that asks for no lease leaves the one before it in force.
func (s seenVote) next(v Vote, now time.Time) seenVote {
	n := seenVote{vote: v, first: s.first, grew: now, asked: v.At, askedFor: v.Epoch}
	if v.Epoch == 0 && v.Number == s.vote.Number+1 {
		n.asked, n.askedFor = s.asked, s.askedFor
	}
	return n
}

// refreshVotes reads the votes.
func (c *Controller) refreshVotes(ctx context.Context) error {
	asked := time.Now()
	coord, _ := c.coordinator()
	bounded, cancel := context.WithTimeout(ctx, c.cfg.PollEvery)
	defer cancel()
	votes, err := coord.Votes(bounded)
	if err != nil {
		return err
	}
	c.countVotes(votes, asked)
	return nil
}

// countVotes notes which instances are alive.
func (c *Controller) countVotes(votes []Vote, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if asked.Before(c.votesAt) {
		return // overtaken
	}
	c.votesAt = asked
	now := time.Now()
	present := map[string]bool{}
	for _, v := range votes {
		present[v.Instance] = true
		switch seen, ok := c.votes[v.Instance]; {
		case !ok:
			c.votes[v.Instance] = seenVote{vote: v, first: now, asked: v.At, askedFor: v.Epoch}
		case v.Number > seen.vote.Number:
			c.votes[v.Instance] = seen.next(v, now)
		}
		if v.Instance == c.cfg.Instance && v.Number > c.ballot {
			c.ballot = v.Number // of an earlier life of this instance, whose clock was ahead
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

// drivesLocked reports whether t's executor may still be at work: it voted lately, or was first seen lately, and says that it drives t.
// One that has come to distrust the coordinator votes on, but drives nothing.
func (c *Controller) drivesLocked(t *Transition) bool {
	seen, ok := c.votes[t.Executor]
	latest := seen.first
	if seen.grew.After(latest) {
		latest = seen.grew
	}
	return ok && seen.vote.RunToken == t.RunToken && time.Since(latest) < c.rule.liveness
}
