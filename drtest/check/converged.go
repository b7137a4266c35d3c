package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A ConvergedCheck demands that copies agree in the end. [Converged] makes it.
type ConvergedCheck struct {
	groups []string
	grace  time.Duration
}

// Converged demands that, at the end, every store of the named replication groups (all of them if none is named)
// holds what its writer holds. What was written or deleted in the last 5 s may still be on its way. A group is named
// like its first store.
func Converged(groups ...string) ConvergedCheck {
	return ConvergedCheck{groups: groups, grace: 5 * time.Second}
}

// Within sets how long a write may be on its way.
func (c ConvergedCheck) Within(d time.Duration) ConvergedCheck {
	c.grace = d
	return c
}

// Name returns "Converged" and the groups.
func (c ConvergedCheck) Name() string {
	return filter{class: strings.Join(c.groups, ", ")}.name("Converged")
}

// Evaluate compares the stores.
func (c ConvergedCheck) Evaluate(h *history.History) Verdict {
	const want = "every copy like its writer"
	contents := h.Contents()
	names := c.groups
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(contents))
	}
	young := map[string]bool{}
	for _, w := range h.Writes() {
		if w.At > h.End()-c.grace {
			young[w.Group+"\x00"+w.Key] = true
		}
	}
	var differ []string
	copies, alone := 0, ""
	for _, group := range names {
		writer, ok := contents[group][""]
		if !ok || len(contents[group]) < 2 {
			alone = cmp.Or(alone, fmt.Sprintf("group %q has no writer and copies: use stores with ReplicaOf, or World.Contents", group))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(contents[group])) {
			if name == "" {
				continue
			}
			copies++
			differ = append(differ, differences(name, writer, contents[group][name], func(key string) bool {
				at, deleted := h.Deleted(group, key)
				return young[group+"\x00"+key] || deleted && at > h.End()-c.grace
			})...)
		}
	}
	if alone != "" && len(differ) == 0 { // a difference elsewhere is one, whatever could not be judged
		return inconclusive(c.Name(), want, alone)
	}
	if copies == 0 {
		return inconclusive(c.Name(), want, "there are no copies: use stores with ReplicaOf, or World.Contents")
	}
	v := Verdict{Check: c.Name(), Want: want, Got: fmt.Sprintf("%d differences in %d copies", len(differ), copies)}
	v.examples(len(differ), func(i int) string { return differ[i] })
	return v.judge(len(differ) == 0)
}

// differences lists how a copy differs from its writer, in the order of keys.
func differences(name string, writer, replica map[string]string, excused func(key string) bool) (out []string) {
	for _, key := range slices.Sorted(maps.Keys(writer)) {
		value, ok := replica[key]
		switch {
		case ok && value == writer[key] || excused(key):
		case !ok:
			out = append(out, fmt.Sprintf("%s lacks %q", name, key))
		default:
			out = append(out, fmt.Sprintf("%s has another value of %q", name, key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(replica)) {
		if _, ok := writer[key]; !ok && !excused(key) {
			out = append(out, fmt.Sprintf("%s has %q, which the writer has not", name, key))
		}
	}
	return out
}
