package page

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
)

// A view is what a browser is told: the parts of a snapshot that change seldom, and are sent when they did.
type view struct {
	Decision decisionView `json:"decision"`
	Regions  []regionView `json:"regions"`
	Ledger   []sumView    `json:"ledger"`
	Faults   []faultView  `json:"faults"`
	Actions  []actionView `json:"actions"`
}

// A chip is a status: words, and how good they are.
type chip struct {
	Text string `json:"text"`
	Tone Tone   `json:"tone"`
}

// A line is a named status with its reason.
type line struct {
	Name string `json:"name"`
	chip
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

type decisionView struct {
	Writer   string    `json:"writer"` // "" while nobody may write
	Epoch    string    `json:"epoch"`  // for people
	EpochHex string    `json:"epoch_hex"`
	Phase    chip      `json:"phase"`
	Says     string    `json:"says"` // a sentence on the phase
	Why      string    `json:"why,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Guard    string    `json:"guard,omitempty"` // why no move begins, in the guard's words
	Move     *moveView `json:"move,omitempty"`
	Last     *moveView `json:"last,omitempty"`
	Exposure *int64    `json:"exposure_ms"` // null: nobody knows
	RPO      int64     `json:"rpo_ms,omitempty"`
	Steps    []step    `json:"steps"`
}

// A step is a phase of a move. Only a planned one drains and ramps, and
// one by the group may need no approval.
type step struct {
	Name    string `json:"name"`
	Skipped bool   `json:"skipped,omitempty"`
}

type moveView struct {
	ID      string      `json:"id"`
	From    string      `json:"from"`
	To      string      `json:"to"`
	Kind    string      `json:"kind"` // planned, automatic, by hand
	Reason  string      `json:"reason"`
	By      string      `json:"by"`
	Second  string      `json:"second,omitempty"`
	Waiting bool        `json:"waiting,omitempty"` // for approval
	Expires time.Time   `json:"expires,omitzero"`
	OldSide string      `json:"old_side,omitempty"`
	Took    []phaseTook `json:"took,omitempty"`
	Total   int64       `json:"total_ms"`
}

type phaseTook struct {
	Phase string `json:"phase"`
	Ms    int64  `json:"ms"`
}

type regionView struct {
	Name         string    `json:"name"`
	Role         chip      `json:"role"`
	Health       chip      `json:"health"`
	Writes       chip      `json:"writes"` // whether its own controller lets it
	WritesWhy    string    `json:"writes_why,omitempty"`
	Features     []line    `json:"features"`
	Dependencies []line    `json:"dependencies"`
	Breakers     []line    `json:"breakers"`
	QueueNote    string    `json:"queue_note,omitempty"`
	SpoolNote    string    `json:"spool_note,omitempty"`
	SpoolOldest  time.Time `json:"spool_oldest,omitzero"`
}

type sumView struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
	Note  string `json:"note,omitempty"`
	Tone  Tone   `json:"tone"`
}

type faultView struct {
	ID     string    `json:"id"`
	Label  string    `json:"label"`
	Region string    `json:"region,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

type actionView struct {
	ID      string `json:"id"`
	Label   string `json:"label"`
	Group   string `json:"group,omitempty"`
	Region  string `json:"region,omitempty"`
	Help    string `json:"help,omitempty"`
	Confirm string `json:"confirm,omitempty"`
	Tone    Tone   `json:"tone,omitempty"`
	Toggle  bool   `json:"toggle,omitempty"`
	Undo    bool   `json:"undo,omitempty"` // pressing it now heals
	Pressed bool   `json:"pressed,omitempty"`
	Pending bool   `json:"pending,omitempty"`
	Why     string `json:"why,omitempty"` // it cannot be used now
}

// viewOf makes a view of s. It calls the actions' Unavailable.
func viewOf(s State, actions []Action) view {
	v := view{Decision: decisionOf(s), Regions: []regionView{}, Ledger: []sumView{}, Faults: []faultView{}, Actions: []actionView{}}
	for _, r := range s.Regions {
		v.Regions = append(v.Regions, regionOf(s, r))
	}
	for _, sum := range s.Ledger {
		tone := ToneInfo
		if sum.Bad {
			tone = ToneBad
		}
		v.Ledger = append(v.Ledger, sumView{sum.Name, sum.Count, sum.Note, tone})
	}
	for _, f := range s.Faults {
		v.Faults = append(v.Faults, faultView{f.ID, f.Label, f.Region, f.Since.UTC()})
	}
	for _, a := range actions {
		pressed := a.pressed(s)
		v.Actions = append(v.Actions, actionView{
			ID: a.ID, Label: a.Label, Group: a.Group, Region: a.Region, Help: a.Help, Confirm: a.Confirm, Tone: a.Tone,
			Toggle: a.Fault != "", Undo: pressed && a.Undo != nil, Pressed: pressed, Pending: a.Pending, Why: a.refuse(s),
		})
	}
	return v
}

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

// upper begins s with a capital: it is a word of its own on the page.
func upper(s string) string {
	if s == "" || s == "ok" {
		return strings.ToUpper(s)
	}
	return strings.ToUpper(s[:1]) + s[1:]
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

func regionOf(s State, r Region) regionView {
	writes, why := writesOf(r.Status)
	v := regionView{
		Name: r.Name, Role: roleOf(s, r), Health: healthOf(s.Decision, r.Name), Writes: writes, WritesWhy: why,
		Features: []line{}, Dependencies: []line{}, Breakers: []line{}, SpoolOldest: r.Spool.Oldest.UTC(),
	}
	for _, f := range r.Modes.Features {
		v.Features = append(v.Features, line{f.Name, chip{upper(f.Level.String()), levelTone(f.Level)}, join(": ", string(f.Cause), f.Detail), f.Since.UTC()})
	}
	for _, d := range r.Modes.Dependencies {
		v.Dependencies = append(v.Dependencies, dependencyOf(d))
	}
	for _, name := range sortedKeys(r.Breakers) {
		v.Breakers = append(v.Breakers, breakerOf(name, r.Breakers[name]))
	}
	if r.Spool.Full {
		v.SpoolNote = "full: new calls are refused"
	}
	if r.Queue != nil {
		v.QueueNote = fmt.Sprintf("%d waiting, %d in work, %d delayed", r.Queue.Visible, r.Queue.InFlight, r.Queue.Delayed)
		if len(r.Queue.Unverified) > 0 {
			v.QueueNote += "; no answer from " + strings.Join(r.Queue.Unverified, ", ")
		}
	}
	return v
}

func roleOf(s State, r Region) chip {
	t := s.Decision.Transition
	switch {
	case r.Role != "":
		return chip{r.Role, ToneInfo}
	case s.Decision.Writer == r.Name:
		return chip{"Writer", ToneGood}
	case t != nil && t.To == r.Name && s.Decision.Phase >= failover.PhaseFenced:
		return chip{"Taking over", ToneWarn}
	case t != nil && t.From == r.Name && s.Decision.Phase >= failover.PhaseFenced:
		return chip{"Fenced", ToneBad}
	}
	return chip{"Standby", ToneInfo}
}

func healthOf(d failover.Status, name string) chip {
	h := d.Health[name]
	text := upper(h.String())
	for _, gray := range d.Gray {
		if gray == name {
			text += ", gray"
		}
	}
	return chip{text, healthTone(h)}
}

// writesOf says whether a Region's own controller lets it write. A standby that may not is as it should be.
func writesOf(s failover.Status) (chip, string) {
	switch {
	case s.Name == "" && s.Self == "":
		return chip{"Unknown", ToneInfo}, ""
	case s.MayWrite:
		return chip{"Accepted", ToneGood}, ""
	case s.Writer == s.Self || s.Writer == "":
		return chip{"Stopped", ToneBad}, s.Why
	}
	return chip{"Sent to the writer", ToneInfo}, s.Why
}

func dependencyOf(d degrade.DependencyStatus) line {
	state := chip{upper(d.State.String()), dependencyTone(d.State)}
	if d.Stub {
		state = chip{"Stub", ToneInfo}
	}
	return line{d.Name, state, d.Detail, d.Since.UTC()}
}

func breakerOf(name string, s breaker.Stats) line {
	l := line{Name: name, chip: chip{upper(s.State.String()), breakerTone(s.State)}}
	switch {
	case s.Mode != breaker.ModeAuto:
		l.Why = "forced: " + s.Mode.String()
	case s.State == breaker.StateOpen && s.Wait > 0:
		l.Why = "asks again in " + s.Wait.Round(time.Second).String()
	}
	return l
}
