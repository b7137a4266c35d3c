package check

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A lost write was acknowledged and is gone.
type lost struct {
	ack       history.Ack
	committed time.Duration // where no store did, the acknowledgement
	store     string        // "" = no store ever committed it
}

// commits says for each key which write committed it first, and in which further groups it was written.
type commits struct {
	first  map[string]*history.Write
	others map[string][]string
}

func commitsOf(writes []history.Write) commits {
	c := commits{make(map[string]*history.Write, len(writes)), map[string][]string{}}
	for i := range writes {
		w := &writes[i]
		if was, ok := c.first[w.Key]; !ok {
			c.first[w.Key] = w
		} else if was.Group != w.Group {
			c.others[w.Key] = append(c.others[w.Key], w.Group)
		}
	}
	return c
}

// survived reports whether every group that committed a key still has it.
func (c commits) survived(h *history.History, key string) bool {
	for _, g := range append(c.others[key], c.first[key].Group) {
		if ok, known := h.Survived(g, key); known && !ok {
			return false
		}
	}
	return true
}

// lostWrites lists what was acknowledged and did not survive, in the order of acknowledgement.
func lostWrites(h *history.History, present func(key string) bool) []lost {
	c := commitsOf(h.Writes())
	effects := map[string]bool{}
	for _, e := range h.Effects() {
		effects[e.Key] = true
	}
	var out []lost
	for _, a := range h.Acks() {
		w, committed := c.first[a.Key]
		switch {
		case present != nil && present(a.Key):
		case present == nil && committed && c.survived(h, a.Key):
		case present == nil && !committed && effects[a.Key]:
		case committed:
			out = append(out, lost{a, w.At, w.Store})
		default:
			out = append(out, lost{a, a.At, ""})
		}
	}
	return out
}

func (l lost) String() string {
	if l.store == "" {
		return fmt.Sprintf("lost %q: acknowledged at %v, in no store and without effect", l.ack.Key, l.ack.At)
	}
	return fmt.Sprintf("lost %q: committed in %s at %v, acknowledged at %v", l.ack.Key, l.store, l.committed, l.ack.At)
}

// A LossCheck demands that what was acknowledged survives. [RPO] and [LostWrites] make it.
type LossCheck struct {
	name    string
	limit   time.Duration // of RPO
	max     int           // of LostWrites
	present func(key string) bool
}

// RPO demands that the acknowledged writes which were lost reach back no further than limit. The package
// comment says from where to where that is measured.
func RPO(limit time.Duration) LossCheck { return LossCheck{name: "RPO", limit: limit} }

// LostWrites demands that at most n acknowledged writes were lost.
func LostWrites(n int) LossCheck { return LossCheck{name: "LostWrites", max: n} }

// In returns the check with another source of truth: present tells whether a key survived. It is called after
// the end of the World and must not use it.
func (c LossCheck) In(present func(key string) bool) LossCheck {
	c.present = present
	return c
}

// Name returns "RPO" or "LostWrites".
func (c LossCheck) Name() string { return c.name }

// Evaluate lists what was lost.
func (c LossCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %v", c.limit)
	if c.name == "LostWrites" {
		want = fmt.Sprintf("at most %d", c.max)
	}
	acks := len(h.Acks())
	if acks == 0 {
		return inconclusive(c.name, want, "nothing was acknowledged: call Op.Acked when the answer has arrived")
	}
	gone := lostWrites(h, c.present)
	v := Verdict{Check: c.name, Want: want, Got: fmt.Sprint(len(gone))}
	v.Why = append(v.Why, fmt.Sprintf("%d of %d acknowledged writes lost", len(gone), acks))
	ok := len(gone) <= c.max
	if c.name == "RPO" {
		from, reach, why := reachBack(h, gone)
		if reach > 0 {
			v.From, v.To = from.Seconds(), (from + reach).Seconds()
		}
		v.Got, v.Seconds = reach.Round(time.Microsecond).String(), reach.Seconds()
		v.Why = append(v.Why, why...)
		ok = reach <= c.limit
	}
	v.examples(len(gone), func(i int) string { return gone[i].String() })
	return v.judge(ok)
}

// reachBack returns when the oldest of the lost writes was committed, and the RPO, measured from there.
func reachBack(h *history.History, gone []lost) (oldest, reach time.Duration, why []string) {
	if len(gone) == 0 {
		return 0, 0, nil
	}
	oldest = gone[0].committed
	newest := oldest
	for _, l := range gone {
		oldest, newest = min(oldest, l.committed), max(newest, l.committed)
	}
	why = []string{fmt.Sprintf("oldest committed at %v, newest at %v", oldest, newest)}
	reach = newest - oldest
	if at, what := turningPoint(h, oldest); what != "" {
		why = append(why, fmt.Sprintf("%s at %v, %v after the oldest", what, at, at-oldest))
		reach = max(reach, at-oldest)
	}
	return oldest, reach, why
}

// turningPoint returns the first fault after an instant, or the first promotion if that came before.
func turningPoint(h *history.History, after time.Duration) (at time.Duration, what string) {
	for _, f := range h.Faults() {
		if f.From >= after {
			at, what = f.From, fmt.Sprintf("%q", f.Text)
			break
		}
	}
	for _, m := range h.Marks() {
		if m.Kind == history.MarkPromoted && m.At >= after && (what == "" || m.At < at) {
			return m.At, "promotion of " + m.Name
		}
	}
	return at, what
}
