package degrade

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// A reason is a level that something asks for.
type reason struct {
	level  Level
	cause  Cause
	detail string
	until  time.Time // when it ends by itself; zero = nobody knows
}

// worsen replaces r by other if that asks for a worse level. The first to ask for a level is the one named.
func (r *reason) worsen(other reason) {
	if other.level > r.level {
		*r = other
	}
}

// gate is a feature's recovery gate at the step under way.
type gate struct {
	since  time.Time // first asked for this step; zero = not asked
	again  time.Time // when to ask again
	busy   bool
	passed bool
	err    string
}

// advanceLocked moves f to the level it should have now: worse at once; better one level at a time, after Hold without
// a break and with the gate's consent.
func (f *Feature) advanceLocked(now time.Time, due *due) {
	target := f.targetLocked()
	switch {
	case target.level > f.held:
		f.worseLocked(target, now)
	case target.level == f.held:
		f.clearSince = time.Time{}
		f.closeGateLocked()
	case f.betterLocked(target.level, now, due):
		f.advanceLocked(now, due) // the next step's clock starts now
		return
	}
	f.publishLocked(target, now, due)
}

// targetLocked is the level f should have in the end, and why.
func (f *Feature) targetLocked() reason {
	level, detail := f.derive(f.c.presentLocked())
	r := reason{level: level, cause: CauseDependency, detail: detail}
	if level == Normal {
		r = reason{}
	}
	f.c.flagsLocked(f, &r)
	f.c.overridesLocked(f, &r)
	if clamped := f.clamp(r.level); clamped > r.level {
		r = reason{level: clamped, cause: CauseDesign}
	} else {
		r.level = clamped
	}
	return r
}

// worseLocked follows target. Only a dependency relapses: what people and flags do is deliberate and costs no longer hold.
func (f *Feature) worseLocked(target reason, now time.Time) {
	f.forgiveLocked(now)
	if target.cause == CauseDependency && !f.better.IsZero() && now.Sub(f.better) < f.c.cfg.FlapWindow {
		f.flaps, f.flapped = f.flaps+1, now
	}
	f.held, f.clearSince = target.level, time.Time{}
	f.closeGateLocked()
}

// closeGateLocked forgets what the gate said. A call under way is still waited for: one at a time.
func (f *Feature) closeGateLocked() { f.gate = gate{busy: f.gate.busy} }

// forgiveLocked takes one relapse back for every FlapWindow without one.
func (f *Feature) forgiveLocked(now time.Time) {
	for f.flaps > 0 && now.Sub(f.flapped) >= f.c.cfg.FlapWindow {
		f.flaps, f.flapped = f.flaps-1, f.flapped.Add(f.c.cfg.FlapWindow)
	}
}

// betterLocked takes one step towards target if it is due, and reports whether it did.
func (f *Feature) betterLocked(target Level, now time.Time, due *due) bool {
	if f.clearSince.IsZero() {
		f.clearSince, f.hold = now, f.holdLocked(now)
		f.closeGateLocked()
	}
	if at := f.clearSince.Add(f.hold); now.Before(at) {
		due.by(at)
		return false
	}
	if !f.gateLocked(now, due) {
		return false
	}
	f.held--
	if f.hold == 0 && f.cfg.Gate == nil {
		f.held = target
	}
	f.better, f.clearSince = now, time.Time{}
	return true
}

// holdLocked is the hold for the next step: doubled per relapse up to MaxHold, then ± 20 % so that the instances of
// a fleet do not come back in lockstep.
func (f *Feature) holdLocked(now time.Time) time.Duration {
	if f.cfg.Hold == NoWait {
		return 0
	}
	f.forgiveLocked(now)
	hold := f.cfg.Hold
	for range f.flaps {
		if hold *= 2; hold >= f.c.cfg.MaxHold {
			hold = max(f.cfg.Hold, f.c.cfg.MaxHold)
			break
		}
	}
	return jittered(hold)
}

