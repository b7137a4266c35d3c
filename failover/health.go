package failover

import (
	"fmt"
	"slices"
	"time"
)

// Health is one instance's view of one Region.
type Health uint8

const (
	HealthUnknown    Health = iota // nothing seen yet: read from it, do not move to it
	HealthHealthy                  // in use
	HealthSuspect                  // in use, under observation
	HealthUnhealthy                // reads go elsewhere
	HealthRecovering               // answers probes again; reads stay elsewhere until it has held
)

var healths = [...]string{"unknown", "healthy", "suspect", "unhealthy", "recovering"}

// String returns the name in lower case.
func (h Health) String() string {
	if int(h) < len(healths) {
		return healths[h]
	}
	return fmt.Sprintf("Health(%d)", uint8(h))
}

// MarshalText writes the name.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the name.
func (h *Health) UnmarshalText(text []byte) error {
	i := slices.Index(healths[:], string(text))
	if i < 0 {
		return fmt.Errorf("failover: unknown health %q", text)
	}
	*h = Health(i)
	return nil
}

// readable: unknown Regions are, or a process could not serve before its first probe.
func (h Health) readable() bool {
	return h == HealthUnknown || h == HealthHealthy || h == HealthSuspect
}

// The thresholds of the health table.
const (
	probesToFail    = 3    // in a row: Suspect → Unhealthy
	probesToHeal    = 10   // in a row, and pace.heal: Recovering → Healthy
	ejectionsCount  = 10   // at most so many times pace.hold
	ejectionsForget = 60   // times pace.hold, after which ejections count from none
	suspectRate     = 0.20 // lower bound of the failure rate over rateWindow
	unhealthyRate   = 0.50
	rateWindow      = 10 // seconds
	longRateWindow  = 30 // seconds: a rate over suspectRate for so long is enough if another Region is healthy
	minCalls        = 10 // in rateWindow, or there is no rate
)

// A pace is how long a Region that was bad must hold before it is used again; see ControllerConfig.
type pace struct {
	hold time.Duration // × ejections: before Unhealthy → Recovering
	heal time.Duration // of Recovering, see probesToHeal
	step time.Duration // of a ramp
}

// signals is what all sources together say about a Region at one tick.
type signals struct {
	probed      bool // at least one probe has come back since the start
	probeFailed bool // one of the last three failed, of enough sources
	probesDown  bool // probesToFail failed in a row, of enough sources
	probesGood  int  // how many in a row were good, of the worst source
	rateSuspect bool // of enough sources
	rateDown    bool
	rateLong    bool
	anyProbe    bool // any source at all, for agreement between the two kinds
	anyRate     bool
}

// good: nothing speaks against the Region.
func (s signals) good() bool {
	return s.probed && !s.anyProbe && !s.anyRate
}

// A regionHealth is the state machine of one Region on one instance. The controller's loop owns it.
type regionHealth struct {
	pace      pace
	state     Health
	since     time.Time // of state
	ejections int
	ejected   time.Time // when ejections last grew
	troubled  time.Time // since when something has spoken against the Region
	gray      bool      // Unhealthy by callers' failures while probes were good
	share     int       // percent of reads that may use the Region as it heals
}

// step applies one tick. otherHealthy says whether another Region is healthy.
func (h *regionHealth) step(now time.Time, s signals, otherHealthy bool) {
	switch {
	case !s.anyProbe && !s.anyRate && h.state != HealthUnhealthy:
		h.troubled = time.Time{}
	case h.troubled.IsZero():
		h.troubled = now
	}
	down := s.probesDown || s.rateDown || s.anyRate && s.anyProbe
	suspect := s.probeFailed || s.rateSuspect
	held := now.Sub(h.since)
	switch h.state {
	case HealthUnknown, HealthHealthy:
		switch {
		case down, suspect: // always by way of Suspect, for a tick at least
			h.enter(HealthSuspect, now)
		case h.state == HealthUnknown && s.good():
			h.enter(HealthHealthy, now)
		}
	case HealthSuspect:
		switch {
		case down, s.rateLong && otherHealthy:
			h.eject(now, !s.anyProbe)
		case s.good():
			h.enter(HealthHealthy, now)
		}
	case HealthUnhealthy:
		if s.probed && s.probesGood > 0 && !s.anyRate && held >= h.hold() {
			h.enter(HealthRecovering, now)
		}
	case HealthRecovering:
		switch {
		case s.probesGood == 0 || s.anyRate:
			h.eject(now, s.probesGood > 0)
		case s.probesGood >= probesToHeal && held >= h.pace.heal:
			h.enter(HealthHealthy, now)
			h.share = ramp[0]
		}
	}
	h.stepShare(now)
}

// ramp is the share of reads, in percent, that a healed Region gets, step by step.
var ramp = [...]int{5, 25, 50, 100}

// stepShare raises the share while the Region stays healthy; the first regression takes it back to the start.
func (h *regionHealth) stepShare(now time.Time) {
	switch h.state {
	case HealthHealthy:
		if steps := int(now.Sub(h.since) / h.pace.step); h.share < 100 {
			h.share = ramp[min(steps, len(ramp)-1)]
		}
	case HealthSuspect:
		if h.share < 100 {
			h.share = ramp[0]
		}
	case HealthUnhealthy, HealthRecovering:
		h.share = 0
	}
}

func (h *regionHealth) enter(state Health, now time.Time) {
	h.state, h.since = state, now
	if state == HealthHealthy {
		h.gray = false
	}
}

func (h *regionHealth) eject(now time.Time, gray bool) {
	if now.Sub(h.ejected) > ejectionsForget*h.pace.hold {
		h.ejections = 0
	}
	h.ejections++
	h.ejected, h.gray = now, gray
	h.enter(HealthUnhealthy, now)
}

func (h *regionHealth) hold() time.Duration {
	return h.pace.hold * time.Duration(min(h.ejections, ejectionsCount))
}
