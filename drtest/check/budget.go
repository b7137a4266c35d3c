package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// An ErrorBudgetCheck bounds how much of an error budget is burned. [ErrorBudget] makes it.
type ErrorBudgetCheck struct {
	slo    float64
	window time.Duration
	share  float64
	filter
}

// ErrorBudget demands that the failures leave something of the error budget of an objective: of a service with
// 99.9 % over 30 days, ErrorBudget(0.999, 30*24*time.Hour), one in a thousand of the operations of a month may fail. A
// month of operations is taken from the mean rate of the record. If the record is longer than the window, the worst
// window counts.
func ErrorBudget(slo float64, window time.Duration) ErrorBudgetCheck {
	return ErrorBudgetCheck{slo: slo, window: window, share: 1}
}

// AtMost sets which share of the budget may be burned, as 0.25 for a drill that is held four times a month.
func (c ErrorBudgetCheck) AtMost(share float64) ErrorBudgetCheck {
	c.share = share
	return c
}

// For restricts the check to one class of operations.
func (c ErrorBudgetCheck) For(class string) ErrorBudgetCheck {
	c.class = class
	return c
}

// WithDegraded counts degraded answers as success.
func (c ErrorBudgetCheck) WithDegraded() ErrorBudgetCheck {
	c.degraded = true
	return c
}

// Name returns "ErrorBudget" and the class.
func (c ErrorBudgetCheck) Name() string { return c.name("ErrorBudget") }

// A burn is how much of its budget a class used in its worst window.
type burn struct {
	class       string
	share       float64
	bad, budget float64
	from, to    time.Duration
	judged      bool
}

// Evaluate finds the worst window of the worst class.
func (c ErrorBudgetCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %.4g %% of the budget of %.6g %% over %v", c.share*100, c.slo*100, c.window)
	if !(c.slo > 0 && c.slo < 1) || c.window <= 0 || !(c.share > 0) {
		return inconclusive(c.Name(), want, fmt.Sprintf("an objective of %v over %v, of which %v, makes no sense", c.slo, c.window, c.share))
	}
	var worst burn
	for _, class := range c.classes(h) {
		if b := c.burned(class, h.End()); b.judged && (!worst.judged || b.share > worst.share) {
			worst = b
		}
	}
	if !worst.judged {
		return inconclusive(c.Name(), want, "no operation ended")
	}
	v := Verdict{Check: c.Name(), Want: want, Got: fmt.Sprintf("%.4g %% burned", worst.share*100)}
	v.Why = append(v.Why, fmt.Sprintf("from %v to %v %.0f operations failed, the budget of %v is %.1f%s", worst.from, worst.to, worst.bad, c.window, worst.budget, during(h, worst.from, worst.to)))
	if worst.class != "" {
		v.Why = append(v.Why, fmt.Sprintf("class %q burned the most", worst.class))
	}
	return v.judge(worst.share <= c.share*(1+rounding))
}

// burned returns the worst window of a class.
func (c ErrorBudgetCheck) burned(of class, end time.Duration) burn {
	ops := slices.Clone(of.ops)
	slices.SortStableFunc(ops, func(a, b *history.Op) int { return int(a.Start - b.Start) })
	var all, bad float64
	for _, op := range ops {
		all += op.Weight
	}
	b := burn{class: of.name, judged: all > 0 && end > 0, to: min(c.window, end)}
	if !b.judged {
		return b
	}
	b.budget = (1 - c.slo) * all / end.Seconds() * c.window.Seconds()
	first := 0
	for _, op := range ops {
		for ; op.Start-ops[first].Start >= c.window; first++ {
			bad -= c.badWeight(ops[first])
		}
		bad += c.badWeight(op)
		if bad > b.bad {
			b.bad, b.from, b.to = bad, ops[first].Start, op.Start
		}
	}
	b.share = b.bad / b.budget
	return b
}

func (c ErrorBudgetCheck) badWeight(op *history.Op) float64 {
	if c.success(op) {
		return 0
	}
	return op.Weight
}
