package page

import (
	"fmt"
	"iter"
	"slices"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
)

// Watch adds what changes from one decision to the next, until decisions ends: for failover.Controller.Watch. It blocks.
func (l *Log) Watch(decisions iter.Seq[failover.Decision]) {
	var last failover.Decision
	for d := range decisions {
		l.healthChanged(last, d)
		l.decided(last, d)
		last = d
	}
}

func (l *Log) healthChanged(last, d failover.Decision) {
	for _, region := range sortedKeys(d.Health) {
		now, before := d.Health[region], last.Health[region]
		if first := before == failover.HealthUnknown && now == failover.HealthHealthy; now != before && !first {
			l.Add(Event{
				Kind: KindHealth, Tone: healthTone(now), Region: region,
				Text: fmt.Sprintf("%s is %s", region, now), Detail: "before: " + before.String(),
			})
		}
	}
}

// decided tells the change of writer, phase or epoch. Other changes of a decision are no news.
func (l *Log) decided(last, d failover.Decision) {
	if d.Conflict != "" && d.Conflict != last.Conflict {
		l.Add(Event{Kind: KindDecision, Tone: ToneBad, Text: "Writes are stopped", Detail: d.Conflict})
	}
	if d.Epoch == 0 || d.Epoch == last.Epoch && d.Phase == last.Phase {
		return
	}
	text, detail := phaseNews(last, d), "epoch "+shortEpoch(failover.FormatEpoch(d.Epoch))
	if t := d.Transition; t != nil && (last.Transition == nil || last.Transition.ID != t.ID) {
		detail = fmt.Sprintf("%s, asked by %s: %s", detail, t.By, t.Reason)
	}
	l.Add(Event{Kind: KindDecision, Tone: phaseTone(d.Phase), Text: text, Detail: detail})
}

// phaseNews says what entering d's phase means.
func phaseNews(last, d failover.Decision) string {
	to, from := "", ""
	if d.Transition != nil {
		to, from = d.Transition.To, d.Transition.From
	}
	switch d.Phase {
	case failover.PhaseSteady:
		if last.Phase == failover.PhaseAwaitApproval {
			return "The move was not approved; " + d.Writer + " writes"
		}
		return d.Writer + " writes"
	case failover.PhaseAwaitApproval:
		return "A move to " + to + " waits for approval"
	case failover.PhaseDraining:
		return "Reads move from " + from + " to " + to
	case failover.PhaseFenced:
		return "Writes are cut: " + from + " is fenced"
	case failover.PhasePromoting:
		return "Promoting " + to
	case failover.PhaseOpen:
		return d.Writer + " writes; the smoke test runs"
	case failover.PhaseRamping:
		return "Reads come back to " + d.Writer + " in steps"
	}
	return d.Phase.String()
}

// Levels returns a listener for degrade.Controller.Subscribe in a Region.
func (l *Log) Levels(region string) func(degrade.Event) {
	return func(e degrade.Event) {
		text := join(": ", e.Name, string(e.Kind))
		if e.Kind == degrade.EventLevel || e.Kind == degrade.EventDependency {
			text = fmt.Sprintf("%s: %s → %s", e.Name, e.From, e.To)
		}
		detail := join(": ", string(e.Cause), e.Detail)
		l.Add(Event{At: e.At, Kind: KindLevel, Tone: levelEventTone(e), Region: region, Text: text, Detail: join(", by ", detail, e.By)})
	}
}

func levelEventTone(e degrade.Event) Tone {
	if e.Kind == degrade.EventDependency {
		var s degrade.State
		if s.UnmarshalText([]byte(e.To)) == nil {
			return dependencyTone(s)
		}
	}
	if level, err := degrade.ParseLevel(e.To); err == nil && e.Kind == degrade.EventLevel {
		return levelTone(level)
	}
	return ToneInfo
}

// Breakers returns a listener for breaker.Config.OnStateChange in a Region.
func (l *Log) Breakers(region string) func(breaker.Transition) {
	return func(t breaker.Transition) {
		name := join("/", t.Name, t.Key)
		l.Add(Event{
			At: t.At, Kind: KindBreaker, Tone: breakerTone(t.To), Region: region,
			Text: fmt.Sprintf("Breaker %s: %s → %s", name, t.From, t.To), Detail: join(", by ", t.Reason, t.By),
		})
	}
}

// join puts sep between a and b where both are there.
func join(sep, a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
