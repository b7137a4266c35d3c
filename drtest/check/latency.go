package check

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A LatencyCheck bounds how long operations take. [Latency] makes it.
type LatencyCheck struct {
	quantile float64
	max      time.Duration
	filter
}

// Latency demands that a share of the operations of every class, as 0.99, take at most so long, from when they were
// due. One whose outcome is unknown took longer than any; one that failed is left to Availability.
func Latency(quantile float64, max time.Duration) LatencyCheck {
	return LatencyCheck{quantile: quantile, max: max, filter: filter{degraded: true}}
}

// For restricts the check to one class of operations.
func (c LatencyCheck) For(class string) LatencyCheck {
	c.class = class
	return c
}

// Name returns "Latency", the quantile and the class.
func (c LatencyCheck) Name() string { return c.name(fmt.Sprintf("Latency %.4g %%", c.quantile*100)) }

// took is the latency of one operation.
type took struct {
	d      time.Duration // math.MaxInt64: not known
	weight float64
	op     *history.Op
}

// Evaluate judges the slowest class.
func (c LatencyCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %v", c.max)
	if !(c.quantile > 0 && c.quantile <= 1) {
		return inconclusive(c.Name(), want, fmt.Sprintf("%v is no quantile", c.quantile))
	}
	var worst took
	var slowest string
	for _, class := range c.classes(h) {
		if x, ok := c.at(class); ok && (worst.op == nil || x.d > worst.d) {
			worst, slowest = x, class.name
		}
	}
	if worst.op == nil {
		return inconclusive(c.Name(), want, "no operation succeeded or timed out")
	}
	v := Verdict{Check: c.Name(), Want: want, Got: worst.d.Round(time.Microsecond).String()}
	if worst.d == math.MaxInt64 {
		v.Got = "an operation that timed out"
	}
	if slowest != "" {
		v.Why = append(v.Why, fmt.Sprintf("class %q was the slowest", slowest))
	}
	v.Why = append(v.Why, fmt.Sprintf("as the operation due at %v%s", worst.op.Start, during(h, worst.op.Start, worst.op.End)))
	return v.judge(worst.d <= c.max)
}

// at returns the operation at the quantile of a class.
func (c LatencyCheck) at(of class) (took, bool) {
	var all []took
	var weight float64
	for _, op := range of.ops {
		d := op.End - op.Start
		switch {
		case op.Outcome == history.OutcomeUnknown:
			d = math.MaxInt64
		case !c.success(op):
			continue
		}
		all = append(all, took{d, op.Weight, op})
		weight += op.Weight
	}
	slices.SortStableFunc(all, func(a, b took) int {
		switch {
		case a.d < b.d:
			return -1
		case a.d > b.d:
			return 1
		}
		return 0
	})
	if len(all) == 0 {
		return took{}, false
	}
	var below float64
	for _, x := range all {
		if below += x.weight; below >= c.quantile*weight*(1-rounding) {
			return x, true
		}
	}
	return all[len(all)-1], true // weights were rounded another way in this order
}
