package runbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Event is what a journal entry records.
type Event string

// The events. Those of people carry no runner's token.
const (
	EventAcquired Event = "acquired" // a runner took the run over; its token is the entry's
	EventStarted  Event = "started"  // written before Do
	EventFailed   Event = "failed"   // Do is known to have had no effect, or the step gave up
	EventUnknown  Event = "unknown"  // Do's outcome is open: Verify decides
	EventDone     Event = "done"     // Verify or Check saw the effect
	EventUndoing  Event = "undoing"  // written before Undo
	EventUndone   Event = "undone"
	EventFinished Event = "finished" // the run: all steps are done
	EventStopped  Event = "stopped"  // the run: it returned an error

	EventApproved  Event = "approved"
	EventSkipped   Event = "skipped"
	EventPaused    Event = "paused"
	EventContinued Event = "continued"
	EventCancelled Event = "cancelled"
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
	Expires  time.Time `json:"expires,omitzero"` // of an approval
	Previous string    `json:"prev"`             // set by the journal
}

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
		sum := sha256.Sum256(last)
		e.Sequence, e.Previous = before.Sequence+1, hex.EncodeToString(sum[:])
	}
	e.At = e.At.UTC()
	return json.Marshal(e)
}

// history is what a run's entries come to.
type history struct {
	entries   []Entry
	token     uint64
	plan      string
	planned   bool
	by        string // who asked for the run
	paused    bool
	cancelled *Entry
	undone    bool
	last      map[string]Entry // newest runner's event of each step
	skipped   map[string]Entry
}

func read(entries []Entry) history {
	h := history{entries: entries, last: map[string]Entry{}, skipped: map[string]Entry{}}
	for _, e := range entries {
		switch e.Event {
		case EventAcquired:
			if h.token == 0 {
				h.plan, h.planned, h.by = e.Plan, e.Planned, e.By
			}
			h.token = max(h.token, e.Token)
		case EventPaused, EventContinued:
			h.paused = e.Event == EventPaused
		case EventCancelled:
			h.cancelled = &e
		case EventSkipped:
			h.skipped[e.Step] = e
		case EventUndoing:
			h.undone = true
			h.last[e.Step] = e
		case EventStarted, EventFailed, EventUnknown, EventDone, EventUndone:
			h.last[e.Step] = e
		}
	}
	return h
}

// approvers are the people whose approval of step holds at now: distinct, not the requester, of this plan.
func (h history) approvers(step string, now time.Time) (people []string) {
	for _, e := range h.entries {
		valid := e.Event == EventApproved && e.Step == step && e.Plan == h.plan && e.By != h.by && now.Before(e.Expires)
		if valid && !slices.Contains(people, e.By) {
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
