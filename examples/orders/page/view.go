package page

import "time"

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
