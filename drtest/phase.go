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

// A lattice gives the arrivals of one load sub-grain offsets: different ones to its clients, and to the
// operations of a client that may be under way together.
type lattice struct {
	base, clients, turns int
}

func (l lattice) offset(client, seq int) time.Duration {
	return time.Duration(l.base + client%l.clients + l.clients*(seq%l.turns))
}

// lattices hands out the offsets above sourcePhases: half of what is left to each load.
type lattices struct{ used int }

func (ls *lattices) next(clients int) lattice {
	free := int(simnet.Grain) - int(sourcePhases) - ls.used
	size := max(free/2, 1)
	l := lattice{base: int(sourcePhases) + ls.used, clients: min(clients, size), turns: max(size/clients, 1)}
	ls.used += size
	return l
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
