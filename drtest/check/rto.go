package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// An RTOCheck demands recovery within a time. [RTO] makes it.
type RTOCheck struct {
	limit    time.Duration
	window   time.Duration
	share    float64
	settings []Setting
	from     *history.Fault // what to measure from, in place of every fault
	filter
}

// A Setting is a configured time that recovery cannot beat: a health check's interval times its threshold, a
// TTL, the open time of a breaker, the length of a promotion.
type Setting struct {
	Name string // as in the configuration, "health interval × threshold"
	Took time.Duration
}

// RTO demands that every fault is over for callers within limit: at least 99 % success in every window of 1 s
// from then on. The verdict takes the worst fault apart: detect, decide, switch and recover end with
// marks of those kinds (a promotion or a new epoch counts as a switch), a phase without a mark is
// counted in the next one. Every class of operations is judged by itself, the worst makes the verdict.
func RTO(limit time.Duration) RTOCheck {
	return RTOCheck{limit: limit, window: time.Second, share: 0.99}
}

// For restricts the check to one class of operations.
func (c RTOCheck) For(class string) RTOCheck {
	c.class = class
	return c
}

// WithDegraded counts degraded answers as success.
func (c RTOCheck) WithDegraded() RTOCheck {
	c.degraded = true
	return c
}

// Window sets the window and the share of successes it must have.
func (c RTOCheck) Window(d time.Duration, share float64) RTOCheck {
	c.window, c.share = d, share
	return c
}

// Floor names the settings that recovery has to wait for, one after the other. The verdict prints their sum
// beside the measured time, and the one that dominates.
func (c RTOCheck) Floor(settings ...Setting) RTOCheck {
	c.settings = settings
	return c
}

// Since measures from one instant instead of from every fault: from then on all must be well within the limit,
// whatever fault is still there. What says what happened then.
func (c RTOCheck) Since(at time.Duration, what string) RTOCheck {
	c.from = &history.Fault{Text: what, From: at, To: at, Ended: true}
	return c
}

// Name returns "RTO", or "Recovery" after [RTOCheck.Since], and the class.
func (c RTOCheck) Name() string {
	if c.from != nil {
		return c.name("Recovery")
	}
	return c.name("RTO")
}

// A recovery is how one fault went for callers.
type recovery struct {
	fault     history.Fault
	lastBad   time.Duration // end of the last bad window
	recovered time.Duration // -1 = not
	hurt      bool          // there was a bad window
	judged    bool          // there were operations to judge
	worst     float64       // the smallest share of successes in a window
	class     string        // of the operations, where there are several
}

// Evaluate measures every fault and judges the slowest recovery.
func (c RTOCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %v", c.limit)
	if c.window <= 0 || !(c.share > 0 && c.share <= 1) {
		return inconclusive(c.Name(), want, fmt.Sprintf("Window(%v, %v) makes no sense", c.window, c.share))
	}
	faults := h.Faults()
	if c.from != nil {
		faults = []history.Fault{*c.from}
	}
	if len(faults) == 0 {
		return inconclusive(c.Name(), want, "no fault was injected")
	}
	var worst recovery
	silent := true
	for _, class := range c.classes(h) {
		r, seen := c.slowest(faults, class.ops, h.End())
		r.class = class.name
		if r.judged && (!worst.judged || r.worse(worst)) {
			worst = r
		}
		silent = silent && !seen
	}
	if last := faults[len(faults)-1]; silent {
		return inconclusive(c.Name(), want, fmt.Sprintf("no operation was due after %q at %v", last.Text, last.From))
	}
	return c.verdict(h, worst, want)
}

// slowest measures every fault up to the next for one class and returns the slowest recovery. An outage that lasts
// until the next fault goes on with it. Seen is false if no operation was due after the last fault.
func (c RTOCheck) slowest(faults []history.Fault, ops []*history.Op, end time.Duration) (worst recovery, seen bool) {
	slices.SortStableFunc(ops, func(a, b *history.Op) int { return int(a.Start - b.Start) })
	first := faults[0] // of those that are measured together
	for i, f := range faults {
		last := i == len(faults)-1
		until := end
		if !last {
			until = faults[i+1].From
		}
		due := ops[dueAt(ops, first.From):max(dueAt(ops, until), dueAt(ops, first.From))]
		if !last {
			due = endedBy(due, until)
		}
		r := c.measure(first, due)
		if !last && (!r.judged || r.recovered < 0) {
			continue
		}
		if r.judged && (!worst.judged || r.worse(worst)) {
			worst = r
		}
		if last {
			seen = dueAt(ops, f.From) < dueAt(ops, until)
		} else {
			first = faults[i+1]
		}
	}
	return worst, seen
}

// endedBy returns the operations that had ended at an instant; those under way met what happened then as well.
func endedBy(ops []*history.Op, at time.Duration) []*history.Op {
	return slices.DeleteFunc(slices.Clone(ops), func(op *history.Op) bool { return op.End > at })
}

