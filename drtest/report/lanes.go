package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// Lanes are what happened side by side, beside traffic.
type Lanes struct {
	Faults   []Span   `json:"faults"`
	Regions  []string `json:"regions"`
	Down     []Span   `json:"down"`     // of Regions
	Breakers []Span   `json:"breakers"` // not closed; Name is the breaker, Text its state
	Epochs   []Span   `json:"epochs"`   // Name is who may write, Text the epoch
}

// A Span is a time in which something held.
type Span struct {
	Name string  `json:"name"`
	Text string  `json:"text"`
	From float64 `json:"from_seconds"`
	To   float64 `json:"to_seconds"`
	Open bool    `json:"open,omitempty"` // it still held at the end
}

func lanes(h *history.History, regions []string) Lanes {
	l := Lanes{Faults: []Span{}, Regions: []string{}, Down: []Span{}, Breakers: breakers(h), Epochs: []Span{}}
	used := map[string]bool{} // places where only users are do not serve: they get no row unless they go down
	for _, op := range h.Ops() {
		used[op.Region] = true
	}
	for _, f := range h.Faults() {
		s := Span{Name: f.Target, Text: f.Text, From: f.From.Seconds(), To: f.To.Seconds(), Open: !f.Ended}
		l.Faults = append(l.Faults, s)
		if name, down := strings.CutPrefix(f.Target, string(fault.KindRegionDown)+" "); down {
			s.Name = name
			l.Down = append(l.Down, s)
			used[name] = true
		}
	}
	for _, t := range h.Terms() {
		l.Epochs = append(l.Epochs, Span{Name: t.Name, Text: fmt.Sprintf("epoch %d", t.Epoch), From: t.From.Seconds(), To: t.To.Seconds(), Open: t.To == h.End()})
	}
	for _, name := range regions {
		if used[name] {
			l.Regions = append(l.Regions, name)
			delete(used, name)
		}
	}
	delete(used, "")
	for name := range used {
		l.Regions = append(l.Regions, name)
	}
	slices.Sort(l.Regions[len(l.Regions)-len(used):])
	return l
}

const closed = "closed"

// breakers returns when breakers were not closed.
func breakers(h *history.History) []Span {
	out := []Span{}
	open := map[string]int{} // breaker → index of its span
	for _, m := range h.Marks() {
		if m.Kind != history.MarkBreaker {
			continue
		}
		if i, ok := open[m.Name]; ok {
			out[i].To, out[i].Open = m.At.Seconds(), false
			delete(open, m.Name)
		}
		if state, _, _ := strings.Cut(m.Text, " "); state != closed {
			open[m.Name] = len(out)
			out = append(out, Span{Name: m.Name, Text: m.Text, From: m.At.Seconds(), To: h.End().Seconds(), Open: true})
		}
	}
	return out
}

// A Window is a part of the run, cut into buckets of equal length. The lists have one number for each bucket. An
// operation counts where it was due, by its weight.
type Window struct {
	Name     string               `json:"name"`
	From     float64              `json:"from_seconds"`
	To       float64              `json:"to_seconds"`
	Bucket   float64              `json:"bucket_seconds"`
	OK       []float64            `json:"ok"`
	Degraded []float64            `json:"degraded"`
	Failed   []float64            `json:"failed"`
	Unknown  []float64            `json:"unknown"`
	P50      []float64            `json:"p50_ms"`
	P99      []float64            `json:"p99_ms"`
	Regions  map[string][]float64 `json:"regions"` // operations that a Region answered
	Gauges   map[string][]float64 `json:"gauges"`  // the highest reading; -1 = none
}

// mostSeconds is the end of the longest run that a report is read of.
const mostSeconds = 1e9

// drawable reports whether every list has a number for each bucket, as the drawings take for granted.
func (w *Window) drawable() bool {
	n := len(w.OK)
	lists := [][]float64{w.Degraded, w.Failed, w.Unknown, w.P50, w.P99}
	lists = slices.AppendSeq(slices.AppendSeq(lists, maps.Values(w.Regions)), maps.Values(w.Gauges))
	uneven := func(list []float64) bool { return len(list) != n }
	return n > 0 && !slices.ContainsFunc(lists, uneven) && w.Bucket > 0 && w.From >= 0 && w.To > w.From && w.To <= mostSeconds
}

