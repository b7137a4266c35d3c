package linear

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// registers is the model of one key. An output that is nil belongs to a call whose answer nobody knows.
var registers = porcupine.Model{
	Init: func() any { return value{} },
	Step: func(state, in, out any) (bool, any) {
		now, call := state.(value), in.(input)
		got, known := out.(output)
		switch call.step {
		case stepWrite, stepDelete:
			return true, call.to
		case stepSwap:
			if !known {
				got.swapped = now == call.from
			}
			if got.swapped != (now == call.from) {
				return false, now
			}
			if got.swapped {
				return true, call.to
			}
			return true, now
		}
		return !known || got.value == now, now
	},
	DescribeOperation: func(in, out any) string { return describe(in, out) },
	DescribeState:     func(state any) string { return state.(value).String() },
}

func (v value) String() string {
	if !v.ok {
		return "nothing"
	}
	return fmt.Sprintf("%q", v.text)
}

// String names the call.
func (i input) String() string {
	switch i.step {
	case stepWrite:
		return fmt.Sprintf("write %v", i.to)
	case stepDelete:
		return "delete"
	case stepSwap:
		return fmt.Sprintf("swap %v for %v", i.from, i.to)
	}
	return "read"
}

// String names the answer, for the hash of the history.
func (o output) String() string { return fmt.Sprintf("%v %v", o.value, o.swapped) }

// describe names a call with its answer.
func describe(in, out any) string {
	call, ok := in.(input)
	if !ok {
		return fmt.Sprintf("%v -> %v", in, out)
	}
	got, known := out.(output)
	switch {
	case !known:
		return fmt.Sprintf("%v -> not known", call)
	case call.step == stepRead:
		return fmt.Sprintf("read -> %v", got.value)
	case call.step == stepSwap && !got.swapped:
		return fmt.Sprintf("%v -> refused", call)
	}
	return call.String()
}

// seen returns the values that somebody is known to have met. A write of unknown outcome whose value is not among them
// can be left out, unless a swap was refused: where it happened, it was overwritten before anybody looked.
func seen(ops []porcupine.Operation) map[string]bool {
	out := map[string]bool{}
	for _, op := range ops {
		in, ok := op.Input.(input)
		if !ok {
			continue
		}
		if got, known := op.Output.(output); known && got.value.ok {
			out[got.value.text] = true
		}
		if in.step == stepSwap {
			out[in.from.text] = true
		}
	}
	return out
}