func (r recovery) worse(than recovery) bool {
	if (r.recovered < 0) != (than.recovered < 0) {
		return r.recovered < 0
	}
	return r.recovered-r.fault.From > than.recovered-than.fault.From
}

// dueAt returns the index of the first operation due at an instant or later.
func dueAt(ops []*history.Op, at time.Duration) int {
	i, _ := slices.BinarySearchFunc(ops, at, func(op *history.Op, at time.Duration) int { return int(op.Start - at) })
	return i
}

// measure finds when the operations due between a fault and the next recovered.
func (c RTOCheck) measure(f history.Fault, due []*history.Op) recovery {
	r := recovery{fault: f, recovered: f.From, worst: 1}
	good, all := map[int]float64{}, map[int]float64{}
	for _, op := range due {
		w := int((op.Start - f.From) / c.window)
		all[w] += op.Weight
		if c.success(op) {
			good[w] += op.Weight
		}
	}
	r.judged = len(due) > 0
	last := -1
	for w, n := range all {
		share := good[w] / n
		r.worst = min(r.worst, share)
		if share < c.share {
			last = max(last, w)
		}
	}
	if last < 0 {
		return r
	}
	r.hurt = true
	r.lastBad = f.From + time.Duration(last+1)*c.window
	r.recovered = c.firstGood(due, r.lastBad)
	return r
}

// firstGood returns the due time of the first operation behind which nothing failed up to the end of the last bad
// window, or the first after it; -1 if there is none.
func (c RTOCheck) firstGood(due []*history.Op, lastBad time.Duration) time.Duration {
	after := dueAt(due, lastBad)
	if after == len(due) {
		return -1 // the bad window was the last there was
	}
	for after > 0 && c.success(due[after-1]) {
		after--
	}
	return due[after].Start
}

func (c RTOCheck) verdict(h *history.History, r recovery, want string) Verdict {
	v := Verdict{Check: c.Name(), Want: want}
	switch {
	case r.recovered < 0:
		v.Got = "not recovered"
		v.From = r.fault.From.Seconds()
		v.Why = append(v.Why, fmt.Sprintf("after %q at %v, the window that ended at %v was still bad and nothing came after it", r.fault.Text, r.fault.From, r.lastBad))
	case !r.hurt:
		v.Got = "0s"
		v.Why = append(v.Why, fmt.Sprintf("no window of %v had less than %.4g %% success after any fault", c.window, c.share*100))
	default:
		took := r.recovered - r.fault.From
		v.Got = took.Round(time.Microsecond).String()
		v.Seconds = took.Seconds()
		v.From, v.To = r.fault.From.Seconds(), r.recovered.Seconds()
		v.Phases = phases(h, r)
		v.Why = append(v.Why, fmt.Sprintf("%q at %v; worst window %.4g %% success", r.fault.Text, r.fault.From, r.worst*100))
	}
	if r.class != "" && r.hurt {
		v.Why = append(v.Why, fmt.Sprintf("class %q was the slowest", r.class))
	}
	v.Why = append(v.Why, c.floor(r)...)
	return v.judge(r.recovered >= 0 && r.recovered-r.fault.From <= c.limit)
}

// phases splits a recovery at the marks that end its parts. A part without a mark is counted in the next.
func phases(h *history.History, r recovery) []Phase {
	ends := map[string]history.Mark{}
	for _, m := range h.Marks() {
		name := phaseOf(m.Kind)
		if _, seen := ends[name]; !seen && m.At >= r.fault.From && m.At <= r.recovered {
			ends[name] = m
		}
	}
	var out []Phase
	var names []string
	at := r.fault.From
	for _, name := range []string{"detect", "decide", "switch"} {
		names = append(names, name)
		if m, ok := ends[name]; ok && m.At >= at {
			out = append(out, Phase{strings.Join(names, "+"), (m.At - at).Seconds(), strings.TrimSpace(m.Kind + " " + m.Name + " " + m.Text)})
			at, names = m.At, nil
		}
	}
	names = append(names, "recover")
	return append(out, Phase{strings.Join(names, "+"), (r.recovered - at).Seconds(), "the first operation of lasting success"})
}

// phaseOf returns the phase a mark ends, "" if none.
func phaseOf(kind string) string {
	switch kind {
	case history.MarkDetected:
		return "detect"
	case history.MarkDecided:
		return "decide"
	case history.MarkSwitched, history.MarkPromoted, history.MarkEpoch:
		return "switch"
	}
	return ""
}

// floor explains the measured time by configuration.
func (c RTOCheck) floor(r recovery) []string {
	if len(c.settings) == 0 {
		return nil
	}
	var sum time.Duration
	top := c.settings[0]
	for _, s := range c.settings {
		sum += s.Took
		if s.Took > top.Took {
			top = s
		}
	}
	lines := []string{fmt.Sprintf("floor from configuration: %v; %s dominates with %v", sum, top.Name, top.Took)}
	if r.hurt && r.recovered >= 0 {
		lines = append(lines, fmt.Sprintf("measured − floor: %v", (r.recovered-r.fault.From-sum).Round(time.Microsecond)))
	}
	return lines
}
