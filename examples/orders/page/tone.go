package page

import (
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
)

func healthTone(h failover.Health) Tone {
	switch h {
	case failover.HealthHealthy:
		return ToneGood
	case failover.HealthSuspect, failover.HealthRecovering:
		return ToneWarn
	case failover.HealthUnhealthy:
		return ToneBad
	}
	return ToneInfo
}

// phaseTone is bad while nobody may write.
func phaseTone(p failover.Phase) Tone {
	switch p {
	case failover.PhaseSteady:
		return ToneGood
	case failover.PhaseFenced, failover.PhasePromoting:
		return ToneBad
	}
	return ToneWarn
}

func levelTone(l degrade.Level) Tone {
	switch l {
	case degrade.Normal:
		return ToneGood
	case degrade.Limited, degrade.ReadOnly:
		return ToneWarn
	}
	return ToneBad
}

func dependencyTone(s degrade.State) Tone {
	switch s {
	case degrade.StateOK:
		return ToneGood
	case degrade.StateImpaired:
		return ToneWarn
	case degrade.StateDown:
		return ToneBad
	}
	return ToneInfo
}

func breakerTone(s breaker.State) Tone {
	switch s {
	case breaker.StateClosed:
		return ToneGood
	case breaker.StateOpen:
		return ToneBad
	}
	return ToneWarn
}
