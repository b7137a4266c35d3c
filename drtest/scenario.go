package drtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A Scenario is a timeline of faults: a value that can be written in Go or JSON and turned into the other.
type Scenario struct {
	Name   string
	Events []Event
}

// An Event is a fault in a timeline. Make it with [At] or [When].
type Event struct {
	Start   time.Duration // since Play; for an event with Cond, since the condition came true
	Cond    *Cond         // nil: Start alone says when
	Fault   fault.Fault
	Length  time.Duration // 0: until the World ends
	RampUp  time.Duration // how long the fault takes to reach its strength
	FlapOn  time.Duration // with FlapOff: the fault comes and goes while it lasts
	FlapOff time.Duration
}

// same reports whether two events are alike.
func (e Event) same(other Event) bool {
	if e.Cond != nil && other.Cond != nil && *e.Cond == *other.Cond {
		e.Cond = other.Cond
	}
	return e == other
}

// Timeline returns a Scenario.
func Timeline(name string, events ...Event) Scenario { return Scenario{name, events} }

// At returns an event that starts d after the scenario does.
func At(d time.Duration, f fault.Fault) Event { return Event{Start: d, Fault: f} }

// When returns an event that starts when a condition comes true for the first time.
func When(c Cond, f fault.Fault) Event { return Event{Cond: &c, Start: c.After, Fault: f} }

// For returns the event with a length. Without, the fault stays until the World ends.
func (e Event) For(d time.Duration) Event {
	e.Length = d
	return e
}

// Ramp returns the event with a fault whose strength grows evenly over d. Only faults with a degree can grow.
func (e Event) Ramp(d time.Duration) Event {
	e.RampUp = d
	return e
}

// Flap returns the event with a fault that is there for on, gone for off, and so on while it lasts.
func (e Event) Flap(on, off time.Duration) Event {
	e.FlapOn, e.FlapOff = on, off
	return e
}

// A Cond is something that comes true in a World. Make it with [OnMark] or [OnFailures].
type Cond struct {
	Mark  string        `json:"mark,omitempty"`  // a mark of this kind, see package history
	Name  string        `json:"name,omitempty"`  // of this name; "" = any
	Fails int           `json:"fails,omitempty"` // so many operations of loads did not succeed
	After time.Duration `json:"-"`
}

// OnMark is true when a mark of a kind is made, as "promoted" or "detected", for a name or, if it is "", for
// any.
func OnMark(kind, name string) Cond { return Cond{Mark: kind, Name: name} }

// OnFailures is true when n operations have failed or ended unknown.
func OnFailures(n int) Cond { return Cond{Fails: n} }

// Then returns the condition delayed by d.
func (c Cond) Then(d time.Duration) Cond {
	c.After = d
	return c
}

// A ScenarioError says which part of a scenario is wrong.
type ScenarioError struct {
	Scenario string
	Event    int    // index; -1 = the scenario as a whole
	Field    string // as in JSON
	Reason   string
}

// Error names the scenario, the event, the field and the reason.
func (e *ScenarioError) Error() string {
	where := ""
	if e.Event >= 0 {
		where = fmt.Sprintf("events[%d]", e.Event)
	}
	if e.Field != "" {
		where = strings.TrimPrefix(where+"."+e.Field, ".")
	}
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("drtest: Scenario %q: %s%s", e.Scenario, where, e.Reason)
}

// Validate returns a [*ScenarioError] for the first thing that is wrong with the scenario on its own; whether
// its targets exist is known to a World alone.
func (s Scenario) Validate() error {
	for i, e := range s.Events {
		if field, reason := e.problem(); reason != "" {
			return &ScenarioError{s.Name, i, field, reason}
		}
		for j, before := range s.Events[:i] {
			if e.overlaps(before, 0, 0) {
				return &ScenarioError{s.Name, i, "at", fmt.Sprintf("overlaps events[%d] on the same target: %s", j, e.Fault.Target())}
			}
		}
	}
	return nil
}

// problem returns the first field that is impossible.
func (e Event) problem() (field, reason string) {
	if err := e.Fault.Validate(); err != nil {
		if fe, ok := errors.AsType[*fault.FieldError](err); ok {
			return "fault." + fe.Field, fe.Reason
		}
		return "fault", err.Error()
	}
	flaps := e.FlapOn != 0 || e.FlapOff != 0
	switch {
	case e.Start < 0:
		return "at", fmt.Sprintf("%v is negative", e.Start)
	case e.Cond != nil && (e.Cond.Mark == "") == (e.Cond.Fails == 0):
		return "when", "want a mark or a number of failures"
	case e.Cond != nil && e.Cond.Fails < 0:
		return "when.fails", fmt.Sprintf("%d is negative", e.Cond.Fails)
	case e.Length < 0:
		return "for", fmt.Sprintf("%v is negative", e.Length)
	case e.RampUp < 0:
		return "ramp", fmt.Sprintf("%v is negative", e.RampUp)
	case e.RampUp > 0 && !e.Fault.Degree():
		return "ramp", fmt.Sprintf("a %s fault has no degree that could grow", e.Fault.Kind)
	case e.RampUp > e.Length && e.Length > 0:
		return "ramp", fmt.Sprintf("%v is longer than the fault, %v", e.RampUp, e.Length)
	case flaps && (e.FlapOn <= 0 || e.FlapOff <= 0):
		return "flap", "on and off must both be positive"
	case flaps && e.Length == 0:
		return "flap", "needs a length"
	case flaps && e.RampUp > 0:
		return "flap", "cannot be ramped"
	}
	return "", ""
}

