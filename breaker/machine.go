package breaker

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A cause is why a transition happens.
type cause struct {
	reason string
	by     string        // an operator
	hint   time.Duration // how long the error asked to be left alone; zero if it did not
}

// errFailed and errNeutral are the only results gobreaker is told besides nil.
var (
	errFailed  = errors.New("failed")
	errNeutral = errors.New("neutral")
)

// newMachineLocked replaces gobreaker's state machine by a closed one. All its transitions come back through
// changedLocked, while the one who caused them holds b.mu.
//
// Its counting is not used: it counts at admission, where a hanging call weighs like a good one, and holds
// a lock and reads two clocks to do so. It is asked only once a rule of ours says "open", and about probes.
// Its open time is the shortest there is, because it cannot change from one opening to the next; openUntil
// says how long nobody asks it.
func (b *Breaker) newMachineLocked() {
	b.machine = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   uint32(b.cfg.Probes),
		Timeout:       1,
		ReadyToTrip:   func(gobreaker.Counts) bool { return true },
		IsExcluded:    func(err error) bool { return err == errNeutral },
		OnStateChange: func(_ string, _, to gobreaker.State) { b.changedLocked(to) },
	})
}

// A rule is what opens a closed breaker.
type rule uint8

const (
	ruleNone rule = iota
	ruleVerdict
	ruleConsecutive
	ruleFailures
	ruleSlow
)

// ruleLocked returns the rule by which the breaker must open now.
func (b *Breaker) ruleLocked(verdict Verdict, counts Counts) rule {
	cfg, results := &b.cfg, counts.results()
	switch {
	case verdict == VerdictTripNow:
		return ruleVerdict
	case cfg.ConsecutiveFailures > 0 && b.window.streak >= cfg.ConsecutiveFailures:
		return ruleConsecutive
	case results < uint64(b.minCallsLocked()):
		return ruleNone
	case cfg.FailureRate > 0 && atLeastShare(counts.Failures, results, cfg.FailureRate):
		return ruleFailures
	case b.timed && atLeastShare(counts.Slow, results, cfg.SlowRate):
		return ruleSlow
	}
	return ruleNone
}

// reasonLocked is r with its figures, for people.
func (b *Breaker) reasonLocked(r rule, counts Counts) string {
	switch r {
	case ruleConsecutive:
		return fmt.Sprintf("%d consecutive failures", b.window.streak)
	case ruleFailures:
		return fmt.Sprintf("%d of %d calls failed", counts.Failures, counts.results())
	case ruleSlow:
		return fmt.Sprintf("%d of %d calls took %v or longer", counts.Slow, counts.results(), b.cfg.SlowCall)
	}
	return "the verdict on a call"
}

// atLeastShare divides, because share × whole would not be exact: 0.07 × 100 is more than 7.
func atLeastShare(part, whole uint64, share float64) bool {
	return float64(part)/float64(whole) >= share
}

// minCallsLocked: a ramp admits few calls on purpose, so few must be enough to judge it.
func (b *Breaker) minCallsLocked() int {
	if stateOf(b.word.Load()) == StateRamp {
		return min(b.cfg.MinCalls, b.cfg.Probes)
	}
	return b.cfg.MinCalls
}

// judgeLocked opens the breaker, which is closed or ramping, if a rule says so and it may.
func (b *Breaker) judgeLocked(now int64, verdict Verdict, hint time.Duration) {
	if b.mode == ModeClosed {
		return
	}
	counts := b.window.countsLocked(now)
	r := b.ruleLocked(verdict, counts)
	if r == ruleNone {
		return
	}
	if !b.enterPoolLocked(false) {
		b.held++
		return
	}
	if stateOf(b.word.Load()) == StateClosed && now-b.closedAt > int64(b.cfg.Window) {
		b.opens = 0 // the last recovery held: this is a new outage
	}
	b.openLocked(cause{reason: b.reasonLocked(r, counts), hint: hint})
}

// openLocked makes gobreaker, which is closed, open.
func (b *Breaker) openLocked(why cause) {
	if done, err := b.machine.Allow(); err == nil {
		b.why = why
		done(errFailed)
	}
}

// changedLocked follows a transition of gobreaker.
func (b *Breaker) changedLocked(to gobreaker.State) {
	now := b.now()
	why := b.why
	b.why = cause{}
	switch to {
	case gobreaker.StateOpen:
		b.opened++
		wait := b.forced.For
		if b.mode != ModeOpen {
			wait = b.openTimeLocked(why.hint)
		}
		b.openUntil = now + int64(wait)
		b.dueFrom = b.openUntil - min(lead, int64(wait))
		b.enterLocked(now, StateOpen, why, wait)
	case gobreaker.StateHalfOpen:
		b.enterLocked(now, StateHalfOpen, cause{reason: "the open time has passed"}, 0)
		b.startProbingLocked(now)
	case gobreaker.StateClosed:
		why := cause{reason: fmt.Sprintf("%d of %d probes succeeded", b.cfg.Probes, b.cfg.Probes)}
		if len(b.cfg.Ramp) > 0 {
			b.startRampLocked(now, why)
			return
		}
		b.closedAt = now
		b.enterLocked(now, StateClosed, why, 0)
	}
}

