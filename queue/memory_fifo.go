package queue

import "slices"

// A memoryGroup is the messages of one FIFO group in order. Nothing is handed out while any of them is leased,
// except to the holder's own batch.
type memoryGroup struct {
	name     string
	messages []*memoryMessage
	leased   int
	batch    int  // messages handed out since the group was last free: a batch may take several
	queued   bool // in Memory.open
}

func (m *Memory) groupLocked(name string) *memoryGroup {
	g := m.groups[name]
	if g == nil {
		g = &memoryGroup{name: name}
		m.groups[name] = g
	}
	return g
}

func (g *memoryGroup) append(m *Memory, msg *memoryMessage) {
	msg.group = g
	g.messages = append(g.messages, msg)
	g.offer(m)
}

// offer puts the group in line if its head may be taken.
func (g *memoryGroup) offer(m *Memory) {
	if g.leased == 0 && len(g.messages) > 0 && !g.queued {
		g.queued, g.batch = true, 0
		m.open.push(g)
	}
}

// head is the next message to hand out: only a batch that began with the group free may take several.
func (g *memoryGroup) head() *memoryMessage {
	if g.leased != g.batch || g.batch >= len(g.messages) {
		return nil
	}
	return g.messages[g.batch]
}

func (g *memoryGroup) taken() {
	g.leased++
	g.batch++
}

// back ends a lease.
func (g *memoryGroup) back(m *Memory) {
	g.leased--
	g.offer(m)
}

// remove takes msg out; a leased one frees its place.
func (g *memoryGroup) remove(m *Memory, msg *memoryMessage, leased bool) {
	if leased {
		g.leased--
	}
	g.messages = slices.DeleteFunc(g.messages, func(x *memoryMessage) bool { return x == msg })
	if len(g.messages) == 0 && !g.queued {
		delete(m.groups, g.name)
		return
	}
	g.offer(m)
}

// reopenLocked ends the batch of a Receive: a group it has taken from stays closed until all of it is back.
func (m *Memory) reopenLocked() {
	if g, ok := m.open.peek(); ok && g.leased > 0 {
		m.closeLocked(g)
	}
}

// closeLocked takes the first group out of line.
func (m *Memory) closeLocked(g *memoryGroup) {
	g.queued = false
	m.open.pop()
	if len(g.messages) == 0 {
		delete(m.groups, g.name)
	}
}
