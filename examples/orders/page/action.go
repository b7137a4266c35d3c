package page

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/holdfast-go/holdfast/failover"
)

// An Action is a button.
type Action struct {
	// ID is its address below actions/: lower-case letters, digits and dashes; unique, required.
	ID string

	// Label is what the button says, without its Region. Required.
	Label string

	// Group is the heading over the button. Buttons of a group stand together, in the order of Config.Actions.
	Group string

	// Region places the button in that Region's card. Empty places it below the decision.
	Region failover.Region

	// Help says in a sentence what the button does.
	Help string

	// Confirm is a question to answer before. Empty asks none.
	Confirm string

	// Fault is the [Fault.ID] that the button starts: while the State has that fault the button is pressed, and pressing it
	// again calls Undo. Empty makes a plain button.
	Fault string

	// Pending makes it a button about the move that waits for approval: it stands beside that, works only while there is
	// one, and Do finds the ID of the move that was on the screen in Move.
	Pending bool

	// Tone is how the button looks: ToneGood for the one to press, ToneBad for one that breaks something.
	Tone Tone

	// Unavailable says why the button cannot be used now; "" means that it can. It is asked about every new State, and
	// before Do about the newest. It must be quick. Nil means always available.
	Unavailable func(State) string

	// Do does it, for a person. It runs on the request's goroutine, once at a time for each Action, with
	// [Config.ActionTimeout] to end; a browser that goes away does not end it, the end of [Page.Run] does. Its error is
	// shown in full, and may say that it is not known whether it was done. Required.
	Do func(ctx context.Context, a Action, by string) error

	// Undo ends the Fault. Nil with a Fault: it is ended by another button.
	Undo func(ctx context.Context, a Action, by string) error

	// Move is set by the page for Do: the ID of the transition that the person saw waiting. Leave it empty.
	Move string
}

var actionID = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// checkActions names the first field that is wrong.
func checkActions(actions []Action) error {
	seen := map[string]bool{}
	for i, a := range actions {
		problem := ""
		switch {
		case !actionID.MatchString(a.ID):
			problem = fmt.Sprintf("ID: %q is not of lower-case letters, digits and dashes", a.ID)
		case seen[a.ID]:
			problem = fmt.Sprintf("ID: %q is there twice", a.ID)
		case a.Label == "":
			problem = "Label: empty"
		case a.Do == nil:
			problem = "Do: nil"
		case a.Undo != nil && a.Fault == "":
			problem = "Undo: there is no Fault to end"
		case a.Move != "":
			problem = "Move: it is set by the page"
		}
		if problem != "" {
			return fmt.Errorf("page: Config.Actions[%d].%s", i, problem)
		}
		seen[a.ID] = true
	}
	return nil
}

// title is a's full name.
func (a Action) title() string {
	if a.Region == "" {
		return a.Label
	}
	return join(", ", join(": ", a.Group, a.Label), a.Region)
}

// pressed reports whether a's fault is active in s.
func (a Action) pressed(s State) bool {
	return a.Fault != "" && slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.ID == a.Fault })
}

// refuse says why a cannot be used in s; "" if it can.
func (a Action) refuse(s State) string {
	switch pressed := a.pressed(s); {
	case pressed && a.Undo != nil:
		return "" // what is broken can always be healed
	case pressed:
		return "it is active already"
	case a.Pending && waiting(s) == nil:
		return "no move waits for approval"
	case a.Unavailable != nil:
		return a.Unavailable(s)
	}
	return ""
}

// waiting returns the move that waits for approval in s, nil if there is none.
func waiting(s State) *failover.Transition {
	if s.Decision.Phase != failover.PhaseAwaitApproval {
		return nil
	}
	return s.Decision.Transition
}

// errPanic wraps what an action or State panicked with.
var errPanic = errors.New("panic")

// guarded calls f and makes an error of its panic.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return f()
}
