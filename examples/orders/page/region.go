package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
)

func regionOf(s State, r Region) regionView {
	writes, why := writesOf(r.Status)
	v := regionView{
		Name: r.Name, Role: roleOf(s, r), Health: healthOf(s.Decision, r.Name), Writes: writes, WritesWhy: why,
		Features: []line{}, Dependencies: []line{}, Breakers: []line{}, SpoolOldest: r.Spool.Oldest.UTC(),
	}
	for _, f := range r.Modes.Features {
		v.Features = append(v.Features, line{f.Name, chip{upper(f.Level.String()), levelTone(f.Level)}, join(": ", string(f.Cause), f.Detail), f.Since.UTC()})
	}
	for _, d := range r.Modes.Dependencies {
		v.Dependencies = append(v.Dependencies, dependencyOf(d))
	}
	for _, name := range sortedKeys(r.Breakers) {
		v.Breakers = append(v.Breakers, breakerOf(name, r.Breakers[name]))
	}
	if r.Spool.Full {
		v.SpoolNote = "full: new calls are refused"
	}
	if r.Queue != nil {
		v.QueueNote = fmt.Sprintf("%d waiting, %d in work, %d delayed", r.Queue.Visible, r.Queue.InFlight, r.Queue.Delayed)
		if len(r.Queue.Unverified) > 0 {
			v.QueueNote += "; no answer from " + strings.Join(r.Queue.Unverified, ", ")
		}
	}
	return v
}

func roleOf(s State, r Region) chip {
	t := s.Decision.Transition
	switch {
	case r.Role != "":
		return chip{r.Role, ToneInfo}
	case s.Decision.Writer == r.Name:
		return chip{"Writer", ToneGood}
	case t != nil && t.To == r.Name && s.Decision.Phase >= failover.PhaseFenced:
		return chip{"Taking over", ToneWarn}
	case t != nil && t.From == r.Name && s.Decision.Phase >= failover.PhaseFenced:
		return chip{"Fenced", ToneBad}
	}
	return chip{"Standby", ToneInfo}
}

func healthOf(d failover.Status, name string) chip {
	h := d.Health[name]
	text := upper(h.String())
	for _, gray := range d.Gray {
		if gray == name {
			text += ", gray"
		}
	}
	return chip{text, healthTone(h)}
}

// writesOf says whether a Region's own controller lets it write. A standby that may not is as it should be.
func writesOf(s failover.Status) (chip, string) {
	switch {
	case s.Name == "" && s.Self == "":
		return chip{"Unknown", ToneInfo}, ""
	case s.MayWrite:
		return chip{"Accepted", ToneGood}, ""
	case s.Writer == s.Self || s.Writer == "":
		return chip{"Stopped", ToneBad}, s.Why
	}
	return chip{"Sent to the writer", ToneInfo}, s.Why
}

func dependencyOf(d degrade.DependencyStatus) line {
	state := chip{upper(d.State.String()), dependencyTone(d.State)}
	if d.Stub {
		state = chip{"Stub", ToneInfo}
	}
	return line{d.Name, state, d.Detail, d.Since.UTC()}
}

func breakerOf(name string, s breaker.Stats) line {
	l := line{Name: name, chip: chip{upper(s.State.String()), breakerTone(s.State)}}
	switch {
	case s.Mode != breaker.ModeAuto:
		l.Why = "forced: " + s.Mode.String()
	case s.State == breaker.StateOpen && s.Wait > 0:
		l.Why = "asks again in " + s.Wait.Round(time.Second).String()
	}
	return l
}

// upper begins s with a capital: it is a word of its own on the page.
func upper(s string) string {
	if s == "" || s == "ok" {
		return strings.ToUpper(s)
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
