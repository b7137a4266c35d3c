package degrade

import "fmt"

// A Problem is something [Controller.Lint] found.
type Problem struct {
	Error   bool   `json:"error"` // false = a warning
	Feature string `json:"feature,omitempty"`
	Text    string `json:"text"`
}

// String returns the problem in one line.
func (p Problem) String() string {
	kind := "warning"
	if p.Error {
		kind = "error"
	}
	if p.Feature == "" {
		return kind + ": " + p.Text
	}
	return fmt.Sprintf("%s: feature %q: %s", kind, p.Feature, p.Text)
}

// Lint looks for declarations that will disappoint in region. Errors: a need on a dependency that lives elsewhere only, with
// neither stub nor fallback; a level that a declared need can never bring about. Warnings: such a dependency where a stub
// or a fallback or the loss of optional work is what remains; a fallback that is never exercised; a dependency nobody needs; a
// feature without needs. Call it in a test, with every Region the service is deployed to, and at start.
func (c *Controller) Lint(region string) []Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	var problems []Problem
	needed := map[*Dependency]bool{}
	for _, f := range c.features {
		for _, n := range []Need{f, f.cfg.Fallback} {
			for d := range leaves(n) {
				needed[d] = true
			}
		}
		problems = append(problems, c.lintHomeLocked(f, region)...)
		problems = append(problems, c.lintLevelsLocked(f)...)
		if f.cfg.Fallback != nil && f.cfg.Exercise == 0 {
			problems = append(problems, Problem{Feature: f.name, Text: "its fallback is never exercised: whether it works is found out in an outage"})
		}
	}
	for _, d := range c.dependencies {
		if !needed[d] {
			problems = append(problems, Problem{Text: fmt.Sprintf("no feature needs dependency %q", d.name)})
		}
	}
	return problems
}

// lintHomeLocked finds what f loses in region because a dependency lives elsewhere.
func (c *Controller) lintHomeLocked(f *Feature, region string) []Problem {
	var problems []Problem
	of := leaves(f)
	for _, d := range c.dependencies {
		if !of[d] || !d.away(region) {
			continue
		}
		level := c.supposeLocked(stubsIn(region), func(other *Dependency) bool { return other == d })[f]
		p := Problem{Feature: f.name, Text: fmt.Sprintf("in %s dependency %q of %s can be lost", region, d.name, d.cfg.Home)}
		switch {
		case level == Normal:
			continue
		case d.cfg.Stubbed && !f.cfg.NoStub && level == Limited:
			p.Text += ": a stub answers for it"
		case level == Limited:
			p.Text += ": optional work is off"
		case level == Offline && f.cfg.Fallback != nil:
			p.Text += ": the fallback answers reads"
		default:
			p.Error = true
			p.Text += fmt.Sprintf(", with neither stub nor fallback: the feature would be %v", level)
		}
		problems = append(problems, p)
	}
	return problems
}

// nobody is stubbed.
func nobody(*Dependency) bool { return false }

// maxLeaves bounds the 2^n states that lintLevelsLocked looks at.
const maxLeaves = 12

// lintLevelsLocked finds declared needs without a level of their own: Writes that are never down without Reads, and Optional
// that is never down without one of the two.
func (c *Controller) lintLevelsLocked(f *Feature) []Problem {
	var of []*Dependency
	set := leaves(f)
	for _, d := range c.dependencies {
		if set[d] {
			of = append(of, d)
		}
	}
	if len(of) == 0 {
		return []Problem{{Feature: f.name, Text: "it has no needs: its level follows flags and overrides alone"}}
	}
	if len(of) > maxLeaves {
		return []Problem{{Feature: f.name, Text: fmt.Sprintf("it needs %d dependencies: its levels are checked up to %d only", len(of), maxLeaves)}}
	}
	reached := map[Level]bool{}
	for states := range 1 << len(of) {
		down := map[*Dependency]bool{}
		for i, d := range of {
			down[d] = states>>i&1 == 1
		}
		reached[c.supposeLocked(nobody, func(d *Dependency) bool { return down[d] })[f]] = true
	}
	var problems []Problem
	unreachable := func(l Level, need string) {
		if !reached[l] && l <= f.worst() && l >= f.cfg.AtLeast {
			problems = append(problems, Problem{true, f.name, fmt.Sprintf("level %v is declared by %s and can never be reached: whenever %s is down, so is something worse", l, need, need)})
		}
	}
	if f.cfg.Writes != nil {
		unreachable(ReadOnly, "Writes")
	}
	if f.cfg.Optional != nil {
		unreachable(Limited, "Optional")
	}
	return problems
}
