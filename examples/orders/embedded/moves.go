package embedded

import (
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// A Move is what the coordinator has recorded of one move of the writer.
type Move struct {
	failover.Transition
	Phases []failover.Phase // those that it has been in
	Opened time.Time        // when the new writer could write; zero if it never did
}

// A Rebuilt is that a former writer's database became a copy of the writer's.
type Rebuilt struct {
	Store string
	At    time.Time
}

// moves is the list of both.
type moves struct {
	mu      sync.Mutex // guards the following
	all     []*Move
	rebuilt []Rebuilt
}

func (m *moves) rebuiltNow(store string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rebuilt = append(m.rebuilt, Rebuilt{store, time.Now()})
}

// Rebuilt returns which databases became copies again, the oldest first.
func (f *Fleet) Rebuilt() []Rebuilt {
	f.moves.mu.Lock()
	defer f.moves.mu.Unlock()
	return slices.Clone(f.moves.rebuilt)
}

// note takes in a record that was stored.
func (m *moves) note(r failover.Record) {
	t := r.Transition
	if t == nil {
		t = r.Last
	}
	if t == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.all, func(known *Move) bool { return known.ID == t.ID })
	if i < 0 {
		i = len(m.all)
		m.all = append(m.all, &Move{})
	}
	move := m.all[i]
	if r.Transition == nil && r.Phase != failover.PhaseSteady {
		return
	}
	move.Transition = *t
	if !slices.Contains(move.Phases, r.Phase) {
		move.Phases = append(move.Phases, r.Phase)
	}
	if move.Opened.IsZero() && r.Writer == t.To {
		move.Opened = r.Since
	}
}

// Moves returns every move of the writer that was asked for, the oldest first.
func (f *Fleet) Moves() (all []Move) {
	f.moves.mu.Lock()
	defer f.moves.mu.Unlock()
	for _, m := range f.moves.all {
		all = append(all, *m)
	}
	return all
}
