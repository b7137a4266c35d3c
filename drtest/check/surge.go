package check

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A SurgeCheck bounds what meets services that have just come back. [Surge] makes it.
type SurgeCheck struct {
	max    float64
	window time.Duration
	host   string
}

// Surge demands that, once a fault is over, clients of Regions never send more than max times as many requests as they
// did on average before the first fault, in any window of 5 s. Requests by HTTP count, whoever sends them: retries,
// replays of what was deferred, and workers that catch up.
func Surge(max float64) SurgeCheck { return SurgeCheck{max: max, window: 5 * time.Second} }

// On restricts the check to the requests of one host.
func (c SurgeCheck) On(host string) SurgeCheck {
	c.host = host
	return c
}

// Window sets over how long requests are counted: whole tenths of a second, at least one second.
func (c SurgeCheck) Window(d time.Duration) SurgeCheck {
	c.window = d
	return c
}

// Name returns "Surge" and the host.
func (c SurgeCheck) Name() string { return filter{class: c.host}.name("Surge") }

// Evaluate compares the worst window with the time before.
func (c SurgeCheck) Evaluate(h *history.History) Verdict {
	want := fmt.Sprintf("at most %.3g times the requests of before", c.max)
	size := int(c.window / history.Tick)
	if c.window < time.Second {
		return inconclusive(c.Name(), want, fmt.Sprintf("a window of %v is below a second", c.window))
	}
	faults := h.Faults()
	first, healed := time.Duration(-1), time.Duration(-1)
	for _, f := range faults {
		if first < 0 {
			first = f.From
		}
		if f.Ended && (healed < 0 || f.To < healed) {
			healed = f.To
		}
	}
	if healed < 0 {
		return inconclusive(c.Name(), want, "no fault was injected that ended")
	}
	counts := h.Requests(c.host)
	before := int(first / history.Tick)
	if before < 2*size {
		return inconclusive(c.Name(), want, fmt.Sprintf("the first fault came at %v: too early to know what is normal, want two windows of %v", first, c.window))
	}
	normal := sum(counts, 0, before) / float64(before)
	if normal == 0 {
		return inconclusive(c.Name(), want, fmt.Sprintf("no request was sent before the first fault at %v: use clients of a Region", first))
	}
	worst, at := 0.0, 0
	for from := int(healed / history.Tick); from < len(counts); from++ { // what waited for the end comes at once
		if rate := sum(counts, from, from+size) / float64(size); rate > worst {
			worst, at = rate, from
		}
	}
	perSecond := float64(time.Second / history.Tick)
	v := Verdict{Check: c.Name(), Want: want, Got: fmt.Sprintf("%.3g times", worst/normal)}
	from := time.Duration(at) * history.Tick
	v.Why = append(v.Why, fmt.Sprintf("worst from %v to %v: %.3g requests a second, %.3g before the first fault%s", from, from+c.window, worst*perSecond, normal*perSecond, during(h, from, from+c.window)))
	return v.judge(worst <= c.max*normal*(1+rounding))
}

func sum(counts []float64, from, to int) (total float64) {
	for i := from; i < min(to, len(counts)); i++ {
		total += counts[i]
	}
	return total
}
