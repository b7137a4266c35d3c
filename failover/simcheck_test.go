package failover

import (
	"errors"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// began checks a write at the instant it starts: I1, I3.
func (s *sim) began(n *simNode, op *simOp, f Fence) {
	n.mu.Lock()
	before, ok := n.granted[f.Epoch]
	n.granted[f.Epoch] = f.DecisionID
	n.mu.Unlock()
	if ok && before != f.DecisionID {
		s.fail("I1", "%s writes at epoch %x for decision %s, before for %s", n.name, f.Epoch, f.DecisionID, before)
	}
	if f.Region != n.self {
		s.fail("I6", "%s in %s writes in %s", n.name, n.self, f.Region)
	}
	s.mu.Lock()
	op.runs++
	op.epoch = f.Epoch
	s.mu.Unlock()
	if !s.token {
		s.checkLease(n, f)
	}
}

// checkLease: I3, no write starts without a lease that the coordinator has on record, counted on true time.
func (s *sim) checkLease(n *simNode, f Fence) {
	longest := 20 * time.Second * 100 / 99
	c := s.coord
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.asked) - 1; i >= 0; i-- {
		v := c.asked[i].vote
		if v.Instance == n.name && v.Epoch == f.Epoch {
			if age := time.Since(v.At); age > longest {
				break
			}
			return
		}
	}
	s.fail("I3", "%s starts a write at epoch %x without a lease on record", n.name, f.Epoch)
}

// ended checks what the caller of a write was told: I6, I7.
func (s *sim) ended(op *simOp, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	op.err, op.finished, op.acked = err, true, err == nil
	s.ops = append(s.ops, op)
	unknown, isUnknown := errors.AsType[*UnknownOutcomeError](err)
	switch {
	case op.runs > 1 && !op.idem && !op.notSent && err == nil && len(op.applied) > 1:
		s.failLocked("I6", "a write that was not declared idempotent ran %d times", op.runs)
	case err == nil && len(op.applied) == 0:
		s.failLocked("I7", "a write was acknowledged but no store has it")
	case isUnknown && s.ledger[unknown.ID] != 1:
		s.failLocked("I7", "%d records of one unknown write", s.ledger[unknown.ID])
	case isUnknown != (outcome.Of(err) == outcome.Unknown):
		s.failLocked("I7", "an unknown outcome that is not an UnknownOutcomeError: %v", err)
	}
}

// checkOps runs when all late deliveries have arrived: a write that was called not run has not run.
func (s *sim) checkOps() {
	for _, op := range s.ops {
		if op.err != nil && outcome.Of(op.err) == outcome.NotRun && len(op.applied) > 0 {
			s.failLocked("I7", "%s: a write that was called not run is in a store: %v", op.node.name, op.err)
		}
		if len(op.applied) > 1 && !op.idem {
			s.failLocked("I6", "%s: a write that was not declared idempotent is in a store %d times", op.node.name, len(op.applied))
		}
	}
}

// checkWrites looks at what the stores took: I1 one writer Region an epoch; I4 nothing of an older epoch after a
// newer one; I5 nothing below a learned token.
func (s *sim) checkWrites() {
	owner := map[uint64]Region{}
	type placed struct {
		simWrite
		region Region
	}
	var all []placed
	for _, r := range []Region{east, west} {
		highest := uint64(0)
		for _, w := range s.stores[r].applied {
			all = append(all, placed{w, r})
			if s.token && w.epoch < highest {
				s.failLocked("I5", "the store of %s took epoch %x after %x", r, w.epoch, highest)
			}
			highest = max(highest, w.epoch)
		}
	}
	if s.unreliable {
		return
	}
	slices.SortStableFunc(all, func(a, b placed) int { return a.at.Compare(b.at) })
	highest := placed{}
	for _, w := range all {
		if o, ok := owner[w.epoch]; ok && o != w.region {
			s.failLocked("I1", "epoch %x has writers in %s and %s", w.epoch, o, w.region)
		}
		owner[w.epoch] = w.region
		if w.epoch < highest.epoch && w.region != highest.region && !s.token {
			s.failLocked("I4", "%s took a write of epoch %x at %v, %v after one of epoch %x in %s", w.region, w.epoch,
				w.at.Sub(s.start), w.at.Sub(highest.at), highest.epoch, highest.region)
		}
		if w.epoch > highest.epoch {
			highest = w
		}
	}
}

