package sqstest

import (
	"time"
)

// A queue holds messages in lanes. A lane is a message group; messages without a group share one.
//
// Three heaps keep the queue's time: lanes whose head may be received, leases and delays that end,
// and messages that grow too old. Nothing runs between requests: every action first calls advance.
type queue struct {
	region     *region
	name, arn  string
	fifo       bool
	attributes map[string]string
	settings
	tags              map[string]string
	created, modified time.Time
	purged            time.Time

	messages map[uint64]*message
	lanes    map[string]*lane
	ready    heap[*lane]
	timers   heap[*message]
	ages     heap[*message]
	inFlight int
	delayed  int
	order    uint64

	remembered map[string]*sent // deduplication ids of the last five minutes
	forget     []*sent          // the same, oldest first
	attempts   map[string]*attempt

	polls  []*poll // open long polls, oldest first
	alarm  *time.Timer
	totals Totals
}

// A lane is one message group of a queue. A FIFO lane also holds its delayed messages, so that none
// overtakes them; a standard lane holds what may be received.
type lane struct {
	group    string
	held     heap[*message]
	inFlight int
	inReady  int
}

// A sent is what a FIFO queue remembers of a message after it is gone.
type sent struct {
	key      string
	until    time.Time
	id       string
	sequence uint64
}

func newQueue(g *region, name string, fifo bool) *queue {
	q := &queue{
		region: g, name: name, arn: g.arn(name), fifo: fifo,
		messages: map[uint64]*message{}, lanes: map[string]*lane{},
		remembered: map[string]*sent{}, attempts: map[string]*attempt{}, tags: map[string]string{},
	}
	q.ready = heap[*lane]{
		less:  func(a, b *lane) bool { return a.held.min().order < b.held.min().order },
		place: func(l *lane) *int { return &l.inReady },
	}
	q.timers = heap[*message]{
		less: func(a, b *message) bool {
			if a.visibleAt.Equal(b.visibleAt) {
				return a.sequence < b.sequence
			}
			return a.visibleAt.Before(b.visibleAt)
		},
		place: func(m *message) *int { return &m.inTimer },
	}
	q.ages = heap[*message]{
		less:  func(a, b *message) bool { return a.kept.Before(b.kept) },
		place: func(m *message) *int { return &m.inAge },
	}
	return q
}

func (q *queue) visible() int { return len(q.messages) - q.inFlight - q.delayed }

// advance brings the queue to now: what grew too old goes, what was delayed or leased comes back.
func (q *queue) advance(now time.Time) {
	for q.ages.len() > 0 && !now.Before(q.ages.min().kept.Add(q.retention)) {
		q.totals.Expired++
		q.remove(q.ages.min())
	}
	for q.timers.len() > 0 && !now.Before(q.timers.min().visibleAt) {
		q.show(q.timers.min())
	}
}

// add stores a message; delay zero makes it visible at once.
func (q *queue) add(m *message, now time.Time, delay time.Duration) {
	m.here, m.receipt, m.touched = 0, 0, false
	q.messages[m.num] = m
	q.ages.put(m)
	m.lane = q.lane(m.group)
	m.order = m.sequence
	if delay > 0 {
		m.state, m.visibleAt = stateDelayed, now.Add(delay)
		q.delayed++
		q.timers.put(m)
		if q.fifo {
			m.lane.held.put(m)
			q.place(m.lane)
		}
		return
	}
	m.state = stateVisible
	q.enter(m)
}

func (q *queue) lane(group string) *lane {
	l := q.lanes[group]
	if l == nil {
		l = &lane{group: group}
		l.held = heap[*message]{
			less:  func(a, b *message) bool { return a.order < b.order },
			place: func(m *message) *int { return &m.inLane },
		}
		q.lanes[group] = l
	}
	return l
}

// enter puts a visible message in its lane: by age on FIFO, behind the others on standard queues,
// so that a message that fails again and again does not starve the rest.
func (q *queue) enter(m *message) {
	if !q.fifo {
		q.order++
		m.order = q.order
	}
	m.lane.held.put(m)
	q.place(m.lane)
}

// show makes a delayed or leased message visible.
func (q *queue) show(m *message) {
	q.timers.drop(m)
	q.leave(m)
	m.state = stateVisible
	q.enter(m)
}

// leave takes a message out of the count of its state.
func (q *queue) leave(m *message) {
	switch m.state {
	case stateInFlight:
		q.inFlight--
		m.lane.inFlight--
	case stateDelayed:
		q.delayed--
	}
}

// lease hides a visible message from other consumers.
func (q *queue) lease(m *message, now time.Time, visibility time.Duration) {
	m.lane.held.drop(m)
	m.state, m.visibleAt, m.leasedAt, m.touched = stateInFlight, now.Add(visibility), now, false
	q.inFlight++
	m.lane.inFlight++
	q.timers.put(m)
	q.place(m.lane)
}

