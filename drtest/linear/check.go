package linear

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A LinearCheck demands that an object is linearizable. [Check] and [CheckModel] make it.
type LinearCheck struct {
	object  string
	model   porcupine.Model
	timeout time.Duration
	dir     string
}

// Check demands that the [Registers] of a name are linearizable.
func Check(object string) LinearCheck { return CheckModel(object, registers) }

// CheckModel demands that an object recorded with [Record] behaves as a model says. The model is of one key and needs no
// Partition. Its Step gets a nil output for a call whose answer is not known, and must then allow any.
func CheckModel(object string, model porcupine.Model) LinearCheck {
	return LinearCheck{object: object, model: model, timeout: 10 * time.Second}
}

// Within sets how long, in real time, the search for one key may take. Without, it is 10 s.
func (c LinearCheck) Within(d time.Duration) LinearCheck {
	c.timeout = d
	return c
}

// Pictures writes a picture of each key that is not linearizable to a directory: HTML that needs a browser with scripts.
func (c LinearCheck) Pictures(dir string) LinearCheck {
	c.dir = dir
	return c
}

// Name returns "Linear" and the object.
func (c LinearCheck) Name() string { return fmt.Sprintf("Linear(%s)", c.object) }

// Evaluate searches an order for every key.
func (c LinearCheck) Evaluate(h *history.History) check.Verdict {
	v := check.Verdict{Check: c.Name(), Want: "one order of all calls", Status: check.StatusPassed}
	keys, calls, unknown := c.operations(h)
	if calls == 0 {
		v.Status, v.Got = check.StatusInconclusive, "nothing to judge"
		v.Why = []string{fmt.Sprintf("no call of %q was recorded: use linear.NewRegisters or linear.Record", c.object)}
		return v
	}
	var wrong, open int
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		result, info := porcupine.CheckOperationsVerbose(c.model, keys[key], c.timeout)
		switch result {
		case porcupine.Illegal:
			wrong++
			v.Why = append(v.Why, c.explain(key, keys[key], info)...)
		case porcupine.Unknown:
			open++
			v.Why = append(v.Why, fmt.Sprintf("key %q: no answer within %v for %d calls", key, c.timeout, len(keys[key])))
		}
	}
	v.Got = fmt.Sprintf("%d of %d keys without an order", wrong, len(keys))
	v.Why = append(v.Why, fmt.Sprintf("%d calls, of which %d have no known outcome", calls, unknown))
	switch {
	case wrong > 0:
		v.Status = check.StatusFailed
	case open > 0:
		v.Status = check.StatusInconclusive
	case unknown == calls:
		v.Status, v.Got = check.StatusInconclusive, "nothing to judge"
	}
	return v
}

// operations returns the calls of the object by key, how many there are, and of how many nobody knows the outcome.
func (c LinearCheck) operations(h *history.History) (keys map[string][]porcupine.Operation, calls, unknown int) {
	keys = map[string][]porcupine.Operation{}
	for _, call := range h.Calls() {
		if call.Object != c.object {
			continue
		}
		calls++
		op := porcupine.Operation{ClientId: call.Client, Input: call.Input, Call: int64(call.Start), Output: call.Output, Return: int64(call.End)}
		if !call.Known {
			unknown++
			op.Output, op.Return = nil, math.MaxInt64
		}
		keys[call.Key] = append(keys[call.Key], op)
	}
	for key, ops := range keys {
		keys[key] = needed(ops)
	}
	return keys, calls, unknown
}

// needed leaves out what cannot decide anything.
func needed(ops []porcupine.Operation) []porcupine.Operation {
	met, refused := seen(ops), slices.ContainsFunc(ops, refusedSwap)
	return slices.DeleteFunc(ops, func(op porcupine.Operation) bool {
		in, ok := op.Input.(input)
		return ok && op.Output == nil && (in.step == stepRead || in.step == stepWrite && !met[in.to.text] && !refused)
	})
}

// refusedSwap reports whether a call was told that the key holds another value than it expected: any write of unknown
// outcome may be why.
func refusedSwap(op porcupine.Operation) bool {
	in, ok := op.Input.(input)
	got, known := op.Output.(output)
	return ok && known && in.step == stepSwap && !got.swapped
}

// maxCalls is how many calls around the contradiction are named.
const maxCalls = 6

// explain names the calls that no order has room for.
func (c LinearCheck) explain(key string, ops []porcupine.Operation, info porcupine.LinearizationInfo) []string {
	best := map[int]bool{}
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(best) {
				clear(best)
				for _, i := range order {
					best[i] = true
				}
			}
		}
	}
	lines := []string{fmt.Sprintf("key %q: an order exists for %d of %d calls, and then:", key, len(best), len(ops))}
	var left []porcupine.Operation
	for i, op := range ops {
		if !best[i] {
			left = append(left, op)
		}
	}
	slices.SortStableFunc(left, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for _, op := range left[:min(len(left), maxCalls)] {
		lines = append(lines, fmt.Sprintf("  from %v to %s client %d: %s", time.Duration(op.Call), ended(op), op.ClientId, describe(op.Input, op.Output)))
	}
	if c.dir != "" {
		lines = append(lines, c.picture(key, info))
	}
	return lines
}

func ended(op porcupine.Operation) string {
	if op.Return == math.MaxInt64 {
		return "the end"
	}
	return time.Duration(op.Return).String()
}

// picture writes the picture of a key and says where.
func (c LinearCheck) picture(key string, info porcupine.LinearizationInfo) string {
	name := strings.NewReplacer("/", "_", "\\", "_", " ", "_", ":", "_").Replace(c.object+"-"+key) + ".html"
	path := filepath.Join(c.dir, name)
	err := os.MkdirAll(c.dir, 0o755)
	if err == nil {
		err = porcupine.VisualizePath(c.model, info, path)
	}
	if err != nil {
		return fmt.Sprintf("no picture: %v", err)
	}
	return "picture in " + path
}