// promoted checks what a move loses, in truth, and makes the target the primary: I8.
func (s *sim) promoted(t Transition) {
	old := s.stores[t.From]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.primary != t.From { // an earlier run has done it
		return
	}
	through := s.throughLocked()
	if s.diverged == t.To {
		through = s.parted // it has nothing of the writer's since
	}
	lost := time.Duration(0)
	old.mu.Lock()
	for _, w := range old.applied {
		if w.epoch == t.Epoch && (w.op.acked || !w.op.finished) && w.at.After(through) {
			lost = max(lost, w.at.Sub(through))
		}
	}
	old.mu.Unlock()
	s.noteLocked("%s is promoted; %v of acknowledged writes are lost", t.To, lost)
	s.moved[t.ID] = &t
	switch {
	case s.unreliable:
	case s.diverged == t.To && (t.AcceptLoss == nil || !t.AcceptLoss.FormerWriter):
		s.failLocked("former writer", "the writer moves to %s, which nobody has rebuilt and nobody has asked for as it is", t.To)
	case t.Planned && t.AcceptLoss == nil && lost > 0:
		s.failLocked("I8", "a planned move lost %v of acknowledged writes", lost)
	case t.AcceptLoss != nil && t.Planned && lost > t.AcceptLoss.Exposure && lost > time.Minute:
		s.failLocked("I8", "a planned move lost %v of acknowledged writes; %v was accepted", lost, t.AcceptLoss.Exposure)
	case t.Auto && lost > time.Minute:
		s.failLocked("I8", "an automatic move lost %v of acknowledged writes; the RPO is %v", lost, time.Minute)
	case t.Exposure.Known && lost > t.Exposure.Bound && !s.token:
		s.failLocked("I8", "a move lost %v; its exposure said %v", lost, t.Exposure.Bound)
	}
	s.primary, s.diverged, s.parted, s.frozen = t.To, t.From, time.Now(), true
	if t.Planned { // a switchover: the old primary follows
		s.diverged, s.frozen, s.through = "", false, time.Now()
	}
}

// swapped checks every stored record: I2, I9, I11, I12, I14. It runs under the coordinator's lock.
func (s *sim) swapped(before, next Record, votes []Vote) {
	s.count("phase " + before.Phase.String() + " → " + next.Phase.String())
	if before.Phase != next.Phase || before.Epoch != next.Epoch {
		s.note("record %d: %s, writer %q, epoch %x", next.Sequence, next.Phase, next.Writer, next.Epoch)
	}
	if before.Sequence > 0 && next.Epoch < before.Epoch {
		s.fail("I2", "stored epoch %x after %x", next.Epoch, before.Epoch)
	}
	s.checkEntry(before, next)
	if t := next.Transition; t != nil && t.Auto && next.Phase == PhaseFenced && before.Phase != PhaseFenced {
		s.checkPace(before, t)
		if !t.Planned {
			s.checkAutomatic(t, votes)
		}
	}
}

// checkEntry: I14, one audit entry for each change of phase, chained.
func (s *sim) checkEntry(before, next Record) {
	if before.Sequence == 0 || s.unreliable {
		return
	}
	entries := next.Audit.Sequence - before.Audit.Sequence
	if before.Phase != next.Phase && entries != 1 {
		s.fail("I14", "%d audit entries for %s → %s", entries, before.Phase, next.Phase)
	}
	if err := VerifyAudit(logReader(next.Log)); err != nil {
		s.fail("I14", "%v", err)
	}
}

// checkAutomatic checks the group's own decision to cut the writer off.
func (s *sim) checkAutomatic(t *Transition, votes []Vote) {
	now := time.Now()
	places := map[Region]bool{}
	for _, v := range votes {
		places[v.Region] = true
	}
	if len(votes) < 3 || !places[central] || !places[t.To] {
		s.fail("I12", "an automatic move by %d live voters in %v", len(votes), places)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faulty[t.From] && now.Sub(s.lastFault[t.From]) > 2*time.Minute || s.lastFault[t.From].IsZero() {
		s.failLocked("I11", "an automatic move away from %s, which has had no fault", t.From)
	}
}

// checkPace: I9, automatic moves and automatic failbacks each within their budget, and never too soon after another move. A failback
// cuts the writer two minutes after it began.
func (s *sim) checkPace(before Record, t *Transition) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := 0
	for _, m := range before.Moves {
		if now.Sub(m.At) < s.cooldown {
			s.failLocked("I9", "an automatic move %v after the last one", now.Sub(m.At))
		}
		if m.Auto && m.Planned == t.Planned && now.Sub(m.At) < budgetWindow {
			recent++
		}
	}
	if recent >= 1 {
		s.failLocked("I9", "a second automatic move (planned: %t) within %v", t.Planned, budgetWindow)
	}
}

// checkStale: I15, a bounded read sees every write older than its bound that the present writer has taken.
func (s *sim) checkStale(n *simNode, region Region, bound time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unreliable || region == s.primary {
		return
	}
	through := s.throughLocked()
	if region == s.diverged {
		through = s.parted
	}
	st := s.stores[s.primary]
	st.mu.Lock()
	defer st.mu.Unlock()
	highest := uint64(0)
	for _, w := range st.applied {
		highest = max(highest, w.epoch)
	}
	for _, w := range st.applied {
		if w.epoch == highest && w.at.After(through) && time.Since(w.at) > bound+50*time.Millisecond {
			s.failLocked("I15", "%s read %s within %v, which lacks a write of %s that is %v old", n.name, region, bound, s.primary, time.Since(w.at))
			return
		}
	}
}

// checkRoute: after an unplanned move all reads go home at once; while nothing but the coordinator fails, they stay there (I10).
func (s *sim) checkRoute(n *simNode, first Region) {
	s.coord.mu.Lock()
	rec := s.coord.record
	s.coord.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onlyCoord && first != n.self {
		s.failLocked("I10", "%s reads in %s although only the coordinator fails", n.name, first)
	}
	t := rec.Transition
	if t == nil || t.Planned || t.To != n.self || rec.Phase < PhaseOpen || s.faulty[n.self] || time.Since(s.lastFault[n.self]) < 10*time.Minute && !s.lastFault[n.self].IsZero() {
		return
	}
	if first != n.self {
		s.failLocked("traffic", "%s reads in %s first after an unplanned move to %s", n.name, first, n.self)
	}
}
