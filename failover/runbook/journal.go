package runbook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// Event is what a journal entry records.
type Event string

// The events. Those of people carry no runner's token.
const (
	EventAcquired Event = "acquired" // a runner took the run over; its token is the entry's
	EventWaiting  Event = "waiting"  // the step's turn has come: it waits for approval, or for the world
	EventStarted  Event = "started"  // written before Do
	EventFailed   Event = "failed"   // Do is known to have had no effect, or the step gave up
	EventUnknown  Event = "unknown"  // Do's outcome is open: Verify decides
	EventDone     Event = "done"     // Verify or Check saw the effect
	EventUndoing  Event = "undoing"  // written before Undo; of the run, without a step: it is being undone
	EventUndone   Event = "undone"   // Undo returned; of the run: all of them did
	EventFinished Event = "finished" // the run: all steps are done
	EventStopped  Event = "stopped"  // the run: it returned an error

	EventApproved  Event = "approved"
	EventSkipped   Event = "skipped"
	EventPaused    Event = "paused"
	EventContinued Event = "continued"
	EventCancelled Event = "cancelled"
	EventUnplanned Event = "unplanned" // the run goes on as an unplanned one, under the entry's plan
)

// An Entry is one line of a run's journal. Its JSON form is the stored form. Lines form a chain: Previous is the SHA-256 of the
// line before.
type Entry struct {
	Sequence uint64    `json:"seq"` // counts from 1 without a gap; set by the journal
	Run      string    `json:"run"`
	Runbook  string    `json:"runbook"`
	Plan     string    `json:"plan"`            // hash of the plan
	Token    uint64    `json:"token,omitempty"` // the runner's; 0 for entries of people
	At       time.Time `json:"at"`              // UTC
	Event    Event     `json:"event"`
	Step     string    `json:"step,omitempty"`
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	Planned  bool      `json:"planned,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`  // of an approval
	Targets  *Targets  `json:"targets,omitempty"` // of an EventAcquired; the run's are the first's
	Previous string    `json:"prev"`              // set by the journal
}

// Targets is what a run is measured against, and what is known of the time before it; see [Config].
type Targets struct {
	Since    time.Time            `json:"since,omitzero"`
	RTO      time.Duration        `json:"rto,omitempty"`
	RPO      time.Duration        `json:"rpo,omitempty"`
	Exposure time.Duration        `json:"exposure,omitempty"`
	Before   []failover.PhaseTime `json:"before,omitempty"`
}

func (e Entry) mode() Mode { return Mode(e.Planned) }

// A Journal keeps the entries of runs. Append and Acquire return after the entry is as durable as the journal makes it; an error
// leaves open whether it was stored. Implementations are safe for concurrent use, also by several processes.
type Journal interface {
	// Acquire makes its caller the run's runner: it appends first, an EventAcquired, with a token above all earlier ones,
	// and returns the token.
	Acquire(ctx context.Context, first Entry) (token uint64, err error)

	// Append stores e with the next Sequence. It returns [ErrFenced] if e has a token and the run a higher one.
	Append(ctx context.Context, e Entry) error

	// Load returns the run's entries in order, none for an unknown run.
	Load(ctx context.Context, run string) ([]Entry, error)

	// Runs returns the first entry of every run, oldest first.
	Runs(ctx context.Context) ([]Entry, error)
}

// Chain gives e its place after the entry whose line is last (nil: the first) and returns its line. Journals use it.
func Chain(last []byte, e Entry) (line []byte, err error) {
	e.Sequence, e.Previous = 1, ""
	if last != nil {
		var before Entry
		if err := json.Unmarshal(last, &before); err != nil {
			return nil, fmt.Errorf("runbook: journal of run %q: last line: %w", e.Run, err)
		}
		e.Sequence, e.Previous = before.Sequence+1, hexSum(last)
	}
	e.At = e.At.UTC()
	return json.Marshal(e)
}

func hexSum(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// VerifyChain checks that entries, as loaded, form an unbroken chain: none was changed, dropped or inserted since it was stored. It cannot
// tell that the newest were cut off. The error names the entry.
func VerifyChain(entries []Entry) error {
	var last []byte
	for i, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("runbook: journal of run %q: entry %d: %w", e.Run, i+1, err)
		}
		want, err := Chain(last, e)
		if err != nil {
			return err
		}
		if !bytes.Equal(line, want) {
			return fmt.Errorf("%w: run %q: entry %d does not continue the one before it", ErrBrokenChain, e.Run, i+1)
		}
		last = line
	}
	return nil
}

// history is what a run's entries come to.
type history struct {
	entries   []Entry
	first     Entry
	token     uint64
	plan      string
	mode      Mode
	by        string // who asked for the run
	paused    bool
	cancelled *Entry
	undone    bool             // or being undone
	finished  bool             // its newest runner carried out all steps
	stopped   string           // why its newest runner stopped
	last      map[string]Entry // what became of each step
	done      map[string]bool  // a Do of the step was started, and its Undo has not returned since
	skipped   map[string]Entry
}

func read(entries []Entry) history {
	h := history{entries: entries, last: map[string]Entry{}, done: map[string]bool{}, skipped: map[string]Entry{}}
	for _, e := range entries {
		switch e.Event {
		case EventAcquired:
			if h.token == 0 {
				h.first, h.plan, h.mode, h.by = e, e.Plan, e.mode(), e.By
			}
			h.token = max(h.token, e.Token)
			h.finished, h.stopped = false, ""
		case EventPaused, EventContinued:
			h.paused = e.Event == EventPaused
		case EventCancelled:
			h.cancelled = &e
		case EventUnplanned:
			h.plan, h.mode = e.Plan, Unplanned
		case EventSkipped:
			h.skipped[e.Step] = e
		case EventFinished:
			h.finished = true
		case EventStopped:
			h.stopped = e.Reason
		case EventStarted, EventFailed, EventUnknown, EventDone, EventUndoing, EventUndone:
			h.became(e)
		}
	}
	return h
}

// became takes in what became of a step, or of the run when it is undone.
func (h *history) became(e Entry) {
	h.undone = h.undone || e.Event == EventUndoing
	if e.Step == "" {
		return
	}
	h.last[e.Step] = e
	switch e.Event {
	case EventStarted:
		h.done[e.Step] = true
	case EventUndone:
		delete(h.done, e.Step)
	}
}

// approvers are the people whose approval of step holds at now: distinct, not the requester, of this plan.
func (h history) approvers(step string, now time.Time) (people []string) {
	for _, e := range h.entries {
		valid := e.Event == EventApproved && e.Step == step && e.Plan == h.plan && !same(e.By, h.by) && !automatic(e.By) && now.Before(e.Expires)
		if valid && !slices.ContainsFunc(people, func(p string) bool { return same(p, e.By) }) {
			people = append(people, e.By)
		}
	}
	return people
}

// open reports whether a Do of the step may still take effect: it was started, and nothing later says what became of it.
func (h history) open(step string) bool {
	e, ok := h.last[step]
	return ok && (e.Event == EventStarted || e.Event == EventUnknown)
}
