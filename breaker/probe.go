package breaker

import (
	"context"
	"time"
)

// A probe is one call admitted while half-open. Its fields are guarded by Breaker.mu.
type probe struct {
	done    func(error) // gobreaker's
	word    uint64      // the generation it belongs to
	timer   *time.Timer // ends its time
	settled bool        // its result has been counted
	ended   bool        // its call has returned
}

// probeSpacing is the longest pause between two runs of Config.Probe.
const probeSpacing = time.Second

// admitProbe admits the call as a probe if one more may run. If the state has changed meanwhile, the
// call is treated as one of the new state.
func (b *Breaker) admitProbe() (admission, bool) {
	b.mu.Lock()
	defer b.mu.Unlock() // nothing to notify: admitting a probe is no transition
	a := admission{word: b.word.Load()}
	switch stateOf(a.word) {
	case StateClosed:
		return a, true
	case StateHalfOpen:
		a.probe = b.newProbeLocked()
	}
	return a, a.probe != nil
}

// newProbeLocked asks gobreaker for a slot; nil if all are taken.
func (b *Breaker) newProbeLocked() *probe {
	done, err := b.machine.Allow()
	if err != nil {
		b.setFullLocked(true)
		return nil
	}
	b.probesOut++
	p := &probe{done: done, word: b.word.Load()}
	p.timer = time.AfterFunc(b.cfg.ProbeTimeout, func() { b.expire(p) })
	return p
}

// settle records the result of a probe's call. It panics if the call had ended before.
func (b *Breaker) settle(p *probe, verdict Verdict, slow bool, err error) {
	hint := hintOf(err)
	b.mu.Lock()
	if p.ended {
		b.mu.Unlock()
		panic("breaker: Done of a Permit that is done")
	}
	p.ended = true
	p.timer.Stop()
	if slow && verdict == VerdictSuccess {
		verdict = VerdictFailure // as it will hardly be the only slow one
	}
	b.settleLocked(p, verdict, cause{reason: "a probe failed", hint: hint})
	b.unlockAndNotify()
}

// expire counts a probe that has not returned in time as failed.
func (b *Breaker) expire(p *probe) {
	b.mu.Lock()
	b.settleLocked(p, VerdictFailure, cause{reason: errProbeTimeout.Error()})
	b.unlockAndNotify()
}

func (b *Breaker) settleLocked(p *probe, verdict Verdict, why cause) {
	if p.settled || (p.word^b.word.Load())>>generationShift != 0 {
		p.settled = true
		return // its time was over, or another probe has decided
	}
	p.settled = true
	b.probesOut--
	switch verdict {
	case VerdictNeutral:
		p.done(errNeutral)
		b.setFullLocked(b.ownProbesLocked()) // the slot is free again
	case VerdictSuccess:
		b.window.past.Successes++
		p.done(nil)
	default:
		b.window.past.Failures++
		b.why = why
		p.done(errFailed)
	}
}

// ownProbesLocked reports whether Config.Probe probes in place of calls. While a run of it ignores its
// context calls do: otherwise a probe that hangs would keep the breaker open for good.
func (b *Breaker) ownProbesLocked() bool { return b.cfg.Probe != nil && !b.probing }

// startProbingLocked prepares a half-open generation. It runs inside gobreaker, which must not be asked
// for a slot there; ring does that next.
func (b *Breaker) startProbingLocked(now int64) {
	b.nextProbe = 0
	if b.ownProbesLocked() {
		b.setFullLocked(true)
		b.nextProbe = now
	}
}

// runProbeLocked runs Config.Probe once, on a goroutine that ends with it.
func (b *Breaker) runProbeLocked(now int64) {
	b.nextProbe = 0
	if b.probing {
		return
	}
	p := b.newProbeLocked()
	if p == nil { // calls took the slots while a former run hung
		b.planProbeLocked(now)
		return
	}
	b.probing = true
	go b.runProbe(p)
}

// planProbeLocked lets Config.Probe run again a little later.
func (b *Breaker) planProbeLocked(now int64) {
	b.nextProbe = now + int64(min(b.cfg.OpenFor, probeSpacing))
}

func (b *Breaker) runProbe(p *probe) {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.ProbeTimeout)
	err := errAbandoned
	defer func() {
		_ = recover() // a health check that panics must not end the process; it has failed
		cancel()
		b.probed(p, err)
	}()
	err = b.cfg.Probe(ctx)
}

// probed records a run of Config.Probe and plans the next.
func (b *Breaker) probed(p *probe, err error) {
	verdict := VerdictSuccess
	if err != nil {
		verdict = VerdictFailure
	}
	hint := hintOf(err)
	b.mu.Lock()
	b.probing = false
	p.ended = true
	p.timer.Stop()
	b.settleLocked(p, verdict, cause{reason: "the background probe failed", hint: hint})
	if now := b.now(); stateOf(b.word.Load()) == StateHalfOpen {
		b.planProbeLocked(now)
		b.setAlarmLocked(now)
	}
	b.unlockAndNotify()
}
