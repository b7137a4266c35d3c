package breaker

import (
	"fmt"
	"time"
)

// Forced is an operator's order to a breaker.
type Forced struct {
	Mode   Mode
	Reason string        // why; required
	By     string        // who; required
	For    time.Duration // how long; required, but for ModeAuto, which has no end
}

func (f Forced) validate() error {
	switch {
	case f.Mode > ModeObserve:
		return fmt.Errorf("Forced.Mode: %v is unknown", f.Mode)
	case f.Reason == "":
		return fmt.Errorf("Forced.Reason: empty")
	case f.By == "":
		return fmt.Errorf("Forced.By: empty")
	case f.Mode == ModeAuto && f.For != 0:
		return fmt.Errorf("Forced.For: %v: ModeAuto has no end", f.For)
	case f.Mode != ModeAuto && (f.For <= 0 || f.For > longest):
		return fmt.Errorf("Forced.For: %v is outside (0, %v]", f.For, longest)
	}
	return nil
}

// Force puts the breaker in a mode for a time, in place of the one forced before. After ModeOpen it is
// half-open and probes; ModeClosed also ends an opening, and after it the results counted meanwhile stay
// in the window; ModeObserve changes no state. ModeAuto ends a forced mode now and returns to [Config].Mode.
// The error names the field that is missing.
func (b *Breaker) Force(f Forced) error {
	if err := f.validate(); err != nil {
		return fmt.Errorf("breaker %q: %w", b.cfg.Name, err)
	}
	why := cause{reason: f.Reason, by: f.By}
	b.mu.Lock()
	now := b.now()
	if f.Mode == ModeAuto {
		b.endForceLocked(now, why)
	} else {
		b.forceLocked(now, f, why)
	}
	b.ringLocked(now) // what the mode has held back may be due, and the alarm must follow
	b.unlockAndNotify()
	return nil
}

func (b *Breaker) forceLocked(now int64, f Forced, why cause) {
	before := b.mode
	b.mode, b.forced, b.forcedUntil = f.Mode, f, now+int64(f.For)
	switch f.Mode {
	case ModeOpen:
		b.newMachineLocked()
		b.enterPoolLocked(true)
		b.openLocked(why)
	case ModeClosed:
		b.newMachineLocked()
		b.closedAt = now
		b.enterLocked(now, StateClosed, why, 0)
	case ModeObserve:
		b.changeModeLocked(now, before, why)
	}
}

// endForceLocked returns to the configured mode.
func (b *Breaker) endForceLocked(now int64, why cause) {
	before := b.mode
	b.mode, b.forced, b.forcedUntil = b.cfg.Mode, Forced{}, 0
	if before != b.mode {
		b.changeModeLocked(now, before, why)
	}
}

// changeModeLocked changes the mode and leaves the state, but for an opening that lasted as long as its mode.
func (b *Breaker) changeModeLocked(now int64, before Mode, why cause) {
	word := b.word.Load()
	b.word.Store(word&^observeBit | b.observeLocked())
	if before == ModeOpen {
		b.openUntil, b.dueFrom = now, now
	}
	b.noteLocked(stateOf(word), stateOf(word), why, 0, b.window.countsLocked(now))
}
