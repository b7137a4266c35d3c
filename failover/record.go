package failover

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// Phase is a state of the writer state machine. Every change of phase is one compare-and-swap.
type Phase uint8

const (
	PhaseSteady        Phase = iota // the writer writes; nothing is under way
	PhaseAwaitApproval              // the writer writes; a move waits for approval, denial or its expiry
	PhaseDraining                   // planned only: the writer writes, its reads are being moved away
	PhaseFenced                     // nobody writes; waiting until the old writer must have stopped
	PhasePromoting                  // nobody writes; the promotion runs
	PhaseOpen                       // the new writer writes; the smoke test runs
	PhaseRamping                    // planned only: reads come back in steps
)

var phases = [...]string{"steady", "await_approval", "draining", "fenced", "promoting", "open", "ramping"}

// String returns the phase's name in lower case, such as "await_approval".
func (p Phase) String() string {
	if int(p) < len(phases) {
		return phases[p]
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

// MarshalText writes the name.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the name.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phases[:], string(text))
	if i < 0 {
		return fmt.Errorf("failover: unknown phase %q", text)
	}
	*p = Phase(i)
	return nil
}

// A Record is the group's decision as the coordinator stores it, one per fleet. Its JSON form is the stored form.
type Record struct {
	Sequence   uint64      `json:"sequence"`    // grows by one with every store; what CompareAndSwap compares
	Epoch      uint64      `json:"epoch"`       // grows with every change of the writer, never falls
	DecisionID string      `json:"decision_id"` // the decision that began Epoch
	Phase      Phase       `json:"phase"`
	Writer     Region      `json:"writer,omitempty"`    // who may write at Epoch; "" in fenced and promoting
	Since      time.Time   `json:"since"`               // when Epoch began, UTC
	TookOver   uint64      `json:"took_over,omitempty"` // the epoch at which the newest writer's Region took over; zero since the first boot
	Transition *Transition `json:"transition,omitempty"`
	Moves      []Move      `json:"moves,omitempty"`    // recent moves of the writer, for cooldown and budget
	AskAgain   time.Time   `json:"ask_again,omitzero"` // no request by the group before: the last one was denied
	// Log is the newest audit entries, oldest first: one for every change of phase, in the shape and the chain that degrade's have too.
	Log   []json.RawMessage `json:"log,omitempty"`
	Audit audit.Head        `json:"audit"` // the end of the chain

	Stamps []string    `json:"stamps"`         // one random per store, the newest last: how a writer whose reply was lost knows its own
	Last   *Transition `json:"last,omitempty"` // the newest finished move, with what its phases took
}

// keptStamps is how many stores may follow one whose reply was lost until its writer asks.
const keptStamps = 16

// stamp marks r as a store of its own.
func (r *Record) stamp() {
	r.Stamps = append(r.Stamps, randomName())
	if extra := len(r.Stamps) - keptStamps; extra > 0 {
		r.Stamps = slices.Delete(r.Stamps, 0, extra)
	}
}

// oneOf returns the record among stored, by stamp, that r is or follows.
func (r Record) oneOf(stored map[string]Record) (Record, bool) {
	for _, stamp := range r.Stamps {
		if mine, ok := stored[stamp]; ok {
			return mine, true
		}
	}
	return Record{}, false
}

// opened is the epoch at which the newest writer opened: that of the data that copies should have.
func (r Record) opened() uint64 {
	if !r.Writable() && r.Transition != nil {
		return r.Transition.Epoch
	}
	return r.Epoch
}

// A Move is a past change of the writer.
type Move struct {
	At      time.Time `json:"at"`
	Auto    bool      `json:"auto,omitempty"`
	Planned bool      `json:"planned,omitempty"`
}

// problem says why r cannot be a decision; "" if it can.
func (r Record) problem() string {
	switch cut := r.Phase == PhaseFenced || r.Phase == PhasePromoting; {
	case r.Sequence == 0 || r.Epoch == 0 || r.DecisionID == "":
		return "sequence, epoch or decision is missing"
	case r.Phase != PhaseSteady && r.Transition == nil:
		return "phase " + r.Phase.String() + " without a transition"
	case cut != (r.Writer == ""):
		return fmt.Sprintf("phase %s with writer %q", r.Phase, r.Writer)
	}
	return ""
}

// Writable reports whether the Record's Writer may write in its phase.
func (r Record) Writable() bool { return r.Writer != "" }

// clone copies what append or a field write would share.
func (r Record) clone() Record {
	r.Moves, r.Log, r.Stamps = slices.Clone(r.Moves), slices.Clone(r.Log), slices.Clone(r.Stamps)
	r.Transition, r.Last = r.Transition.clone(), r.Last.clone()
	return r
}

// keptEntries is how many audit entries a Record carries: an instance that was away for fewer
// changes of phase still copies a chain without a gap to its sink.
const keptEntries = 64

// note appends e to the log, chained.
func (r *Record) note(e audit.Record) {
	e.Action, e.Subject = "failover."+r.Phase.String(), "writer"
	e.Epoch, e.Fence = r.Epoch, FormatEpoch(r.Epoch)
	line, head, err := audit.Seal(r.Audit, e)
	if err != nil {
		panic(fmt.Sprintf("failover: audit entry: %v", err)) // plain strings and numbers always marshal
	}
	r.Log, r.Audit = append(r.Log, line), head
	if extra := len(r.Log) - keptEntries; extra > 0 {
		r.Log = slices.Delete(r.Log, 0, extra)
	}
}

// VerifyAudit reads a copy of the audit log, JSON lines, and returns an error that names the first line that was edited, removed or
// inserted. A copy may start anywhere in the chain: what came before is not looked at.
func VerifyAudit(log io.Reader) error {
	lines := bufio.NewReader(log)
	first, err := lines.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) || len(first) == 0 {
		return err
	}
	var place struct {
		Sequence uint64 `json:"seq"`
		Previous string `json:"prev"`
	}
	if err := json.Unmarshal(first, &place); err != nil {
		return fmt.Errorf("failover: audit log: line 1 is not a record: %w", err)
	}
	_, err = audit.Verify(io.MultiReader(bytes.NewReader(first), lines), audit.Head{Sequence: place.Sequence - 1, Hash: place.Previous})
	return err
}