// buckets is about how many buckets a window has: few enough to be told apart at the width of a phone.
const buckets = 60

// zoomBelow is the part of the run below which the slowest recovery gets a window of its own.
const zoomBelow = 0.2

func windows(h *history.History, verdicts []check.Verdict) []Window {
	end := h.End()
	out := []Window{window(h, "The whole run", 0, end)}
	var slow check.Verdict
	for _, v := range verdicts {
		if strings.HasPrefix(v.Check, "RTO") && v.Seconds > slow.Seconds {
			slow = v
		}
	}
	if slow.Seconds > 0 && slow.Seconds < zoomBelow*end.Seconds() {
		took := duration(slow.Seconds)
		from, to := max(duration(slow.From)-took/2, 0), min(duration(slow.To)+took, end)
		out = append(out, window(h, "The slowest recovery", from, to))
	}
	return out
}

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// steps are lengths of buckets that people can read.
var steps = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
	15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// stepFor returns the smallest step that cuts a length into at most n parts.
func stepFor(length time.Duration, n int) time.Duration {
	for _, s := range steps {
		if length <= time.Duration(n)*s {
			return s
		}
	}
	day := steps[len(steps)-1]
	return (length/time.Duration(n) + day - 1) / day * day
}

func window(h *history.History, name string, from, to time.Duration) Window {
	step := stepFor(to-from, buckets)
	from = from / step * step
	n := max(int((to-from+step-1)/step), 1)
	list := func() []float64 { return make([]float64, n) }
	w := Window{
		Name: name, From: from.Seconds(), To: (from + time.Duration(n)*step).Seconds(), Bucket: step.Seconds(),
		OK: list(), Degraded: list(), Failed: list(), Unknown: list(), P50: list(), P99: list(),
		Regions: map[string][]float64{}, Gauges: map[string][]float64{},
	}
	took := make([][]sample, n)
	for _, op := range h.Ops() {
		i := int((op.Start - from) / step)
		if op.Start < from || i >= n {
			continue
		}
		w.count(op, i)
		took[i] = append(took[i], sample{op.End - op.Start, op.Weight})
	}
	for i, all := range took {
		w.P50[i], w.P99[i] = quantile(all, 0.5), quantile(all, 0.99)
	}
	for _, gauge := range h.Gauges() {
		w.Gauges[gauge] = highest(h.Samples(gauge), from, step, n)
	}
	return w
}

func (w *Window) count(op history.Op, i int) {
	switch {
	case op.Outcome == history.OutcomeOK && op.Degraded:
		w.Degraded[i] += op.Weight
	case op.Outcome == history.OutcomeOK:
		w.OK[i] += op.Weight
	case op.Outcome == history.OutcomeFailed:
		w.Failed[i] += op.Weight
	default:
		w.Unknown[i] += op.Weight
	}
	if op.Region == "" || op.Outcome == history.OutcomeUnknown {
		return
	}
	if w.Regions[op.Region] == nil {
		w.Regions[op.Region] = make([]float64, len(w.OK))
	}
	w.Regions[op.Region][i] += op.Weight
}

type sample struct {
	took   time.Duration
	weight float64
}

// quantile returns a quantile of weighted samples in milliseconds; 0 for none.
func quantile(all []sample, q float64) float64 {
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.took, b.took) })
	var sum, seen float64
	for _, s := range all {
		sum += s.weight
	}
	for _, s := range all {
		if seen += s.weight; seen >= q*sum {
			return math.Round(s.took.Seconds()*1e6) / 1e3
		}
	}
	return 0
}

// highest returns the highest reading in each bucket; where nobody read, the one before, and -1 at the start. What is no number counts as not
// read: a ratio of nothing must not cost the report, whose JSON form has no such thing.
func highest(all []history.Sample, from, step time.Duration, n int) []float64 {
	out := make([]float64, n)
	last, next := -1.0, 0
	for i := range out {
		until := from + time.Duration(i+1)*step
		top := math.Inf(-1)
		for ; next < len(all) && all[next].At < until; next++ {
			if v := all[next].Value; math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			last = all[next].Value
			if all[next].At >= from {
				top = max(top, last)
			}
		}
		out[i] = last
		if !math.IsInf(top, -1) {
			out[i] = top
		}
	}
	return out
}