// overlaps reports whether two timed events act on one target at one time. The offsets are when their
// scenarios were started.
func (e Event) overlaps(other Event, offset, otherOffset time.Duration) bool {
	if e.Cond != nil || other.Cond != nil || e.Fault.Target() != other.Fault.Target() {
		return false
	}
	from, to := e.span(offset)
	otherFrom, otherTo := other.span(otherOffset)
	return from < otherTo && otherFrom < to
}

// forever is longer than any World.
const forever = 1 << 62

func (e Event) span(offset time.Duration) (from, to time.Duration) {
	from = offset + e.Start
	if e.Length == 0 && e.Fault.Kind != fault.KindCrash {
		return from, forever
	}
	return from, offset + max(e.end(), e.Start+1)
}

// end returns when the event is over, or its start if it lasts to the end.
func (e Event) end() time.Duration {
	end := e.Start + max(e.Length, e.RampUp)
	if e.Length > 0 {
		end += e.Fault.Recovery
	}
	return end
}

// scenarioVersion is the version of the JSON form.
const scenarioVersion = 1

type wireScenario struct {
	Version int         `json:"version"`
	Name    string      `json:"name"`
	Events  []wireEvent `json:"events"`
}

type wireEvent struct {
	At    fault.Duration `json:"at"`
	When  *Cond          `json:"when,omitempty"`
	Fault fault.Fault    `json:"fault"`
	For   fault.Duration `json:"for,omitzero"`
	Ramp  fault.Duration `json:"ramp,omitzero"`
	Flap  *wireFlap      `json:"flap,omitempty"`
}

type wireFlap struct {
	On  fault.Duration `json:"on"`
	Off fault.Duration `json:"off"`
}

// MarshalJSON returns the scenario with durations as text, like "1h0m0s".
func (s Scenario) MarshalJSON() ([]byte, error) {
	w := wireScenario{Version: scenarioVersion, Name: s.Name, Events: []wireEvent{}}
	for _, e := range s.Events {
		we := wireEvent{
			At: fault.Duration(e.Start), When: e.Cond, Fault: e.Fault, For: fault.Duration(e.Length), Ramp: fault.Duration(e.RampUp),
		}
		if e.FlapOn != 0 || e.FlapOff != 0 {
			we.Flap = &wireFlap{fault.Duration(e.FlapOn), fault.Duration(e.FlapOff)}
		}
		w.Events = append(w.Events, we)
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads and validates a scenario. Its errors are [*ScenarioError] values with the index of the
// event; fields nobody knows and later versions are refused.
func (s *Scenario) UnmarshalJSON(data []byte) error {
	var w struct {
		Version int               `json:"version"`
		Name    string            `json:"name"`
		Events  []json.RawMessage `json:"events"`
	}
	// The version first: a later one may have fields that are unknown here.
	if err := json.Unmarshal(data, &w); err == nil && w.Version > scenarioVersion {
		return &ScenarioError{w.Name, -1, "version", fmt.Sprintf("%d is newer than this drtest, which knows %d", w.Version, scenarioVersion)}
	}
	w.Events = nil
	if err := fault.Strict(data, &w); err != nil {
		return &ScenarioError{w.Name, -1, "", err.Error()}
	}
	if w.Version != scenarioVersion {
		return &ScenarioError{w.Name, -1, "version", fmt.Sprintf("%d is not known, want %d", w.Version, scenarioVersion)}
	}
	out := Scenario{Name: w.Name}
	for i, raw := range w.Events {
		var we wireEvent
		if err := fault.Strict(raw, &we); err != nil {
			return &ScenarioError{w.Name, i, "", strings.TrimPrefix(err.Error(), "json: ")}
		}
		out.Events = append(out.Events, we.event())
	}
	if err := out.Validate(); err != nil {
		return err
	}
	*s = out
	return nil
}

func (w wireEvent) event() Event {
	e := Event{Start: time.Duration(w.At), Cond: w.When, Fault: w.Fault, Length: time.Duration(w.For), RampUp: time.Duration(w.Ramp)}
	if e.Cond != nil {
		e.Cond.After = e.Start
	}
	if w.Flap != nil {
		e.FlapOn, e.FlapOff = time.Duration(w.Flap.On), time.Duration(w.Flap.Off)
	}
	return e
}

// Go returns the scenario as a Go expression.
func (s Scenario) Go() string {
	var b strings.Builder
	fmt.Fprintf(&b, "drtest.Timeline(%q,\n", s.Name)
	for _, e := range s.Events {
		fmt.Fprintf(&b, "\t%s,\n", e.code())
	}
	b.WriteString(")")
	return b.String()
}

func (e Event) code() string {
	s := fmt.Sprintf("drtest.At(%s, %s)", fault.Duration(e.Start), e.Fault.Go())
	if e.Cond != nil {
		s = fmt.Sprintf("drtest.When(%s, %s)", e.Cond.code(), e.Fault.Go())
	}
	if e.Length != 0 {
		s += fmt.Sprintf(".For(%s)", fault.Duration(e.Length))
	}
	if e.RampUp != 0 {
		s += fmt.Sprintf(".Ramp(%s)", fault.Duration(e.RampUp))
	}
	if e.FlapOn != 0 || e.FlapOff != 0 {
		s += fmt.Sprintf(".Flap(%s, %s)", fault.Duration(e.FlapOn), fault.Duration(e.FlapOff))
	}
	return s
}

func (c Cond) code() string {
	s := fmt.Sprintf("drtest.OnMark(%q, %q)", c.Mark, c.Name)
	if c.Mark == "" {
		s = fmt.Sprintf("drtest.OnFailures(%d)", c.Fails)
	}
	if c.After != 0 {
		s += fmt.Sprintf(".Then(%s)", fault.Duration(c.After))
	}
	return s
}
