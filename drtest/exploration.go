package drtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// An Exploration is what a call of [Explore] came to.
type Exploration struct {
	Name       string
	Bug        string             // planted on purpose
	Seeds      int                // tried in the search
	Replayed   []string           // regression files that were replayed
	Fired      map[fault.Kind]int // faults that came, in the search
	Operations float64            // of loads, by weight, in the search
	Virtual    time.Duration      // length of the Worlds of the search together
	CPU        time.Duration      // processor time of the process, shrinking included
	Real       time.Duration
	Stopped    string   // why not all seeds were tried; "" if they were, or if one failed
	Finding    *Finding // nil: nothing was found
}

// A Finding is a timeline in which something went wrong.
type Finding struct {
	Seed       uint64
	Violations []Violation   // in the shrunk timeline
	Scenario   Scenario      // shrunk
	Heal       time.Duration // end of the safety phase in it
	Clients    int           // most clients of a load; 0 = as loads say
	Original   int           // events before shrinking
	Worlds     int           // run while shrinking
	File       string        // the regression; "" if it could not be written
	Diverged   string        // the first event that differed when the timeline was played again; "" if none did

	command string
	report  string
}

// String returns the figures as a table.
func (x *Exploration) String() string {
	var b strings.Builder
	what := x.Name
	if x.Bug != "" {
		what += ", planted bug " + x.Bug
	}
	fmt.Fprintf(&b, "%s: %d seeds, %.0f operations, %v of virtual time, %v of processor time", what, x.Seeds, x.Operations,
		x.Virtual.Round(time.Second), x.CPU.Round(10*time.Millisecond))
	if x.Stopped != "" {
		fmt.Fprintf(&b, "; stopped: %s", x.Stopped)
	}
	b.WriteString("\nfaults:")
	for i, k := range slices.Sorted(keysOf(x.Fired)) {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %s %d", k, x.Fired[k])
	}
	fmt.Fprintf(&b, "\nregressions replayed: %d\n", len(x.Replayed))
	if x.Finding == nil {
		b.WriteString("violations: none\n")
		return b.String()
	}
	fmt.Fprintf(&b, "violation: seed %d, %s\n", x.Finding.Seed, x.Finding.checks())
	return b.String()
}

func keysOf[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (f *Finding) checks() string {
	var names []string
	for _, v := range f.Violations {
		if !slices.Contains(names, v.Check) {
			names = append(names, v.Check)
		}
	}
	return strings.Join(names, ", ")
}

// String returns what went wrong, the timeline as Go and as JSON, and how to replay it.
func (f *Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "drtest: seed %d violates %s\n", f.Seed, f.checks())
	for _, v := range f.Violations {
		fmt.Fprintf(&b, "%s\n", v.Text)
	}
	fmt.Fprintf(&b, "%d events", len(f.Scenario.Events))
	if f.Worlds > 0 {
		fmt.Fprintf(&b, " of %d are needed (%d Worlds to shrink)", f.Original, f.Worlds)
	}
	fmt.Fprintf(&b, "; the core is healed at %v", f.Heal)
	if f.Clients > 0 {
		fmt.Fprintf(&b, "; at most %d clients in a load", f.Clients)
	}
	fmt.Fprintf(&b, "\n%s\n", f.Scenario.Go())
	if data, err := json.Marshal(f.Scenario); err == nil { // it was played, so it is valid
		fmt.Fprintf(&b, "%s\n", data)
	}
	if f.File != "" {
		fmt.Fprintf(&b, "kept in %s\n", f.File)
	}
	if f.Diverged != "" {
		fmt.Fprintf(&b, "PLAYED AGAIN, THE TIMELINE DIVERGED: %s\n", f.Diverged)
	}
	fmt.Fprintf(&b, "replay: %s\n%s", f.command, f.report)
	return b.String()
}
