package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// Config says what a drill is.
type Config struct {
	// Name names the drill in the lease, the reports and the evidence. Required.
	Name string

	// Scenario is what is played. It needs an event, and every event a length or a Crash fault: a drill ends.
	Scenario drtest.Scenario

	// Allow lists the names of Regions, zones, hosts, stores and processes that faults may act on. A fault that names another
	// is refused, also as the second end of a link; fault.Others needs every Region. Required.
	Allow []string

	// Operators are the people who run the drill. Required. Approvals are those who agreed, and how.
	Operators, Approvals []string

	// RTO and RPO are the objectives. Zero means that there is none. Each adds its check.
	RTO, RPO time.Duration

	// Checks are further ones. Those of the World itself count as well.
	Checks []check.Check

	// Stop are the conditions that end the drill at once. They are asked every 100 ms.
	Stop []Condition

	// Longest is how long the drill may take. Required: beyond it the drill is interrupted.
	Longest time.Duration

	// Actions are what faults do outside this process.
	Actions []Action

	// Lease is the file that says which faults are active. Required. It must be on a local file system, and the same
	// for all drills that could meet.
	Lease string

	// Evidence is the folder for the bundle. It must not exist, or be empty. Required.
	Evidence string

	// Commit is the version of what is drilled; empty means that of this program. Versions are those of its parts.
	Commit   string
	Versions map[string]string

	// Logger receives a line when the drill starts and ends, when a fault begins and ends, and for what goes wrong. Nil is
	// silent.
	Logger *slog.Logger
}

// An Action is what a fault does outside this process, beside what the World's network does: to freeze a server, to
// pause a replica, to withdraw a route.
type Action struct {
	// Target is the fault it belongs to, as [fault.Fault.Target] names it, such as "region-down us-east-1".
	Target string

	// Name identifies it in the lease: a later version of the program must know it, to undo it. Unique for a target.
	Name string

	// Do runs before the fault acts. An error keeps the fault from acting; Undo is called all the same.
	Do func(ctx context.Context, f fault.Fault) error

	// Undo takes it back. It may be called when Do was never called or did half of it, more than once, and by another
	// process than Do.
	Undo func(ctx context.Context, f fault.Fault) error
}

// actionTimeout ends the context of Do and Undo.
const actionTimeout = time.Minute

// ErrNotAllowed is wrapped by the error about a fault on what Config.Allow does not list.
var ErrNotAllowed = errors.New("not an allowed target")

// validate returns every field that is impossible for a World.
func (c *Config) validate(w *drtest.World) error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("drill: Config.%s: "+format, append([]any{field}, args...)...))
	}
	for field, missing := range map[string]bool{
		"Name": c.Name == "", "Allow": len(c.Allow) == 0, "Operators": len(c.Operators) == 0, "Longest": c.Longest == 0, "Lease": c.Lease == "", "Evidence": c.Evidence == "",
		"Scenario": len(c.Scenario.Events) == 0,
	} {
		if missing {
			bad(field, "missing")
		}
	}
	if c.RTO < 0 || c.RPO < 0 || c.Longest < 0 {
		bad("RTO, RPO, Longest", "negative")
	}
	for _, s := range c.Stop {
		if s.Name == "" || s.Reached == nil {
			bad("Stop", "a condition without a name or a function")
		}
	}
	for i, a := range c.Actions {
		if a.Target == "" || a.Name == "" || a.Do == nil || a.Undo == nil {
			bad("Actions", "%q on %q: want a target, a name, Do and Undo", a.Name, a.Target)
		}
		if slices.ContainsFunc(c.Actions[:i], func(b Action) bool { return a.Name == b.Name && a.Target == b.Target }) {
			bad("Actions", "two named %q on %q", a.Name, a.Target)
		}
	}
	if !w.RealTime() {
		bad("Scenario", "the World is one of Run; a drill needs one of NewReal")
	} else if err := w.Fits(c.Scenario); err != nil {
		errs = append(errs, err)
	}
	for i, e := range c.Scenario.Events {
		if e.Length == 0 && e.Fault.Kind != fault.KindCrash {
			bad("Scenario", "events[%d]: %s: no length; a drill must end", i, e.Fault)
		}
		if err := c.permit(w, e.Fault); err != nil {
			bad("Allow", "events[%d]: %s: %w", i, e.Fault, err)
		}
	}
	if entries, err := os.ReadDir(c.Evidence); err == nil && len(entries) > 0 {
		bad("Evidence", "%s is not empty: every drill has a bundle of its own", c.Evidence)
	}
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// notTargets are the fields of a fault that do not say whom it hits. All others that are text do, also those that
// later versions add. A zone belongs to its Region, which is one.
var notTargets = []string{"kind", "op", "mode", "delay", "jitter", "retry_after", "failure", "recovery", "zone"}

