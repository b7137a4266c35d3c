package drill

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A pauseCheck bounds for how long the planned move home keeps orders waiting: the longest time in which none was answered with success, from
// when the way back was asked for to the last order.
type pauseCheck struct {
	limit, from time.Duration
}

func (c pauseCheck) Name() string { return "Pause(" + classPlace + ")" }

func (c pauseCheck) Evaluate(h *history.History) check.Verdict {
	v := check.Verdict{Check: c.Name(), Want: fmt.Sprintf("at most %v", c.limit), Status: check.StatusInconclusive, Got: "nothing to judge"}
	acked, last := acknowledged(h, c.from)
	if len(acked) == 0 {
		v.Why = []string{fmt.Sprintf("no order was acknowledged after %v, when the planned move was asked for", c.from)}
		return v
	}
	var begin, end time.Duration
	before := c.from
	for _, at := range append(acked, last) { // orders behind the last success waited, too
		if at-before > end-begin {
			begin, end = before, at
		}
		before = at
	}
	took := end - begin
	v.Got, v.Seconds, v.From, v.To = took.Round(time.Millisecond).String(), took.Seconds(), begin.Seconds(), end.Seconds()
	v.Why = []string{fmt.Sprintf("no order was acknowledged from %v to %v", begin.Round(time.Millisecond), end.Round(time.Millisecond))}
	v.Status = check.StatusFailed
	if took <= c.limit {
		v.Status = check.StatusPassed
	}
	return v
}

// acknowledged returns when orders were answered with success from an instant on, in order, and when the last order was due.
func acknowledged(h *history.History, from time.Duration) (at []time.Duration, last time.Duration) {
	for _, op := range h.Ops() {
		if op.Class != classPlace {
			continue
		}
		last = max(last, op.Start)
		if op.Outcome == history.OutcomeOK && op.End >= from {
			at = append(at, op.End)
		}
	}
	slices.Sort(at)
	return at, last
}
