package queue

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// startLocked starts waiting messages while workers are free.
func (w *Worker) startLocked() {
	for w.running < w.config.Workers {
		h := w.pickLocked()
		if h == nil {
			return
		}
		w.handLocked(h)
	}
}

// handLocked gives h to a handler goroutine: an idle one, or a new one. They live until the drain, because a new goroutine
// would grow its stack anew for every call.
func (w *Worker) handLocked(h *held) {
	if n := len(w.resting); n > 0 {
		c := w.resting[n-1]
		w.resting = w.resting[:n-1]
		c <- h // has room: one that rests has taken what it was given
		return
	}
	go w.work(h) // ends with the drain, see Worker.rest; Run waits for w.running to be 0
}

// pickLocked takes the next message to run out of the waiting ones and counts it as running: the oldest of the
// tenant that holds the fewest workers. A drain starts none: they are given back when the polls have ended.
func (w *Worker) pickLocked() *held {
	if len(w.waiting) == 0 || w.draining() {
		return nil
	}
	best, fewest := -1, 0
	for i, h := range w.waiting {
		if !w.mayStartLocked(h) {
			continue
		}
		n := w.tenants[h.message.Tenant]
		if best < 0 || n < fewest {
			best, fewest = i, n
		}
		if fewest == 0 {
			break
		}
	}
	if best < 0 {
		return nil
	}
	h := w.waiting[best]
	w.waiting = slices.Delete(w.waiting, best, best+1)
	w.countLocked(h, 1)
	return h
}

// countLocked adds to what h's tenant, handler and group run.
func (w *Worker) countLocked(h *held, delta int) {
	w.running += delta
	if tenant := h.message.Tenant; tenant != "" {
		if w.tenants[tenant] += delta; w.tenants[tenant] == 0 {
			delete(w.tenants, tenant)
		}
	}
	if h.handler != nil {
		h.handler.running += delta
	}
	if h.group != nil {
		h.group.busy = delta > 0
	}
}

// mayStartLocked reports whether only a free worker is missing.
func (w *Worker) mayStartLocked(h *held) bool {
	if h.group != nil && (h.group.busy || h.group.members[0] != h) {
		return false
	}
	return h.putOff > 0 || !w.cappedLocked(h)
}

// cappedLocked reports whether h's tenant or handler has all it may have.
func (w *Worker) cappedLocked(h *held) bool {
	if tenant := h.message.Tenant; tenant != "" && w.tenants[tenant] >= w.config.PerTenant {
		return true
	}
	return h.handler != nil && h.handler.config.Concurrency > 0 && h.handler.running >= h.handler.config.Concurrency
}

// overflowsLocked: of messages that wait for their tenant or handler, only as many are kept here as there are
// workers. More would fill the worker with them; they are put off, so that others get through.
func (w *Worker) overflowsLocked(h *held) bool {
	return len(w.waiting) >= w.config.Workers && w.cappedLocked(h)
}

// runnableLocked counts waiting messages that will take the next free workers.
func (w *Worker) runnableLocked() (n int) {
	for _, h := range w.waiting {
		if w.mayStartLocked(h) {
			n++
		}
	}
	return n
}

// A group is what this worker holds of one FIFO group, in order.
type group struct {
	key     groupKey
	members []*held
	busy    bool // members[0] runs
}

type groupKey struct {
	source *workerSource
	name   string
}

func (w *Worker) joinGroupLocked(h *held) {
	if !h.source.limits.FIFO || h.message.Group == "" {
		return
	}
	key := groupKey{h.source, h.message.Group}
	g := w.groups[key]
	if g == nil {
		g = &group{key: key}
		w.groups[key] = g
	}
	g.members = append(g.members, h)
	h.group = g
}

func (w *Worker) leaveGroupLocked(h *held) {
	if h.group == nil {
		return
	}
	h.group.members = slices.DeleteFunc(h.group.members, func(x *held) bool { return x == h })
	if len(h.group.members) == 0 {
		delete(w.groups, h.group.key)
	}
}

// takeMatesLocked takes the waiting messages of h's group away from here, in order.
func (w *Worker) takeMatesLocked(h *held) (mates []*held) {
	if h.group == nil {
		return nil
	}
	for _, x := range h.group.members {
		if x != h {
			mates = append(mates, x)
		}
	}
	for _, x := range mates {
		w.waiting = slices.DeleteFunc(w.waiting, func(y *held) bool { return x == y })
		w.forgetLocked(x)
	}
	return mates
}

// forgetLocked ends the keeping of h's lease.
func (w *Worker) forgetLocked(h *held) {
	w.held.remove(h)
	w.leaveGroupLocked(h)
}

// notAttemptLocked remembers that one receive of h's message was no attempt. Only this process knows; where the
// queue allows it a copy that carries the count is sent instead, see Worker.putOffTo.
func (w *Worker) notAttemptLocked(h *held) {
	if len(w.free) >= 10_000 {
		clear(w.free)
	}
	w.free[h.source.region+"/"+h.message.ID]++
}

// receivesLocked is the number of receives of h's message that count: this one, and those that failed.
func (w *Worker) receivesLocked(h *held) int {
	n := h.message.Receives
	if len(w.free) > 0 {
		n -= w.free[h.source.region+"/"+h.message.ID]
	}
	return max(1, n)
}

// followDead reports whether h's group goes to the dead-letter queue as a whole.
func (w *Worker) followDead(h *held) bool {
	if h.group == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.follow[h.group.key])
}

const (
	followFor = time.Hour
	followMax = 10_000 // groups
)

func (w *Worker) follows(h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.follow) >= followMax {
		clear(w.follow)
	}
	w.follow[h.group.key] = time.Now().Add(followFor)
}

// A waiter counts work and lets one goroutine wait for none, while more may be added.
type waiter struct {
	n    atomic.Int64
	mu   sync.Mutex // guards idle
	idle []chan struct{}
}

func (w *waiter) add(delta int) {
	if w.n.Add(int64(delta)) > 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n.Load() > 0 { // more has been added meanwhile: its end comes here too
		return
	}
	for _, c := range w.idle {
		close(c)
	}
	w.idle = nil
}

// wait returns a channel that is closed when nothing is counted.
func (w *waiter) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{})
	if w.n.Load() == 0 { // else the add that makes it so comes for the mutex
		close(c)
		return c
	}
	w.idle = append(w.idle, c)
	return c
}
