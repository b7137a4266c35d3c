package degrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// WhatIf returns the level every feature would settle at in Config.Region if the named dependencies were down and all others
// OK, without flags and overrides: what an outage leaves working, before there is one. An unknown name is an error.
func (c *Controller) WhatIf(down ...string) (map[string]Level, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range down {
		if !slices.ContainsFunc(c.dependencies, func(d *Dependency) bool { return d.name == name }) {
			return nil, fmt.Errorf("degrade: WhatIf: there is no dependency %.70q", name)
		}
	}
	levels := map[string]Level{}
	for f, level := range c.supposeLocked(stubsIn(c.cfg.Region), func(d *Dependency) bool { return slices.Contains(down, d.name) }) {
		levels[f.name] = level
	}
	return levels, nil
}

// stubsIn tells for which dependencies a stub answers in region.
func stubsIn(region string) func(*Dependency) bool {
	return func(d *Dependency) bool { return d.cfg.Stubbed && d.away(region) }
}

// supposeLocked derives all levels with some dependencies stubbed and some down.
func (c *Controller) supposeLocked(stubbed, down func(*Dependency) bool) map[*Feature]Level {
	levels := map[*Feature]Level{}
	supposed := view{
		state: func(d *Dependency) State {
			if down(d) {
				return StateDown
			}
			return StateOK
		},
		stubbed: stubbed,
		level:   func(f *Feature) Level { return levels[f] },
	}
	for _, f := range c.features {
		level, _ := f.derive(supposed)
		levels[f] = f.clamp(level)
	}
	return levels
}

// Matrix returns, as a Markdown table, the level of every feature in region with everything up, with each dependency down
// alone, and with each Region lost that is the home of a dependency. It is meant for a runbook, and for a golden file
// in the tests of the service.
func (c *Controller) Matrix(region string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	b.WriteString("| what is gone |")
	for _, f := range c.features {
		b.WriteString(" " + f.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(c.features)) + "\n")
	row := func(title string, down func(*Dependency) bool) {
		levels := c.supposeLocked(stubsIn(region), down)
		b.WriteString("| " + title + " |")
		for _, f := range c.features {
			b.WriteString(" " + levels[f].String() + " |")
		}
		b.WriteString("\n")
	}
	row("nothing", func(*Dependency) bool { return false })
	homes := map[string]bool{}
	for _, d := range c.dependencies {
		row(d.name, func(other *Dependency) bool { return other == d })
		if d.cfg.Home != "" && d.cfg.Home != region {
			homes[d.cfg.Home] = true
		}
	}
	for _, home := range slices.Sorted(maps.Keys(homes)) {
		row("Region "+strings.ReplaceAll(home, "|", `\|`), func(d *Dependency) bool { return d.cfg.Home == home })
	}
	return b.String()
}
