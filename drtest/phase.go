package drtest

import (
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// An edge is the time from the start of a fault to its end.
type edge struct{ from, to time.Duration }

// nextPhase returns the first instant at or after t whose sub-grain remainder is phase.
func nextPhase(t, phase time.Duration) time.Duration {
	d := (phase - t) % simnet.Grain
	if d < 0 {
		d += simnet.Grain
	}
	return t + d
}

// A lattice gives the arrivals of one load lanes below simnet.Grain: different ones to its clients, and to the
// operations of a client that may be under way together.
type lattice struct {
	base, clients, turns int
}

func (l lattice) offset(client, seq int) time.Duration {
	return simnet.Lane * time.Duration(l.base+client%l.clients+l.clients*(seq%l.turns))
}

// sourceLanes is how many lanes are for single sources: faults, processes, tickers. The rest is for loads.
const sourceLanes = 2000

// lattices hands out the lanes above sourceLanes: half of what is left to each load.
type lattices struct{ used int }

func (ls *lattices) next(clients int) lattice {
	free := int(simnet.Grain/simnet.Lane) - sourceLanes - ls.used
	size := max(free/2, 1)
	l := lattice{base: sourceLanes + ls.used, clients: min(clients, size), turns: primeUpTo(size / clients)}
	ls.used += size
	return l
}

// primeUpTo returns the largest prime up to n, at least 1. A client comes back to a lane after so many
// operations: a round number of them could take just as long as a time-out.
func primeUpTo(n int) int {
	for ; n > 1; n-- {
		prime := true
		for d := 2; d*d <= n; d++ {
			prime = prime && n%d != 0
		}
		if prime {
			return n
		}
	}
	return 1
}

// nearEdge reports whether an instant is one at which a thinned load sends everything.
func (w *World) nearEdge(at time.Duration, e Edges) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	near := func(edge time.Duration) bool { return at >= edge-e.Before && at <= edge+e.After }
	for _, x := range w.edges {
		if near(x.from) || near(x.to) {
			return true
		}
	}
	for _, p := range w.timeline {
		if p.wanted != nil {
			continue
		}
		from := p.base + p.Start
		if near(from) || near(p.base+p.end()) {
			return true
		}
		if (p.FlapOn > 0 || p.RampUp > 0) && at >= from && at <= p.base+p.end() {
			return true
		}
	}
	return false
}