// openTimeLocked draws how long to stay open. An error that asks for a time gets it, within OpenFor and
// MaxOpenFor, so that neither zero nor an hour can be asked for; the random part then comes on top.
func (b *Breaker) openTimeLocked(hint time.Duration) time.Duration {
	b.opens++
	most := b.cfg.MaxOpenFor
	if hint > 0 {
		hint = min(max(hint, b.cfg.OpenFor), most)
		return min(hint+b.jitter(hint), most)
	}
	d := b.cfg.OpenFor
	for i := 1; i < b.opens && d < most; i++ {
		d = min(2*d, most)
	}
	return d - b.jitter(d)
}

// jitter is a random part of d, up to Config.Jitter of it.
func (b *Breaker) jitter(d time.Duration) time.Duration {
	return time.Duration(rand.Float64() * b.cfg.Jitter * float64(d))
}

// enterLocked starts a generation in state.
func (b *Breaker) enterLocked(now int64, state State, why cause, wait time.Duration) {
	from, counts := stateOf(b.word.Load()), b.window.countsLocked(now)
	b.window.resetLocked(now)
	b.probesOut = 0
	if state != StateClosed {
		b.refuseWithLocked(now, state, why, wait) // before the state is seen: whoever sees it finds its error
	}
	b.setWordLocked(state)
	if state == StateClosed || state == StateRamp {
		b.leavePoolLocked()
	}
	b.noteLocked(from, state, why, wait, counts)
	b.setAlarmLocked(now)
}

// refuseWithLocked makes the error of this generation's rejections. A breaker that probes or ramps keeps
// saying why it opened.
func (b *Breaker) refuseWithLocked(now int64, state State, why cause, wait time.Duration) {
	e := &OpenError{Name: b.cfg.Name, Key: b.key, State: state, Reason: why.reason, By: why.by}
	if last := b.refusal.Load(); last != nil && state != StateOpen {
		e.Reason, e.By = last.Reason, last.By
	}
	if wait > 0 {
		e.Until = b.base.Add(time.Duration(now) + wait)
	}
	b.refusal.Store(e)
}

// startRampLocked admits the first share.
func (b *Breaker) startRampLocked(now int64, why cause) {
	b.rampStep = 0
	b.rampUntil = now + int64(b.cfg.RampStep)
	b.share.Store(shareOf(b.cfg.Ramp[0]))
	b.enterLocked(now, StateRamp, why, b.cfg.RampStep)
}

// nextShareLocked admits the next share, or everything. The window goes on: a regression that spans two
// steps is one.
func (b *Breaker) nextShareLocked(now int64) {
	b.rampStep++
	if b.rampStep < len(b.cfg.Ramp) {
		b.rampUntil = now + int64(b.cfg.RampStep)
		b.share.Store(shareOf(b.cfg.Ramp[b.rampStep]))
		b.refuseWithLocked(now, StateRamp, cause{}, b.cfg.RampStep)
		return
	}
	b.closedAt = now
	counts := b.window.countsLocked(now)
	b.keepGenerationLocked(StateClosed)
	b.noteLocked(StateRamp, StateClosed, cause{reason: "the ramp is complete"}, 0, counts)
}

// shareOf is share as a number of random values out of 1<<32.
func shareOf(share float64) uint64 { return uint64(share * (1 << 32)) }

// setAlarmLocked sets the one timer for everything that ends by time, and tells calls when an end is near.
func (b *Breaker) setAlarmLocked(now int64) {
	next := int64(math.MaxInt64)
	if b.forcedUntil != 0 {
		next = b.forcedUntil
	}
	switch stateOf(b.word.Load()) {
	case StateOpen:
		if now < b.dueFrom {
			next = min(next, b.dueFrom)
		} else {
			b.word.Store(b.word.Load() | dueBit)
			next = min(next, b.openUntil)
		}
	case StateRamp:
		next = min(next, b.rampUntil)
	case StateHalfOpen:
		if b.nextProbe != 0 {
			next = min(next, b.nextProbe)
		}
	}
	if next != math.MaxInt64 {
		setTimer(&b.alarm, b, (*Breaker).ring, next-now)
	} else if b.alarm != nil {
		b.alarm.Stop()
	}
}

// lead is how long before the end of an opening calls begin to look at the clock, see ring.
const lead = int64(100 * time.Millisecond)

// ring does what is due. Timers may be late, and those of callers who wait for as long as they were told then
// ring before ours. So an opening ends twice: a little before its end every call is told to look at the clock, and
// the first that finds it over rings; else the alarm does. Until then a rejection needs no clock.
func (b *Breaker) ring() {
	b.mu.Lock()
	b.ringLocked(b.now())
	b.unlockAndNotify()
}

func (b *Breaker) ringLocked(now int64) {
	if b.forcedUntil != 0 && now >= b.forcedUntil {
		b.endForceLocked(now, cause{reason: fmt.Sprintf("%v has expired: %s", b.mode, b.forced.Reason)})
	}
	switch state := stateOf(b.word.Load()); {
	case state == StateOpen && now >= b.openUntil:
		b.machine.State() // asking is what moves gobreaker to half-open
	case state == StateRamp && now >= b.rampUntil:
		b.nextShareLocked(now)
	case state == StateHalfOpen && b.nextProbe != 0 && now >= b.nextProbe:
		b.runProbeLocked(now)
	}
	b.setAlarmLocked(now)
}
