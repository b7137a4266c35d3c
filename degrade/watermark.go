package degrade

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// Marks are water marks of a number that is worse the higher it is, such as a queue's depth or a replica's lag. The state
// gets worse above a High and better again only below the Low beside it.
type Marks struct {
	ImpairedHigh, ImpairedLow float64
	DownHigh, DownLow         float64 // both 0 = never Down
}

// Watermark makes a DependencyConfig.Poll of a number. A number that is not one is an error of the poll.
func Watermark(read func(context.Context) (float64, error), m Marks) (func(context.Context) (State, error), error) {
	switch {
	case !(m.ImpairedLow <= m.ImpairedHigh) || !(m.DownLow <= m.DownHigh):
		return nil, fmt.Errorf("degrade: Marks: a low mark is above its high mark: %+v", m)
	case m.DownHigh == 0 && m.DownLow == 0:
		m.DownHigh, m.DownLow = math.Inf(1), math.Inf(1)
	case m.DownHigh < m.ImpairedHigh || m.DownLow < m.ImpairedLow:
		return nil, fmt.Errorf("degrade: Marks: Down begins before Impaired: %+v", m)
	}
	var mu sync.Mutex // guards state
	state := StateOK
	return func(ctx context.Context) (State, error) {
		n, err := read(ctx)
		if err != nil {
			return StateUnknown, err
		}
		if math.IsNaN(n) {
			return StateUnknown, fmt.Errorf("degrade: Watermark: not a number")
		}
		mu.Lock()
		defer mu.Unlock()
		state = m.next(state, n)
		return state, nil
	}, nil
}

// next is the state after n was read in state s.
func (m *Marks) next(s State, n float64) State {
	switch {
	case n > m.DownHigh, s == StateDown && n >= m.DownLow:
		return StateDown
	case n > m.ImpairedHigh, s >= StateImpaired && n >= m.ImpairedLow:
		return StateImpaired
	}
	return StateOK
}