// permit returns an error if a fault acts on what is not allowed.
func (c *Config) permit(w *drtest.World, f fault.Fault) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for field, value := range fields {
		name, isText := value.(string)
		if !isText || slices.Contains(notTargets, field) {
			continue
		}
		names := []string{name}
		if name == fault.Others {
			names = w.Regions()
		}
		for _, n := range names {
			if !slices.Contains(c.Allow, n) {
				return fmt.Errorf("%s %q: %w, allowed are %q", field, n, ErrNotAllowed, c.Allow)
			}
		}
	}
	return nil
}

// Plan is the dry run: it returns what [Run] would do, line by line, and touches nothing. What forbids the drill comes
// first.
func Plan(w *drtest.World, c Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "drill %q by %s, dry run: nothing is touched\n", c.Name, strings.Join(c.Operators, ", "))
	if err := c.validate(w); err != nil {
		fmt.Fprintf(&b, "REFUSED:\n  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	if left, err := peek(c.Lease); err != nil {
		fmt.Fprintf(&b, "REFUSED:\n  %v\n", err)
	} else if left != nil {
		fmt.Fprintf(&b, "lease of %s: %s; if that drill was killed, this is undone first\n", left.who(), strings.Join(left.active(), "; "))
	}
	for i, e := range c.Scenario.Events {
		fmt.Fprintf(&b, "%s\n", line(e))
		for _, a := range c.Actions {
			if a.Target == e.Fault.Target() {
				fmt.Fprintf(&b, "    with action %q\n", a.Name)
			}
		}
		if err := c.permit(w, e.Fault); err != nil {
			fmt.Fprintf(&b, "    NOT ALLOWED: events[%d]: %v\n", i, err)
		}
	}
	attached := w.Attached()
	for _, host := range slices.Sorted(maps.Keys(attached)) {
		fmt.Fprintf(&b, "real server: %s is %s\n", host, attached[host])
	}
	for _, s := range c.Stop {
		fmt.Fprintf(&b, "stop when: %s\n", s.Name)
	}
	fmt.Fprintf(&b, "at the latest after %v; objectives: RTO %v, RPO %v\n", c.Longest, c.RTO, c.RPO)
	fmt.Fprintf(&b, "lease %s, evidence %s, scenario sha256 %s\n", c.Lease, c.Evidence, hashOf(c.Scenario))
	return b.String()
}

// line says when an event happens.
func line(e drtest.Event) string {
	when := fmt.Sprintf("at %v", e.Start)
	if e.Cond != nil {
		when = "when " + strings.Join(strings.Fields(e.Cond.Mark+" "+e.Cond.Name), " ")
		if e.Cond.Fails > 0 {
			when = fmt.Sprintf("after %d failures", e.Cond.Fails)
		}
		when += fmt.Sprintf(" + %v", e.Start)
	}
	s := fmt.Sprintf("%s: %s", when, e.Fault)
	if e.Length > 0 {
		s += fmt.Sprintf(", for %v", e.Length)
	}
	if e.RampUp > 0 {
		s += fmt.Sprintf(", growing over %v", e.RampUp)
	}
	if e.FlapOn > 0 {
		s += fmt.Sprintf(", %v on and %v off", e.FlapOn, e.FlapOff)
	}
	return s
}
