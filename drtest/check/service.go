package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// An AvailabilityCheck demands a share of successes. [Availability] makes it.
type AvailabilityCheck struct {
	min float64
	filter
}

// Availability demands that at least a share of the operations of every class succeed, as 0.999.
func Availability(min float64) AvailabilityCheck { return AvailabilityCheck{min: min} }

// For restricts the check to one class of operations.
func (c AvailabilityCheck) For(class string) AvailabilityCheck {
	c.class = class
	return c
}

// WithDegraded counts degraded answers as success.
func (c AvailabilityCheck) WithDegraded() AvailabilityCheck {
	c.degraded = true
	return c
}

// Name returns "Availability" and the class.
func (c AvailabilityCheck) Name() string { return c.name("Availability") }

// Evaluate counts by weight, and judges the worst class.
func (c AvailabilityCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at least %.6g %%", c.min*100)
	var worst share
	for _, class := range c.classes(h) {
		if s := c.share(class); s.all > 0 && (worst.all == 0 || s.good/s.all < worst.good/worst.all) {
			worst = s
		}
	}
	if worst.all == 0 {
		return inconclusive(c.Name(), want, "no operation ended")
	}
	v := Verdict{Check: c.Name(), Want: want, Got: fmt.Sprintf("%.6g %%", worst.good/worst.all*100)}
	if worst.class != "" {
		v.Why = append(v.Why, fmt.Sprintf("class %q had the smallest share", worst.class))
	}
	v.Why = append(v.Why, fmt.Sprintf("of %.0f operations: %.0f ok, %.0f degraded, %.0f failed, %.0f unknown", worst.all, worst.good, worst.degraded, worst.failed, worst.unknown))
	return v.judge(worst.good/worst.all >= c.min)
}

// A share is how the operations of a class ended.
type share struct {
	class                                string
	all, good, degraded, failed, unknown float64
}

func (c AvailabilityCheck) share(of class) share {
	s := share{class: of.name}
	for _, op := range of.ops {
		s.all += op.Weight
		switch {
		case c.success(op):
			s.good += op.Weight
		case op.Outcome == history.OutcomeOK:
			s.degraded += op.Weight
		case op.Outcome == history.OutcomeFailed:
			s.failed += op.Weight
		default:
			s.unknown += op.Weight
		}
	}
	return s
}

// An AmplificationCheck bounds what the services behind must bear. [Amplification] makes it.
type AmplificationCheck struct {
	max    float64
	window time.Duration
	filter
}

// Amplification demands that in no window of 10 s more than max requests were sent per operation due in it:
// retries, hedges and failover together.
func Amplification(max float64) AmplificationCheck {
	return AmplificationCheck{max: max, window: 10 * time.Second}
}

// For restricts the check to one class of operations.
func (c AmplificationCheck) For(class string) AmplificationCheck {
	c.class = class
	return c
}

// Name returns "Amplification" and the class.
func (c AmplificationCheck) Name() string { return c.name("Amplification") }

// Evaluate finds the worst window.
func (c AmplificationCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %.3g requests per operation", c.max)
	sent, due := map[int]float64{}, map[int]float64{}
	var all, total float64
	for _, op := range c.ops(h) {
		w := int(op.Start / c.window)
		due[w] += op.Weight
		sent[w] += op.Weight * float64(op.Attempts)
		all += op.Weight
		total += op.Weight * float64(op.Attempts)
	}
	if total == 0 {
		return inconclusive(c.Name(), want, "no request was counted: use clients of a Region with the context of the operation, or Op.Attempt")
	}
	worst, at := 0.0, 0
	for w := range due {
		if x := sent[w] / due[w]; x > worst || x == worst && w < at {
			worst, at = x, w
		}
	}
	from := time.Duration(at) * c.window
	v := Verdict{Check: c.Name(), Want: want, Got: fmt.Sprintf("%.3g requests per operation", worst)}
	v.Why = append(v.Why,
		fmt.Sprintf("worst from %v to %v: %.0f requests for %.0f operations%s", from, from+c.window, sent[at], due[at], during(h, from, from+c.window)),
		fmt.Sprintf("over the whole time %.3g", total/all))
	return v.judge(worst <= c.max)
}

// during names the faults in force in a time.
func during(h *history.History, from, to time.Duration) string {
	for _, f := range h.Faults() {
		if f.From < to && f.To > from {
			return fmt.Sprintf(", while %q", f.Text)
		}
	}
	return ""
}

// A DrainedCheck demands that a backlog goes away. [Drained] makes it.
type DrainedCheck struct {
	gauge  string
	within time.Duration
	level  float64
}

// Drained demands that a gauge of the World is back at 0 within a time after the last fault ended, and stays
// there until the end. A fault that never ends counts from its start.
func Drained(gauge string, within time.Duration) DrainedCheck {
	return DrainedCheck{gauge: gauge, within: within}
}

// To sets the level that counts as drained, for queues that are never quite empty.
func (c DrainedCheck) To(level float64) DrainedCheck {
	c.level = level
	return c
}

// Name returns "Drained" and the gauge.
func (c DrainedCheck) Name() string { return fmt.Sprintf("Drained(%s)", c.gauge) }

// Evaluate finds the last reading above the level.
func (c DrainedCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("down to %g within %v", c.level, c.within)
	samples := h.Samples(c.gauge)
	if len(samples) == 0 {
		return inconclusive(c.Name(), want, "no reading: call World.Gauge")
	}
	var healed time.Duration
	for _, f := range h.Faults() {
		if f.Ended {
			healed = max(healed, f.To)
		} else {
			healed = max(healed, f.From)
		}
	}
	peak := slices.MaxFunc(samples, func(a, b history.Sample) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		}
		return 0
	})
	v := Verdict{Check: c.Name(), Want: want}
	v.Why = append(v.Why, fmt.Sprintf("highest %g at %v; last fault over at %v", peak.Value, peak.At, healed))
	last := samples[len(samples)-1]
	if last.Value > c.level {
		v.Got = fmt.Sprintf("%g left at the end", last.Value)
		return v.judge(false)
	}
	drained := time.Duration(0)
	for _, s := range samples {
		if s.Value > c.level {
			drained = s.At
		}
	}
	took := max(drained-healed, 0)
	v.Got = fmt.Sprintf("drained %v after the last fault", took.Round(time.Millisecond))
	return v.judge(took <= c.within)
}
