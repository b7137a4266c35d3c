package drtest

import (
	"context"
	"strconv"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// Machine returns a new zone of the Region for the clients of one life of a process, so that the process can die and not
// only be told to: when life ends the machine is gone for good. Nothing that was sent from it and has not arrived arrives,
// its connections are cut, nobody waits there for an answer any more, and all that is sent from then on is refused. What has
// arrived goes on where it is. The context that [Region.Go] hands to a process is such a life. Distances are those of the
// Region, and what happens to the Region happens to the machine. The Region must not be a zone itself.
//
// Goroutines cannot be stopped from outside: what a dead process still does with files and with memory that others read is
// the caller's to end.
func (r *Region) Machine(life context.Context) *Region {
	r.mu.Lock()
	r.machines++
	n := r.machines
	r.mu.Unlock()
	m := r.Zone("machine-" + strconv.Itoa(n))
	stop := context.AfterFunc(life, func() {
		if r.w.ctx.Err() == nil { // else all ends
			m.down(simnet.ModeRefuse)
		}
	})
	r.OnClose(func() { stop() })
	return m
}
