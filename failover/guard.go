package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// budgetWindow is the time over which MaxMoves counts.
const budgetWindow = 6 * time.Hour

// refuse returns the refusal of a move to a Region by a guard.
func (c *Controller) refuse(to Region, g Guard, format string, args ...any) *RefusedError {
	c.countRefusal(g)
	return &RefusedError{Name: c.cfg.Name, To: to, Guard: g, Reason: fmt.Sprintf(format, args...)}
}

// asked is what the configuration's callbacks said. They run under no lock.
type asked struct {
	freeze   string
	frozen   bool
	failback bool // the window is open
}

func (c *Controller) ask(now time.Time) (a asked) {
	if c.cfg.Frozen != nil {
		a.freeze, a.frozen = c.cfg.Frozen(now)
	}
	switch c.cfg.Failback {
	case FailbackAfterStable:
		a.failback = true
	case FailbackWindow:
		a.failback = c.cfg.FailbackWindowOpen(now)
	}
	return a
}

// guardsLocked checks whether t may begin now. It returns the exposure measured, and the first refusal.
func (c *Controller) guardsLocked(rec Record, t *Transition, said asked, now time.Time) (Exposure, error) {
	exposure := c.exposureLocked(rec, t, now)
	if said.frozen && t.Auto {
		return exposure, c.refuse(t.To, GuardFreeze, "moves are frozen: %s", said.freeze)
	}
	if refused := c.tooSoon(rec, t, now); refused != nil {
		return exposure, refused
	}
	if reason := c.notReadyLocked(t.To); reason != "" {
		return exposure, c.refuse(t.To, GuardReadiness, "%s", reason)
	}
	if refused := c.guardFormerWriterLocked(rec, t); refused != nil {
		return exposure, refused
	}
	return exposure, c.guardExposure(t, exposure)
}

// guardFormerWriterLocked refuses a move to data that went their own way. Who accepts an unknown exposure thinks of a copy that stands still; a
// former writer's database takes writes already, so that nothing would promote it, and lacks all that was acknowledged since.
func (c *Controller) guardFormerWriterLocked(rec Record, t *Transition) error {
	if t.AcceptLoss != nil && t.AcceptLoss.FormerWriter || c.rule.anyTarget {
		return nil
	}
	what := c.formerWriterLocked(rec, t.To)
	if what == "" {
		return nil
	}
	return c.refuse(t.To, GuardFormerWriter, "%s; rebuild it from %q, or accept the loss with FormerWriter", what, rec.Writer)
}

// formerWriterLocked says which of region's data are not known to have followed the writer since it took over; "" if all have, or cannot tell. A copy learns the
// epoch of the takeover with the new writer's data, a former writer only when it is rebuilt from them.
func (c *Controller) formerWriterLocked(rec Record, region Region) string {
	if rec.TookOver == 0 {
		return ""
	}
	for _, src := range c.decidingLocked() {
		r := src.regions[region]
		if r == nil || !r.measured {
			continue
		}
		switch sample, ok := r.lag.get(); {
		case !ok:
			return fmt.Sprintf("client %q: nothing is known of its data, which may be a former writer's", src.name)
		case !sample.of(rec.TookOver):
			return fmt.Sprintf("client %q: its data know epoch %s and the writer took over at %s: they are a former writer's, or a copy of one", src.name,
				FormatEpoch(sample.Epoch), FormatEpoch(rec.TookOver))
		}
	}
	return ""
}

// notReadyLocked says why region could not take over; "" if it could.
func (c *Controller) notReadyLocked(region Region) string {
	h := c.health[region]
	if h == nil {
		return "this instance is not configured with it"
	}
	if c.suspect && !c.rule.neverAbstain {
		return "all Regions look bad from here: ask an instance that can tell"
	}
	if h.state != HealthHealthy {
		return "the target is " + h.state.String()
	}
	for _, src := range c.decidingLocked() {
		if reason := src.regions[region].notReady.Load(); reason != nil {
			return fmt.Sprintf("client %q: %s", src.name, *reason)
		}
	}
	return ""
}

// tooSoon applies cooldown and budget, which hold automatic moves only: a person who asks is asked for approval instead.
func (c *Controller) tooSoon(rec Record, t *Transition, now time.Time) error {
	if !t.Auto {
		return nil
	}
	wait := max(0, rec.AskAgain.Sub(now))
	recent, oldest := 0, time.Time{}
	for _, m := range rec.Moves {
		wait = max(wait, c.cfg.Cooldown-now.Sub(m.At))
		if m.Auto && m.Planned == t.Planned && now.Sub(m.At) < budgetWindow {
			if recent++; oldest.IsZero() || m.At.Before(oldest) {
				oldest = m.At
			}
		}
	}
	var refused *RefusedError
	switch {
	case wait > 0:
		refused = c.refuse(t.To, GuardCooldown, "the last move or denial was too short ago")
	case recent >= c.cfg.MaxMoves:
		wait = budgetWindow - now.Sub(oldest)
		refused = c.refuse(t.To, GuardBudget, "%d automatic moves within %v", recent, budgetWindow)
	default:
		return nil
	}
	refused.Wait = wait
	return refused
}

// guardExposure refuses a move that may lose more than was accepted. A planned move loses nothing, but must be able to tell, and not be
// so far behind that writes would be cut for nothing.
func (c *Controller) guardExposure(t *Transition, e Exposure) error {
	if !t.Planned || !e.Known {
		return c.guardLoss(t, e)
	}
	if behind := time.Since(e.ReplicatedThrough); behind > replicationPatience && t.AcceptLoss == nil {
		return c.refuseExposure(t, e, fmt.Sprintf("the target is %v behind; a planned move waits for %v", behind.Round(time.Second), replicationPatience))
	}
	return nil
}

