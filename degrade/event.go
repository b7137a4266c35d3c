package degrade

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// EventKind says what an [Event] tells.
type EventKind string

const (
	EventLevel            EventKind = "level"             // a feature changed its level
	EventDependency       EventKind = "dependency"        // a dependency changed its state
	EventGateForced       EventKind = "gate forced"       // a recovery gate was overruled by its deadline
	EventFlags            EventKind = "flags"             // a new set of flags is in force
	EventFlagsRejected    EventKind = "flags rejected"    // a load failed or its set was refused; the last good one stays
	EventOverride         EventKind = "override"          // an override was set or extended, here or elsewhere
	EventOverrideCleared  EventKind = "override cleared"  // by a person
	EventOverrideExpiring EventKind = "override expiring" // a tenth of its time is left
	EventOverrideExpired  EventKind = "override expired"  // the level is automatic again
)

// An Event is one change of state.
type Event struct {
	Kind   EventKind `json:"kind"`
	At     time.Time `json:"at"`
	Name   string    `json:"name,omitempty"` // of the feature or dependency; "*" for all
	From   string    `json:"from,omitempty"`
	To     string    `json:"to,omitempty"`
	Cause  Cause     `json:"cause,omitempty"`
	Detail string    `json:"detail,omitempty"`
	ID     string    `json:"id,omitempty"` // of the override
	By     string    `json:"by,omitempty"`

	subject string // of the override, as the audit log names it
}

const (
	keepEvents = 50   // for the status page
	holdEvents = 1024 // for subscribers, while Run is busy or not running
)

// Subscribe calls fn for every event from now on, in order, on one goroutine of Run: while Run does not run events wait,
// the newest 1024 of them. fn must not block for long: later events wait for it, levels do not. It may call back into the
// Controller. A panic is logged. cancel ends the subscription; fn may be in a call when it returns.
func (c *Controller) Subscribe(fn func(Event)) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscribed++
	id := c.subscribed
	c.subscribers[id] = fn
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subscribers, id)
	}
}

func (c *Controller) eventLocked(e Event) {
	e.At = e.At.UTC()
	if c.recent = append(c.recent, e); len(c.recent) > keepEvents {
		c.recent = append([]Event(nil), c.recent[1:]...)
	}
	if len(c.outbox) == holdEvents {
		c.outbox = c.outbox[1:]
		c.dropped.Add(1)
	}
	c.outbox = append(c.outbox, e)
	if c.run != nil {
		nudge(c.run.tell)
	}
}

// tell delivers events until ctx is done and none is left.
func (c *Controller) tell(ctx context.Context, more <-chan struct{}) {
	for {
		c.tellAll()
		select {
		case <-more:
		case <-ctx.Done():
			c.tellAll()
			return
		}
	}
}

func (c *Controller) tellAll() {
	for {
		c.mu.Lock()
		events := c.outbox
		c.outbox = nil
		subscribers := make([]func(Event), 0, len(c.subscribers))
		for _, id := range slices.Sorted(maps.Keys(c.subscribers)) {
			subscribers = append(subscribers, c.subscribers[id])
		}
		c.mu.Unlock()
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			c.tellOne(e, subscribers)
		}
	}
}

func (c *Controller) tellOne(e Event, subscribers []func(Event)) {
	c.log.LogAttrs(context.Background(), e.severity(), "degrade: "+string(e.Kind), e.attributes(c.cfg.Name)...)
	if e.Kind == EventOverrideExpired {
		c.auditExpiry(e)
	}
	for _, fn := range subscribers {
		if err := guarded("subscriber", func() error { fn(e); return nil }); err != nil {
			c.log.Error("degrade: subscriber failed", slog.String("name", c.cfg.Name), slog.Any("error", err))
		}
	}
}

// severity is Warn for what somebody should look at.
func (e Event) severity() slog.Level {
	switch e.Kind {
	case EventFlagsRejected, EventGateForced, EventOverrideExpiring:
		return slog.LevelWarn
	case EventLevel:
		from, _ := ParseLevel(e.From)
		if to, _ := ParseLevel(e.To); to > from {
			return slog.LevelWarn
		}
	}
	return slog.LevelInfo
}

func (e Event) attributes(controller string) []slog.Attr {
	attributes := []slog.Attr{slog.String("name", controller), slog.String("subject", e.Name)}
	for _, a := range []slog.Attr{
		slog.String("from", e.From), slog.String("to", e.To), slog.String("cause", string(e.Cause)),
		slog.String("detail", e.Detail), slog.String("id", e.ID), slog.String("by", e.By),
	} {
		if a.Value.String() != "" {
			attributes = append(attributes, a)
		}
	}
	return attributes
}
