package breaker

import (
	"sync/atomic"
	"time"
)

// Stats are a breaker's figures. Counts of the past are since New.
type Stats struct {
	State       State
	Mode        Mode
	Window      Counts        // results in the window, while closed or ramping
	Total       Counts        // all results counted, probes included
	Neutral     uint64        // results that said nothing, outside half-open
	Consecutive int           // failures in a row, if Config.ConsecutiveFailures is set
	Rejected    uint64        // calls refused
	Observed    uint64        // calls admitted in ModeObserve that would have been refused
	Opened      uint64        // transitions to StateOpen
	Held        uint64        // times GroupConfig.MaxOpenShare kept it from opening
	Probing     int           // probes under way
	Wait        time.Duration // until the next probe may pass, while open
}

// State returns the current state. It changes nothing and costs one load.
func (b *Breaker) State() State { return stateOf(b.word.Load()) }

// Stats returns the current figures. It changes nothing.
func (b *Breaker) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.statsLocked()
}

func (b *Breaker) statsLocked() Stats {
	w := &b.window
	s := Stats{
		State: b.State(), Mode: b.mode, Window: w.countsLocked(b.now()), Total: w.totalLocked(), Consecutive: w.streak,
		Neutral:  w.striped(func(s *stripe) *atomic.Uint64 { return &s.neutral }),
		Rejected: w.striped(func(s *stripe) *atomic.Uint64 { return &s.rejected }),
		Observed: w.striped(func(s *stripe) *atomic.Uint64 { return &s.observed }),
		Opened:   b.opened, Held: b.held, Probing: b.probesOut,
	}
	if s.State == StateOpen {
		s.Wait = b.refusal.Load().RetryAfter()
	}
	return s
}

// Ready reports whether the dependency can be called. ok with wait 0: yes; ok with wait > 0: it is being
// tried out, send a little and ask again after wait; not ok: a call would be rejected, ask again after wait.
// It changes nothing, admits nothing, and is true in ModeObserve.
func (b *Breaker) Ready() (wait time.Duration, ok bool) {
	word := b.word.Load()
	if word&observeBit != 0 {
		return 0, true
	}
	switch stateOf(word) {
	case StateOpen:
		refusal := b.refusal.Load()
		if wait := refusal.RetryAfter(); wait > 0 && refusal.State == StateOpen { // see openIsOver
			return wait, false
		}
		return retrySoon, b.cfg.Probe == nil // it is over: the next call may be the first probe
	case StateHalfOpen:
		return retrySoon, word&fullBit == 0
	case StateRamp:
		return retrySoon, true
	}
	return 0, true
}
