package page

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/holdfast-go/holdfast/failover"
)

func decisionOf(s State) decisionView {
	d := s.Decision
	v := decisionView{
		Writer: d.Writer, Epoch: shortEpoch(d.Epoch), EpochHex: d.Epoch, Phase: chip{phaseNames[d.Phase], phaseTone(d.Phase)},
		Says: phaseSays[d.Phase], Why: cmp.Or(d.Conflict, suspicion(d)), Since: d.Since.UTC(), Guard: d.Refused,
		Move: moveOf(d.Transition, waiting(s) != nil), Last: moveOf(d.Last, false), RPO: s.RPO.Milliseconds(), Steps: steps(d.Transition),
	}
	if d.DecisionID == "" {
		v.Phase, v.Says = chip{"No decision", ToneInfo}, "Nothing is known of the group's decision yet."
	}
	if d.Exposure.Known {
		ms := d.Exposure.Bound.Milliseconds()
		v.Exposure = &ms
	}
	return v
}

func suspicion(d failover.Status) string {
	if d.SelfSuspect {
		return "All Regions look bad from here: the fault is likely here, and routes are held."
	}
	return ""
}

var phaseNames = map[failover.Phase]string{
	failover.PhaseSteady: "Steady", failover.PhaseAwaitApproval: "Approval", failover.PhaseDraining: "Drain", failover.PhaseFenced: "Fence",
	failover.PhasePromoting: "Promote", failover.PhaseOpen: "Open", failover.PhaseRamping: "Ramp",
}

var phaseSays = map[failover.Phase]string{
	failover.PhaseSteady:        "The writer writes; nothing is under way.",
	failover.PhaseAwaitApproval: "The writer still writes. A move waits for a person.",
	failover.PhaseDraining:      "The writer still writes; its reads are being moved away.",
	failover.PhaseFenced:        "Nobody writes, until the old writer must have stopped.",
	failover.PhasePromoting:     "Nobody writes; the promotion runs.",
	failover.PhaseOpen:          "The new writer writes; the smoke test runs.",
	failover.PhaseRamping:       "The new writer writes; reads come back in steps.",
}

// steps are the phases in order, with those that t skips.
func steps(t *failover.Transition) []step {
	var all []step
	for p := failover.PhaseSteady; p <= failover.PhaseRamping; p++ {
		all = append(all, step{phaseNames[p], skips(t, p)})
	}
	return all
}

func skips(t *failover.Transition, p failover.Phase) bool {
	switch p {
	case failover.PhaseDraining, failover.PhaseRamping:
		return t == nil || !t.Planned
	case failover.PhaseAwaitApproval:
		return t != nil && t.Auto && t.Second == "" && !t.Cut.IsZero()
	}
	return false
}

func moveOf(t *failover.Transition, waiting bool) *moveView {
	if t == nil {
		return nil
	}
	v := &moveView{ID: t.ID, From: t.From, To: t.To, Kind: "by hand", Reason: t.Reason, By: t.By, Second: t.Second, Waiting: waiting, OldSide: t.OldSide}
	switch {
	case t.Planned:
		v.Kind = "planned"
	case t.Auto:
		v.Kind = "automatic"
	}
	if waiting {
		v.Expires = t.Expires.UTC()
	}
	for _, took := range t.Took {
		v.Took = append(v.Took, phaseTook{took.Phase, took.Took.Milliseconds()})
		v.Total += took.Took.Milliseconds()
	}
	return v
}

// shortEpoch is an epoch of 16 hexadecimal digits for people: its counter, after its incarnation if there was more than one.
func shortEpoch(hex string) string {
	epoch, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return hex
	}
	const counter = 1<<48 - 1
	if in := failover.Incarnation(epoch); in > 1 {
		return fmt.Sprintf("%d/%d", in, epoch&counter)
	}
	return strconv.FormatUint(epoch&counter, 10)
}
