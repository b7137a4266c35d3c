package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// An AppliedOnceCheck forbids effects that happen twice. [AppliedOnce] makes it.
type AppliedOnceCheck struct{ kinds []string }

// AppliedOnce demands that no effect was recorded twice with one key. Without kinds it looks at all.
func AppliedOnce(kinds ...string) AppliedOnceCheck { return AppliedOnceCheck{kinds} }

// Name returns "AppliedOnce" and the kinds.
func (c AppliedOnceCheck) Name() string {
	if len(c.kinds) == 0 {
		return "AppliedOnce"
	}
	return fmt.Sprintf("AppliedOnce(%s)", strings.Join(c.kinds, ", "))
}

// Evaluate finds the effects that happened again.
func (c AppliedOnceCheck) Evaluate(h *history.History) Verdict {
	type id struct{ kind, key string }
	first := map[id]history.Effect{}
	var again []history.Effect
	n := 0
	for _, e := range h.Effects() {
		if len(c.kinds) > 0 && !slices.Contains(c.kinds, e.Kind) {
			continue
		}
		n++
		k := id{e.Kind, e.Key}
		if _, ok := first[k]; ok {
			again = append(again, e)
		} else {
			first[k] = e
		}
	}
	if n == 0 {
		return inconclusive(c.Name(), "no effect twice", "no effect was recorded: call World.Applied where it becomes real")
	}
	v := Verdict{Check: c.Name(), Want: "no effect twice", Got: fmt.Sprintf("%d of %d effects were repetitions", len(again), n)}
	v.examples(len(again), func(i int) string {
		e := again[i]
		was := first[id{e.Kind, e.Key}]
		return fmt.Sprintf("%s of %q at %v and again at %v%s", e.Kind, e.Key, was.At, e.At, during(h, was.At, e.At+1))
	})
	return v.judge(len(again) == 0)
}

// A SingleWriterCheck forbids two writers at a time. [SingleWriter] makes it.
type SingleWriterCheck struct{ except []string }

// SingleWriter demands that no two Regions could write at one time, by what followed processes said, and that
// no store of a replication group committed anything after another of the group was promoted.
func SingleWriter() SingleWriterCheck { return SingleWriterCheck{} }

// Except returns the check without commits of some keys, such as a heartbeat that a former primary goes on to write.
func (c SingleWriterCheck) Except(keys ...string) SingleWriterCheck {
	return SingleWriterCheck{append(slices.Clone(c.except), keys...)}
}

// Name returns "SingleWriter".
func (SingleWriterCheck) Name() string { return "SingleWriter" }

// Evaluate looks for overlapping terms and for commits of deposed stores.
func (c SingleWriterCheck) Evaluate(h *history.History) Verdict {
	const want = "one writer at a time"
	terms, writes := h.Terms(), h.Writes()
	writes = slices.DeleteFunc(slices.Clone(writes), func(w history.Write) bool { return slices.Contains(c.except, w.Key) })
	if len(terms) == 0 && len(writes) == 0 {
		return inconclusive(c.Name(), want, "nobody was followed and no store was written: call World.Follow or use a Store")
	}
	overlaps := overlappingTerms(terms)
	stale := staleWrites(h, writes)
	v := Verdict{Check: c.Name(), Want: want}
	v.Got = fmt.Sprintf("%d overlaps of terms, %d writes in deposed stores", len(overlaps), len(stale))
	v.examples(len(overlaps), func(i int) string { return overlaps[i] })
	v.examples(len(stale), func(i int) string { return stale[i] })
	return v.judge(len(overlaps) == 0 && len(stale) == 0)
}

// overlappingTerms lists pairs of terms of different Regions that share an instant.
func overlappingTerms(terms []history.Term) []string {
	var out []string
	for i, a := range terms {
		for _, b := range terms[:i] {
			if regionOf(a.Name) != regionOf(b.Name) && a.From < b.To && b.From < a.To {
				out = append(out, fmt.Sprintf("%s under epoch %d and %s under epoch %d both may write from %v to %v",
					b.Name, b.Epoch, a.Name, a.Epoch, max(a.From, b.From), min(a.To, b.To)))
			}
		}
	}
	return out
}

func regionOf(name string) string {
	region, _, _ := strings.Cut(name, "/")
	return region
}

// staleWrites lists commits in a store after another of its group was promoted.
func staleWrites(h *history.History, writes []history.Write) []string {
	promoted := map[string][]history.Mark{} // group → promotions
	for _, m := range h.Marks() {
		if m.Kind == history.MarkPromoted {
			if g := h.GroupOf(m.Name); g != "" {
				promoted[g] = append(promoted[g], m)
			}
		}
	}
	var out []string
	for _, w := range writes {
		if m := latest(promoted[w.Group], w); m.Name != "" && m.Name != w.Store {
			out = append(out, fmt.Sprintf("%s committed %q under epoch %d at %v, after %s was promoted %s at %v", w.Store, w.Key, w.Epoch, w.At, m.Name, m.Text, m.At))
		}
	}
	return out
}

// latest returns the last promotion before a write.
func latest(marks []history.Mark, w history.Write) (m history.Mark) {
	for _, x := range marks {
		if x.At <= w.At {
			m = x
		}
	}
	return m
}