// remove takes the message out of the queue altogether.
func (q *queue) remove(m *message) {
	q.leave(m)
	q.timers.drop(m)
	q.ages.drop(m)
	m.lane.held.drop(m)
	q.place(m.lane)
	if m.lane.held.len() == 0 && m.lane.inFlight == 0 {
		delete(q.lanes, m.lane.group)
	}
	delete(q.messages, m.num)
}

// place decides whether the lane's head may be received. A FIFO lane is closed while any of its
// messages is in flight or its head is still delayed.
func (q *queue) place(l *lane) {
	open := l.held.len() > 0
	if q.fifo && open {
		open = l.inFlight == 0 && l.held.min().state == stateVisible
	}
	if open {
		q.ready.put(l)
	} else {
		q.ready.drop(l)
	}
}

// take leases up to most messages. It moves to the dead-letter queue what was received too often.
func (q *queue) take(p *poll, now time.Time) []delivery {
	var got []delivery
	var twins []*message
	for len(got) < p.most && q.inFlight < q.region.server.inFlight {
		l := q.next()
		if l == nil {
			break
		}
		// A FIFO lane closes at its first lease; the messages behind it still belong to this receive.
		for more := true; more; {
			m := l.held.min()
			if !q.bury(m, now) {
				got = append(got, q.deliver(m, p, now))
				if p.twice && !q.fifo && !m.doubled {
					m.doubled = true
					twins = append(twins, m)
				}
			}
			more = q.fifo && len(got) < p.most && l.held.len() > 0 && l.held.min().state == stateVisible
		}
	}
	for _, m := range twins {
		q.double(m, now)
	}
	return got
}

// next returns the open lane with the oldest head, those of noisy tenants last; nil when all are closed.
func (q *queue) next() *lane {
	if q.ready.len() == 0 {
		return nil
	}
	if q.fifo || q.inFlight < noisyInFlight {
		return q.ready.min()
	}
	var noisy []*lane
	for q.ready.len() > 0 && q.noisy(q.ready.min()) {
		noisy = append(noisy, q.ready.min())
		q.ready.drop(q.ready.min())
	}
	best := noisy
	if q.ready.len() > 0 {
		best = []*lane{q.ready.min()}
	}
	for _, l := range noisy {
		q.ready.put(l)
	}
	return best[0]
}

// noisy applies the in-flight rule of fair queues. A message without a group is a tenant of its own.
func (q *queue) noisy(l *lane) bool {
	return l.group != "" && l.inFlight >= noisyInFlight && l.inFlight*100 > q.inFlight*noisyShare
}

// A delivery is a message as one receive saw it.
type delivery struct {
	*content
	id, group, dedup, sender, source string
	sequence                         uint64
	sent, first                      time.Time
	receives                         int
	num, receipt                     uint64
}

// deliver leases one message.
func (q *queue) deliver(m *message, p *poll, now time.Time) delivery {
	if m.receives == 0 {
		m.first = q.region.stamp()
	}
	m.receives++
	m.here++
	m.receipt = q.region.nextReceipt()
	q.totals.Received++
	q.lease(m, now, p.visibility)
	return q.seen(m)
}

func (q *queue) seen(m *message) delivery {
	return delivery{
		content: m.content, id: m.id, group: m.group, dedup: m.dedup, sender: m.sender, source: m.source,
		sequence: m.sequence, sent: m.sent, first: m.first, receives: m.receives,
		num: m.num, receipt: m.receipt,
	}
}

// double stores a visible twin of m with the same MessageId: the copy on a server that missed the
// receive, which a standard queue may deliver as well.
func (q *queue) double(m *message, now time.Time) {
	twin := *m
	twin.inLane, twin.inTimer, twin.inAge = 0, 0, 0
	twin.num, twin.sequence = q.region.nextNumber(), q.region.nextSequence()
	q.totals.Doubled++
	q.add(&twin, now, 0)
}

// bury moves m to the dead-letter queue when it was received too often.
func (q *queue) bury(m *message, now time.Time) bool {
	if q.redrive == nil || m.here < q.redrive.Max {
		return false
	}
	target := q.region.byARN(q.redrive.Target)
	if target == nil || target == q {
		return false
	}
	q.remove(m)
	q.totals.DeadLettered++
	m.source = q.arn
	m.sequence = q.region.nextSequence()
	if target.fifo {
		m.kept = now // a standard queue keeps the age of the original message
	}
	target.add(m, now, 0)
	target.totals.Sent++
	q.region.changed(target)
	return true
}