// jittered is d ± 20 %.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// gateLocked reports whether the step under way may be taken. Run asks the gate; see askGates.
func (f *Feature) gateLocked(now time.Time, due *due) bool {
	if f.cfg.Gate == nil || f.gate.passed {
		return true
	}
	if f.gate.since.IsZero() {
		f.gate.since, f.gate.again = now, now
	}
	deadline := f.gate.since.Add(f.c.cfg.GateDeadline)
	if !now.Before(deadline) {
		f.c.eventLocked(Event{
			Kind: EventGateForced, At: now, Name: f.name, From: f.held.String(), To: (f.held - 1).String(),
			Detail: fmt.Sprintf("the recovery gate has not opened for %v: %s", f.c.cfg.GateDeadline, f.gate.err),
		})
		return true
	}
	due.by(deadline)
	if !f.gate.busy {
		due.by(f.gate.again)
	}
	return false
}

// askGatesLocked starts a call of every gate that is due, each on a goroutine of Run.
func (c *Controller) askGatesLocked(ctx context.Context, now time.Time) {
	for _, f := range c.features {
		if g := &f.gate; !g.since.IsZero() && !g.busy && !g.passed && !now.Before(g.again) {
			g.busy = true
			from, asked := f.held, g.since
			c.goLocked("gate of feature "+f.name, func() { f.askGate(ctx, from, asked) })
		}
	}
}

func (f *Feature) askGate(ctx context.Context, from Level, asked time.Time) {
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.PollTimeout)
	defer cancel()
	err := guarded("gate", func() error { return f.cfg.Gate(ctx, from, from-1) })

	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.gate.since.Equal(asked) && f.held == from { // else the answer is to a question of the past
		f.gate.passed = err == nil
		f.gate.again = time.Now().Add(jittered(time.Second))
		if err != nil {
			f.gate.err = err.Error()
		}
	}
	f.gate.busy = false
	f.c.wakeLocked()
}

// publishLocked makes the level of f, with overrides to the better applied, the one that calls see.
func (f *Feature) publishLocked(target reason, now time.Time, due *due) {
	s := standing{level: f.held, cause: target.cause, detail: target.detail, until: target.until}
	if f.held > target.level {
		s = f.recoveringLocked(s)
	}
	f.c.reliefLocked(f, &s)
	old := f.now.Load()
	if s.level == Normal {
		s.cause, s.detail, s.until = CauseNone, "", time.Time{}
	}
	if s.level != old.level {
		f.changed = now
		f.stats.transitions[s.level].Add(1)
		f.c.eventLocked(Event{Kind: EventLevel, At: now, Name: f.name, From: old.level.String(), To: s.level.String(), Cause: s.cause, Detail: s.detail})
	}
	f.storeWordLocked(s.level, now, due)
	s.since = old.since
	if s.level != old.level {
		s.since = now
	}
	if s != *old {
		f.now.Store(&s)
	}
}

// recoveringLocked says when the way back is done, as far as that is known.
func (f *Feature) recoveringLocked(s standing) standing {
	s.cause, s.detail = CauseRecovery, "waiting for the next step"
	s.next = f.clearSince.Add(f.hold)
	s.until = s.next
	if !f.gate.since.IsZero() {
		s.detail, s.until = "waiting for the recovery gate", time.Time{}
		if f.gate.err != "" {
			s.detail += ": " + f.gate.err
		}
	}
	return s
}

// storeWordLocked writes the word of the hot path. A change is marked as recent for PinFor, so that pinned requests look
// for the level they began with and all others need not.
func (f *Feature) storeWordLocked(level Level, now time.Time, due *due) {
	word := f.word.Load()&wordExtra | uint32(level)
	if until := f.changed.Add(f.c.cfg.PinFor); !f.changed.IsZero() && now.Before(until) {
		due.by(until)
		word |= wordRecent
	}
	f.word.Store(word)
}
