package check_test

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A drill against real servers fills a History by hand; the checks are the same.
func Example() {
	h := history.New()
	n := h.FaultStarts(history.Fault{Text: "us-east-1 is down", From: 10 * time.Second})
	h.FaultEnds(n, time.Minute)
	h.AddMark(history.Mark{Kind: history.MarkDetected, Name: "health", At: 16 * time.Second})
	h.AddMark(history.Mark{Kind: history.MarkPromoted, Name: "orders-dr", At: 20 * time.Second})
	for s := range 90 {
		op := history.Op{Class: "POST /orders", Seq: s, Start: time.Duration(s) * time.Second, Weight: 1}
		if s >= 10 && s < 21 {
			op.Outcome = history.OutcomeUnknown
		}
		h.AddOp(op)
	}
	h.Finish(90 * time.Second)
	fmt.Println(check.RTO(15 * time.Second).Floor(check.Setting{Name: "health interval × threshold", Took: 5 * time.Second}).Evaluate(h))
	// Output:
	// passed       RTO: 11s, want at most 15s
	//     detect                   6s  until detected health
	//     decide+switch            4s  until promoted orders-dr
	//     recover                  1s  until the first operation of lasting success
	//     "us-east-1 is down" at 10s; worst window 0 % success
	//     floor from configuration: 5s; health interval × threshold dominates with 5s
	//     measured − floor: 6s
}
