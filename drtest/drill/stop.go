package drill

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A Condition ends a drill. Reached is called every 100 ms on the goroutine of [Run], with the World; it must not
// wait. A panic counts as reached.
type Condition struct {
	Name    string
	Reached func(w *drtest.World) (reason string, stop bool)
}

// leastOps is how many operations an ErrorShare judges at least.
const leastOps = 20

// ErrorShare is reached when of the operations that ended within the last over, 20 at least, more than max did not
// succeed: the error budget burns. Choose over longer than the RTO: an outage has errors. Degraded answers are
// success. A Condition serves one drill.
func ErrorShare(max float64, over time.Duration) Condition {
	var at history.Cursor
	var recent []history.Op
	return Condition{
		Name: fmt.Sprintf("more than %.4g %% of operations fail within %v", max*100, over),
		Reached: func(w *drtest.World) (string, bool) {
			var news history.News
			news, at = w.History().Since(at)
			recent = append(recent, news.Ops...)
			old, bad, all := 0, 0.0, 0.0
			for i, op := range recent {
				if op.End < w.Elapsed()-over {
					old = i + 1
					continue
				}
				all += op.Weight
				if op.Outcome != history.OutcomeOK {
					bad += op.Weight
				}
			}
			recent = recent[old:]
			if len(recent) < leastOps || bad <= max*all {
				return "", false
			}
			return fmt.Sprintf("%.4g %% of %d operations failed within %v", 100*bad/all, len(recent), over), true
		},
	}
}
