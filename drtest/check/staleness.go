package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A StalenessCheck bounds how old what is read may be. [Staleness] makes it.
type StalenessCheck struct {
	max   time.Duration
	group string
}

// Staleness demands that nobody reads what was replaced longer than max ago: from stores of a World, and by the word of
// caches that declare ages with Op.Aged. Keys that were deleted are not judged.
func Staleness(max time.Duration) StalenessCheck { return StalenessCheck{max: max} }

// In restricts the check to the reads of one replication group; declared ages do not count then.
func (c StalenessCheck) In(group string) StalenessCheck {
	c.group = group
	return c
}

// Name returns "Staleness" and the group.
func (c StalenessCheck) Name() string { return filter{class: c.group}.name("Staleness") }

// A stale answer was given at an instant.
type stale struct {
	age, at time.Duration
	what    string
}

// Evaluate finds the oldest answer.
func (c StalenessCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %v", c.max)
	reads, all := h.Reads()
	if c.group != "" {
		all = h.Looked(c.group)
	}
	answers, declared := c.declared(h)
	if all == 0 && declared == 0 {
		return inconclusive(c.Name(), want, "nothing was read: use stores of the World, or Op.Aged")
	}
	answers = append(answers, c.replaced(h, reads)...)
	slices.SortStableFunc(answers, func(a, b stale) int { return int(b.age - a.age) })
	v := Verdict{Check: c.Name(), Want: want, Got: "0s"}
	over := 0
	if len(answers) > 0 {
		v.Got = answers[0].age.Round(time.Microsecond).String()
		over = len(slices.DeleteFunc(slices.Clone(answers), func(s stale) bool { return s.age <= c.max }))
	}
	v.Why = append(v.Why, fmt.Sprintf("%d of %d answers were older than that", over, all+declared))
	v.examples(over, func(i int) string {
		a := answers[i]
		return fmt.Sprintf("%s at %v was %v old%s", a.what, a.at, a.age.Round(time.Microsecond), during(h, a.at, a.at+1))
	})
	return v.judge(over == 0)
}

// declared returns the answers with an age, and how many there are.
func (c StalenessCheck) declared(h *history.History) (out []stale, n int) {
	if c.group != "" {
		return nil, 0
	}
	for _, op := range h.Ops() {
		if op.Age > 0 {
			n++
			out = append(out, stale{op.Age, op.End, fmt.Sprintf("what %s %d/%d was given", op.Class, op.Client, op.Seq)})
		}
	}
	return out, n
}

// replaced returns the reads of values that had been replaced.
func (c StalenessCheck) replaced(h *history.History, reads []history.Read) (out []stale) {
	type id struct{ group, key string }
	writes := map[id][]time.Duration{}
	for _, w := range h.Writes() {
		k := id{w.Group, w.Key}
		writes[k] = append(writes[k], w.At)
	}
	for _, r := range reads {
		if _, deleted := h.Deleted(r.Group, r.Key); deleted || c.group != "" && r.Group != c.group {
			continue
		}
		times := writes[id{r.Group, r.Key}]
		i, found := slices.BinarySearch(times, r.Seen)
		if found {
			i++
		}
		for i < len(times) && times[i] == r.Seen {
			i++
		}
		if i < len(times) && times[i] < r.At {
			out = append(out, stale{r.At - times[i], r.At, fmt.Sprintf("%q read from %s", r.Key, r.Store)})
		}
	}
	return out
}
