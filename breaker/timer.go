package breaker

import (
	"time"
	"weak"
)

// setTimer lets fire run on owner after d nanoseconds, at the earliest one: a timer that finds nothing to do
// yet must not come back at the same instant. It holds owner weakly, so that a dropped breaker is collected
// at once and not when its timers end. The caller holds the lock that guards *timer.
func setTimer[T any](timer **time.Timer, owner *T, fire func(*T), d int64) {
	wait := time.Duration(max(1, d))
	if *timer != nil {
		(*timer).Reset(wait)
		return
	}
	w := weak.Make(owner)
	*timer = time.AfterFunc(wait, func() {
		if owner := w.Value(); owner != nil {
			fire(owner)
		}
	})
}
