package check

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A FailedBackCheck demands that things are at home again. [FailedBack] makes it.
type FailedBackCheck struct {
	within time.Duration
	share  float64
}

// FailedBack demands that, within a time after the last fault ended and to the end, the Region is the writer that was
// the first. Where nobody was followed it is judged by who answers: the Region that answered most before the first fault
// answers 99 % again. If nothing ever moved, nothing has to come back.
func FailedBack(within time.Duration) FailedBackCheck { return FailedBackCheck{within, 0.99} }

// Share sets which part of the operations home must answer again, where that is what is judged.
func (c FailedBackCheck) Share(s float64) FailedBackCheck {
	c.share = s
	return c
}

// Name returns "FailedBack".
func (FailedBackCheck) Name() string { return "FailedBack" }

// Evaluate finds out where things were, and are.
func (c FailedBackCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("home again within %v", c.within)
	var first, healed time.Duration
	faults := h.Faults()
	for i, f := range faults {
		if !f.Ended {
			return inconclusive(c.Name(), want, fmt.Sprintf("%q at %v never ended", f.Text, f.From))
		}
		if i == 0 {
			first = f.From
		}
		healed = max(healed, f.To)
	}
	switch {
	case len(faults) == 0:
		return inconclusive(c.Name(), want, "no fault was injected")
	case healed+c.within > h.End():
		return inconclusive(c.Name(), want, fmt.Sprintf("the record ends at %v, less than %v after the last fault ended at %v", h.End(), c.within, healed))
	}
	if terms := h.Terms(); len(terms) > 0 {
		return c.byTerms(h, terms, healed, want)
	}
	return c.byAnswers(h, first, healed, want)
}

// byTerms judges who may write.
func (c FailedBackCheck) byTerms(h *history.History, terms []history.Term, healed time.Duration, want string) Verdict {
	home := regionOf(terms[0].Name)
	v := Verdict{Check: c.Name(), Want: want}
	for _, t := range terms {
		if regionOf(t.Name) != home && t.To > healed+c.within {
			v.Got = fmt.Sprintf("%s may still write at %v", t.Name, t.To)
			v.Why = append(v.Why, fmt.Sprintf("home is %s; the last fault ended at %v", home, healed))
			return v.judge(false)
		}
	}
	v.Why = append(v.Why, fmt.Sprintf("home is %s, the last fault ended at %v", home, healed))
	back, ok := writesSince(terms, home, h.End())
	if !ok {
		v.Got = fmt.Sprintf("%s may not write at the end", home)
		return v.judge(false)
	}
	v.Got = fmt.Sprintf("%s writes again after %v", home, max(back-healed, 0).Round(time.Millisecond))
	return v.judge(back <= healed+c.within)
}

// writesSince returns since when one process or another of a Region could write without a gap up to the end.
func writesSince(terms []history.Term, region string, end time.Duration) (since time.Duration, ok bool) {
	since = end
	for again := true; again; {
		again = false
		for _, t := range terms {
			if regionOf(t.Name) == region && t.To >= since && (t.From < since || !ok) {
				since, ok, again = t.From, true, true
			}
		}
	}
	return since, ok
}

// byAnswers judges who answers.
func (c FailedBackCheck) byAnswers(h *history.History, first, healed time.Duration, want string) Verdict {
	before, after := map[string]float64{}, map[string]float64{}
	var all float64
	for _, op := range h.Ops() {
		switch {
		case op.Region == "" || op.Outcome != history.OutcomeOK:
		case op.Start < first:
			before[op.Region] += op.Weight
		case op.Start >= healed+c.within:
			after[op.Region] += op.Weight
			all += op.Weight
		}
	}
	home := ""
	for region, n := range before {
		if n > before[home] || n == before[home] && region < home {
			home = region
		}
	}
	if home == "" || all == 0 {
		return inconclusive(c.Name(), want, "nobody was followed, and no Region answered before the first fault or after the last: call World.Follow")
	}
	v := Verdict{Check: c.Name(), Want: want, Got: fmt.Sprintf("%s answers %.4g %%", home, after[home]/all*100)}
	v.Why = append(v.Why, fmt.Sprintf("home is %s; from %v on, %v after the last fault ended", home, healed+c.within, c.within))
	return v.judge(after[home]/all >= c.share)
}
