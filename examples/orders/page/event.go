package page

import (
	"sync"
	"time"
)

// Kind says what an [Event] is about.
type Kind string

// The kinds.
const (
	KindDecision Kind = "decision" // the writer, its epoch, a move
	KindHealth   Kind = "health"   // of a Region
	KindLevel    Kind = "level"    // of a feature, or a dependency's state
	KindBreaker  Kind = "breaker"
	KindAction   Kind = "action" // a button was pressed
	KindNote     Kind = "note"   // all else
)

// Tone says whether something is good. It is shown by words and shapes too, never by colour alone.
type Tone string

// The tones.
const (
	ToneInfo Tone = "info"
	ToneGood Tone = "good"
	ToneWarn Tone = "warn"
	ToneBad  Tone = "bad"
)

// An Event is one line of the timeline.
type Event struct {
	At     time.Time `json:"at"` // zero means when it is added
	Kind   Kind      `json:"kind"`
	Tone   Tone      `json:"tone"` // empty means ToneInfo
	Region string    `json:"region,omitempty"`
	Text   string    `json:"text"`             // what happened, without a full stop
	Detail string    `json:"detail,omitempty"` // why
}

// defaultEvents is how many events a [Log] keeps.
const defaultEvents = 200

// maxText bounds an event's texts, in runes.
const maxText = 300

// A Log keeps the newest events: the timeline. Make it before what reports to it; one page shows it. All methods are
// safe for concurrent use and wait for nobody.
type Log struct {
	more chan struct{} // of capacity 1: there may be something to take

	mu     sync.Mutex // guards the rest
	events []Event    // the newest last, at most keep
	keep   int
	added  uint64 // events ever; the newest of events is number added
}

// NewLog returns a log that keeps so many events; 0 means 200.
func NewLog(keep int) *Log {
	if keep <= 0 {
		keep = defaultEvents
	}
	return &Log{more: make(chan struct{}, 1), keep: keep}
}

// Add adds e. Texts are cut at 300 characters.
func (l *Log) Add(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if e.Tone == "" {
		e.Tone = ToneInfo
	}
	if e.Kind == "" {
		e.Kind = KindNote
	}
	e.At, e.Text, e.Detail = e.At.UTC(), clip(e.Text), clip(e.Detail)
	l.mu.Lock()
	l.events = append(l.events, e)
	if extra := len(l.events) - l.keep; extra > 0 {
		l.events = append(l.events[:0], l.events[extra:]...)
	}
	l.added++
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default: // somebody will look anyway
	}
}

// after returns the events that are newer than number seen, how many of those were left out for want of room, and the
// number of the newest.
func (l *Log) after(seen uint64) (events []Event, lost, newest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := l.added - seen
	if kept := uint64(len(l.events)); fresh > kept {
		lost, fresh = fresh-kept, kept
	}
	return append(events, l.events[uint64(len(l.events))-fresh:]...), lost, l.added
}

// clip cuts s at maxText runes.
func clip(s string) string {
	runes := 0
	for i := range s {
		if runes++; runes > maxText {
			return s[:i] + "…"
		}
	}
	return s
}
