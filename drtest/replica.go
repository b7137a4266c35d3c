package drtest

import (
	"fmt"
	"time"
)

// A Replica is a copy that follows its source, on which faults of replication act. A [Store] that is a replica is
// one by itself; a server of another kind is made known with [World.AddReplica]. Functions that undo may be called when
// the copy follows no longer, and then do nothing.
type Replica interface {
	// Delay keeps the copy that much further behind.
	Delay(add time.Duration) (undo func())

	// Pause holds back what is on its way.
	Pause() (undo func())

	// Break ends the replication; rebuild starts it again from a new copy.
	Break() (rebuild func())
}

// AddReplica lets faults of replication name a copy. Names are shared with stores; a later replica takes the place
// of one of the same name.
func (w *World) AddReplica(name string, r Replica) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stores[name] != nil {
		panic(fmt.Sprintf("drtest: AddReplica(%q): there is a store of that name", name))
	}
	w.replicas[name] = r
}

// replica returns what follows under a name, or nil.
func (w *World) replica(name string) Replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.stores[name]; s != nil {
		return storeReplica{s}
	}
	return w.replicas[name]
}

type storeReplica struct{ s *Store }

func (r storeReplica) Delay(add time.Duration) (undo func()) { return r.s.delay(add) }
func (r storeReplica) Pause() (undo func())                  { return r.s.pause() }
func (r storeReplica) Break() (rebuild func())               { return r.s.breakOff() }
