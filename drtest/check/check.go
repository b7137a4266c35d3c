package check

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A Check judges a finished history. Evaluate must not change it.
type Check interface {
	Name() string
	Evaluate(*history.History) Verdict
}

// Status is how a check ended.
type Status string

// The statuses. Inconclusive means that there was nothing to judge.
const (
	StatusPassed       Status = "passed"
	StatusFailed       Status = "failed"
	StatusInconclusive Status = "inconclusive"
)

// A Verdict is the answer of a check.
type Verdict struct {
	Check  string   `json:"check"`
	Status Status   `json:"status"`
	Got    string   `json:"got"`
	Want   string   `json:"want"`
	Why    []string `json:"why,omitempty"` // one fact a line, most telling first
	Phases []Phase  `json:"phases,omitempty"`

	// Seconds is the measured duration of RTO and RPO; 0 for other checks.
	Seconds float64 `json:"seconds,omitempty"`

	// From and To are where on the timeline the measured duration lies, in seconds: for RTO from the fault to
	// recovery (To is 0 if there was none), for RPO from the oldest lost write on. Both are 0 where there is none.
	From float64 `json:"from_seconds,omitempty"`
	To   float64 `json:"to_seconds,omitempty"`
}

// A Phase is a part of a recovery. The phases of one RTO follow each other and add up to it.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	EndedBy string  `json:"ended_by"`
}

// Passed reports whether the check passed.
func (v Verdict) Passed() bool { return v.Status == StatusPassed }

// String returns the verdict with its reasons, over several lines.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %s: %s, want %s", v.Status, v.Check, v.Got, v.Want)
	for _, p := range v.Phases {
		fmt.Fprintf(&b, "\n    %-16s %10v  until %s", p.Name, seconds(p.Seconds), p.EndedBy)
	}
	for _, w := range v.Why {
		fmt.Fprintf(&b, "\n    %s", w)
	}
	return b.String()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond)
}

// judge fills the status of a verdict.
func (v Verdict) judge(ok bool) Verdict {
	v.Status = StatusFailed
	if ok {
		v.Status = StatusPassed
	}
	return v
}

// inconclusive returns the verdict of a check that had nothing to judge.
func inconclusive(name, want, why string) Verdict {
	return Verdict{Check: name, Status: StatusInconclusive, Got: "nothing to judge", Want: want, Why: []string{why}}
}

// rounding is how far sums of weights may be off: what meets a limit to the last operation has met it.
const rounding = 1e-9

// maxExamples is how many examples a verdict lists.
const maxExamples = 5

// examples adds up to maxExamples lines and says how many more there are.
func (v *Verdict) examples(n int, line func(i int) string) {
	for i := range min(n, maxExamples) {
		v.Why = append(v.Why, line(i))
	}
	if n > maxExamples {
		v.Why = append(v.Why, fmt.Sprintf("and %d more", n-maxExamples))
	}
}

// A filter chooses operations and says which count as success.
type filter struct {
	class    string
	degraded bool
}

func (f filter) success(op *history.Op) bool {
	return op.Outcome == history.OutcomeOK && (f.degraded || !op.Degraded)
}

// ops returns the operations of the class, in the order in which they ended.
func (f filter) ops(h *history.History) []*history.Op {
	all := h.Ops()
	out := make([]*history.Op, 0, len(all))
	for i := range all {
		if f.class == "" || all[i].Class == f.class {
			out = append(out, &all[i])
		}
	}
	return out
}

// A class is the operations of one class. Its name is "" where there is no other.
type class struct {
	name string
	ops  []*history.Op
}

// classes returns the operations by class, in the order in which the classes first ended one: much traffic of one
// class must not hide what happened to another.
func (f filter) classes(h *history.History) []class {
	index := map[string]int{}
	var out []class
	for _, op := range f.ops(h) {
		i, ok := index[op.Class]
		if !ok {
			i = len(out)
			index[op.Class] = i
			out = append(out, class{name: op.Class})
		}
		out[i].ops = append(out[i].ops, op)
	}
	if len(out) == 1 {
		out[0].name = ""
	}
	return out
}

// name returns the name of a check with its class.
func (f filter) name(check string) string {
	if f.class == "" {
		return check
	}
	return fmt.Sprintf("%s(%s)", check, f.class)
}
