package failover

import (
	"fmt"
	"slices"
	"time"
)

// budgetWindow is the time over which MaxMoves counts.
const budgetWindow = 6 * time.Hour

// guardsLocked checks whether t may begin now. It returns the exposure measured, and the first refusal.
func (c *Controller) guardsLocked(rec Record, t *Transition, now time.Time) (Exposure, error) {
	refuse := func(g Guard, wait time.Duration, format string, args ...any) error {
		return &RefusedError{Name: c.cfg.Name, To: t.To, Guard: g, Reason: fmt.Sprintf(format, args...), Wait: wait}
	}
	exposure := c.exposureLocked(rec, t, now)
	if reason, frozen := c.frozen(now); frozen && t.Auto {
		return exposure, refuse(GuardFreeze, 0, "moves are frozen: %s", reason)
	}
	if wait, reason := c.tooSoon(rec, t, now); wait > 0 {
		guard := GuardCooldown
		if reason != "" {
			guard = GuardBudget
		}
		return exposure, refuse(guard, wait, "%s", orString(reason, "the last move was too short ago"))
	}
	if reason := c.notReadyLocked(t.To); reason != "" {
		return exposure, refuse(GuardReadiness, 0, "%s", reason)
	}
	if !t.Planned {
		if err := c.guardExposure(t, exposure); err != nil {
			return exposure, err
		}
	} else if !exposure.Known && t.AcceptLoss == nil {
		return exposure, refuse(GuardExposure, 0, "no sample of the target's replication: a planned move could not tell when nothing is missing")
	}
	return exposure, nil
}

// notReadyLocked says why region could not take over; "" if it could.
func (c *Controller) notReadyLocked(region Region) string {
	if h := c.health[region]; h.state != HealthHealthy {
		return "the target is " + h.state.String()
	}
	for _, src := range c.decidingLocked() {
		if reason := src.regions[region].notReady.Load(); reason != nil {
			return fmt.Sprintf("client %q: %s", src.name, *reason)
		}
	}
	return ""
}

func (c *Controller) frozen(now time.Time) (string, bool) {
	if c.cfg.Frozen == nil {
		return "", false
	}
	return c.cfg.Frozen(now)
}

// tooSoon applies cooldown and budget. People are held by the cooldown only for automatic moves' sake: a person who
// asks is asked for approval instead.
func (c *Controller) tooSoon(rec Record, t *Transition, now time.Time) (wait time.Duration, budget string) {
	if !t.Auto {
		return 0, ""
	}
	recent, oldest := 0, time.Time{}
	for _, m := range rec.Moves {
		if left := c.cfg.Cooldown - now.Sub(m.At); left > 0 {
			wait = max(wait, left)
		}
		if m.Auto && now.Sub(m.At) < budgetWindow {
			if recent++; oldest.IsZero() || m.At.Before(oldest) {
				oldest = m.At
			}
		}
	}
	if wait == 0 && recent >= c.cfg.MaxMoves {
		return budgetWindow - now.Sub(oldest), fmt.Sprintf("%d automatic moves within %v", recent, budgetWindow)
	}
	return wait, ""
}

func (c *Controller) guardExposure(t *Transition, e Exposure) error {
	refused := &RefusedError{Name: c.cfg.Name, To: t.To, Guard: GuardExposure, Exposure: e}
	limit := c.cfg.RPO
	if t.AcceptLoss != nil {
		limit = max(limit, t.AcceptLoss.Exposure)
	}
	switch {
	case !e.Known && limit != UnknownExposure:
		refused.Reason = "no sample of the target's replication was ever seen"
	case e.Known && e.Bound > limit:
		refused.Reason = fmt.Sprintf("up to %v of acknowledged writes may be lost; the limit is %v", e.Bound, limit)
	default:
		return nil
	}
	return refused
}

// exposureLocked bounds what moving away from rec's writer may lose, as far as this instance can tell now.
func (c *Controller) exposureLocked(rec Record, t *Transition, now time.Time) Exposure {
	e := Exposure{AcknowledgedUntil: now.UTC()}
	if !t.Cut.IsZero() {
		e.AcknowledgedUntil = t.Cut
	}
	if c.cfg.Fence == FenceLease {
		// No lease of an epoch is longer than from its newest recorded request: a Region that stopped
		// renewing stops adding to the exposure, however long the approval takes.
		e.AcknowledgedUntil = c.lastLeaseLocked(t.From, t.Epoch, rec.Since)
	} else {
		e.AcknowledgedUntil = e.AcknowledgedUntil.Add(c.cfg.MaxFlight)
	}
	for _, src := range c.decidingLocked() {
		if sample, ok := src.regions[t.To].lag.get(); ok {
			if !e.Known || sample.ReplicatedThrough.Before(e.ReplicatedThrough) {
				e.ReplicatedThrough, e.Known = sample.ReplicatedThrough.UTC(), true
			}
		}
	}
	if e.Known {
		e.Bound = max(0, e.AcknowledgedUntil.Sub(e.ReplicatedThrough)) + c.cfg.ClockSkew
	}
	return e
}

// lastLeaseLocked is the latest instant at which any instance of from can hold a lease of epoch.
func (c *Controller) lastLeaseLocked(from Region, epoch uint64, since time.Time) time.Time {
	latest := since
	for _, seen := range c.votes {
		if v := seen.vote; v.Region == from && v.Epoch == epoch {
			if end := v.At.Add(c.rule.lease); end.After(latest) {
				latest = end
			}
		}
	}
	return latest.UTC()
}

// quorumLocked reports whether the live voters agree that region is unhealthy. vantage: they also sit in enough
// configured places that a Region which is merely cut off cannot be among them alone.
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
	case len(places) < 2 || !c.witnessed(places):
		return true, false, fmt.Sprintf("the voters who agree sit in %q only", places)
	}
	return true, true, ""
}

func (c *Controller) configured(r Region) bool {
	return slices.Contains(c.cfg.Regions, r) || slices.Contains(c.cfg.Witnesses, r)
}

// witnessed: with witnesses configured, one of them must be among places.
func (c *Controller) witnessed(places []Region) bool {
	return slices.ContainsFunc(places, func(r Region) bool { return slices.Contains(c.cfg.Witnesses, r) })
}