// guardLoss holds e against the RPO and what was accepted above it.
func (c *Controller) guardLoss(t *Transition, e Exposure) error {
	limit := c.cfg.RPO
	if t.AcceptLoss != nil {
		limit = max(limit, t.AcceptLoss.Exposure)
	}
	switch {
	case c.rule.anyExposure || limit == UnknownExposure:
		return nil
	case !e.Known:
		return c.refuseExposure(t, e, "nobody knows how far the target's replication has come")
	case e.Bound > limit:
		return c.refuseExposure(t, e, fmt.Sprintf("up to %v of acknowledged writes may be lost; the limit is %v", e.Bound, limit))
	}
	return nil
}

func (c *Controller) refuseExposure(t *Transition, e Exposure, reason string) error {
	refused := c.refuse(t.To, GuardExposure, "%s", reason)
	refused.Exposure = e
	return refused
}

// exposureLocked bounds what moving away from rec's writer may lose, as far as this instance can tell now.
func (c *Controller) exposureLocked(rec Record, t *Transition, now time.Time) Exposure {
	e := Exposure{AcknowledgedUntil: c.acknowledgedLocked(rec, t, now).UTC()}
	for _, src := range c.decidingLocked() {
		r := src.regions[t.To]
		if r == nil || !r.measured {
			continue // not configured here, or nothing that is copied
		}
		sample, ok := r.lag.get()
		if !ok || !sample.of(t.Epoch) { // one copy of unknown age is enough
			return Exposure{AcknowledgedUntil: e.AcknowledgedUntil}
		}
		if !e.Known || sample.ReplicatedThrough.Before(e.ReplicatedThrough) {
			e.ReplicatedThrough, e.Known = sample.ReplicatedThrough.UTC(), true
		}
	}
	if e.Known {
		e.Bound = max(0, e.AcknowledgedUntil.Sub(e.ReplicatedThrough)) + c.cfg.ClockSkew
	}
	return e
}

// acknowledgedLocked is the latest instant at which t's old writer may have acknowledged a write, or may yet.
func (c *Controller) acknowledgedLocked(rec Record, t *Transition, now time.Time) time.Time {
	if c.cfg.Fence != FenceLease {
		return now.Add(c.cfg.MaxFlight)
	}
	if c.rule.openExposure {
		return now.Add(c.rule.lease)
	}
	var began time.Time // after the cut the record's epoch is another one
	if rec.Epoch == t.Epoch {
		began = rec.Since
	}
	return c.lastLeaseLocked(t, began, now)
}

// lastLeaseLocked is the latest instant at which any instance of t.From can hold a lease of t.Epoch. No lease of an epoch is longer than
// from its newest recorded request: a Region that stopped renewing stops adding to the exposure, however long the
// approval takes. An instance that lives on votes without asking for a lease, and keeps the one that it had: what it asked for last counts.
// Nothing recorded, or not looked up lately, proves nothing.
func (c *Controller) lastLeaseLocked(t *Transition, began, now time.Time) time.Time {
	latest, found := began, false
	for _, seen := range c.votes {
		if seen.vote.Region != t.From || seen.askedFor != 0 && seen.askedFor != t.Epoch {
			continue
		}
		found = found || seen.askedFor == t.Epoch
		if end := seen.asked.Add(c.rule.lease); end.After(latest) {
			latest = end
		}
	}
	if !found || now.Sub(c.votesAt) > c.cfg.PollEvery {
		latest = now.Add(c.rule.lease)
	}
	if final := t.Cut.Add(c.rule.lease); !t.Cut.IsZero() && latest.After(final) {
		latest = final // nobody is granted a lease after the cut
	}
	return latest
}

// quorumLocked reports whether the live voters agree that region is unhealthy. vantage: they also sit in enough
// configured places, this Region and a witness's among them, that a Region which is merely cut off cannot be all of them.
func (c *Controller) quorumLocked(region Region) (agreed, vantage bool, why string) {
	live := c.votersLocked()
	voting, against := 0, 0
	var places []Region
	for _, v := range live {
		if v.Abstain {
			continue
		}
		voting++
		if v.Views[region] == HealthUnhealthy {
			against++
			if v.Region != region && !slices.Contains(places, v.Region) && c.configured(v.Region) {
				places = append(places, v.Region)
			}
		}
	}
	switch {
	case len(live) < c.cfg.MinVoters:
		return false, false, fmt.Sprintf("%d live voters of at least %d", len(live), c.cfg.MinVoters)
	case voting == 0 || against*100 < voting*60:
		return false, false, fmt.Sprintf("%d of %d voters call %q unhealthy; it takes 60 %%", against, voting, region)
	case !slices.Contains(places, c.cfg.Self) || !c.witnessed(places):
		return true, false, fmt.Sprintf("the voters who agree sit in %q only", places)
	}
	return true, true, ""
}

func (c *Controller) configured(r Region) bool {
	return slices.Contains(c.cfg.Regions, r) || slices.Contains(c.cfg.Witnesses, r)
}

// witnessed reports whether a witness's Region is among places.
func (c *Controller) witnessed(places []Region) bool {
	return slices.ContainsFunc(places, func(r Region) bool { return slices.Contains(c.cfg.Witnesses, r) })
}

// samePerson compares names as people write them.
func samePerson(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
