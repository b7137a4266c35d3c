package sqstest

import (
	"cmp"
	"encoding/base64"
	"slices"
	"time"
)

// moveRate is how many messages a second a task moves that names no rate; SQS decides by itself then, up to this.
const moveRate = 500

// moveLists is how many tasks of a queue are remembered and listed.
const moveLists = 10

// A move is a message move task: it takes the visible messages of a dead-letter queue to another queue, or each to the
// queue it came from, some a second. The Region's mutex guards it.
type move struct {
	region  *region
	handle  string
	source  *queue
	target  string // ARN; "" = where each message came from
	rate    int
	started time.Time
	status  string // RUNNING, COMPLETED, FAILED, CANCELLED
	failure string
	moved   int
	total   int
	timer   *time.Timer
}

const (
	moveRunning   = "RUNNING"
	moveCompleted = "COMPLETED"
	moveFailed    = "FAILED"
	moveCancelled = "CANCELLED"
)

func startMessageMoveTask(c *call, now time.Time) (any, *apiError) {
	g := c.region
	source, err := c.moveSource(now)
	if err != nil {
		return nil, err
	}
	rate := moveRate
	if n := c.in.MaxNumberOfMessagesPerSecond; n != nil {
		if rate = *n; rate < 1 || rate > moveRate {
			return nil, badParameter("MaxNumberOfMessagesPerSecond", rate, "Must be between 1 and 500, if provided.")
		}
	}
	if c.in.DestinationArn != "" {
		target := g.byARN(c.in.DestinationArn)
		switch {
		case target == nil:
			return nil, errNoResource.with("The resource that you specified for the DestinationArn parameter doesn't exist.")
		case target == source || target.fifo != source.fifo:
			return nil, badParameter("DestinationArn", c.in.DestinationArn, "Must be another queue of the same type.")
		}
	}
	for _, m := range g.moves {
		if m.source == source && m.status == moveRunning {
			return nil, errUnsupported.with("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
	}
	m := &move{
		region: g, handle: base64.StdEncoding.EncodeToString([]byte(g.uuid())), source: source, target: c.in.DestinationArn, rate: rate,
		started: now, status: moveRunning, total: source.visible(),
	}
	g.moves = append(g.moves, m)
	m.step(now)
	return moveOutput{TaskHandle: m.handle}, nil
}

// moveSource finds the queue of SourceArn, which must be some queue's dead-letter queue.
func (c *call) moveSource(now time.Time) (*queue, *apiError) {
	if c.in.SourceArn == "" {
		return nil, missing("SourceArn")
	}
	source := c.region.byARN(c.in.SourceArn)
	if source == nil {
		return nil, errNoResource.with("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	for _, q := range c.region.queues {
		if q.redrive != nil && q.redrive.Target == source.arn {
			source.advance(now)
			return source, nil
		}
	}
	return nil, badParameter("SourceArn", c.in.SourceArn, "Source queue must be configured as a Dead Letter Queue.")
}

func listMessageMoveTasks(c *call, now time.Time) (any, *apiError) {
	source, err := c.moveSource(now)
	if err != nil {
		return nil, err
	}
	most := 1
	if n := c.in.MaxResults; n != nil {
		if most = *n; most < 1 || most > moveLists {
			return nil, badParameter("MaxResults", most, "Must be between 1 and 10, if provided.")
		}
	}
	out := listMovesOutput{Results: []moveEntry{}}
	for _, m := range slices.Backward(c.region.moves) {
		if m.source == source && len(out.Results) < most {
			out.Results = append(out.Results, m.entry())
		}
	}
	return out, nil
}

func (m *move) entry() moveEntry {
	e := moveEntry{
		ApproximateNumberOfMessagesMoved: m.moved, ApproximateNumberOfMessagesToMove: m.total, DestinationArn: m.target, FailureReason: m.failure,
		MaxNumberOfMessagesPerSecond: m.rate, SourceArn: m.source.arn, StartedTimestamp: m.started.UnixMilli(), Status: m.status,
	}
	if m.status == moveRunning {
		e.TaskHandle = m.handle
	}
	return e
}

func cancelMessageMoveTask(c *call) (any, *apiError) {
	for _, m := range c.region.moves {
		if m.handle == c.in.TaskHandle && m.status == moveRunning {
			m.end(moveCancelled, "")
			return moveOutput{ApproximateNumberOfMessagesMoved: &m.moved}, nil
		}
	}
	return nil, errNoResource.with("The task does not exist, or does not run.")
}

// tick goes on with the task, outside any request.
func (m *move) tick() {
	m.region.mu.Lock()
	defer m.region.mu.Unlock()
	if m.status != moveRunning || m.region.server.closed() {
		return
	}
	now := time.Now()
	m.source.advance(now)
	m.step(now)
	m.region.settle(now)
}

// step moves what a second allows, oldest first, and comes again in a second. A message that cannot be moved ends it.
func (m *move) step(now time.Time) {
	visible := m.source.visibleMessages()
	for _, x := range visible[:min(m.rate, m.total-m.moved, len(visible))] {
		target := m.region.byARN(cmp.Or(m.target, x.source))
		if target == nil {
			m.end(moveFailed, "CouldNotDetermineMessageSource")
			return
		}
		m.take(x, target, now)
	}
	if m.moved == m.total || len(visible) <= m.rate {
		m.end(moveCompleted, "")
		return
	}
	m.timer = time.AfterFunc(time.Second, m.tick)
}

func (m *move) end(status, failure string) {
	m.status, m.failure = status, failure
	if m.timer != nil {
		m.timer.Stop()
	}
}

// take moves one message. It is new in its queue: new id, new age, no receives.
func (m *move) take(x *message, target *queue, now time.Time) {
	g := m.region
	m.source.remove(x)
	x.num, x.id, x.sequence = g.nextNumber(), g.uuid(), g.nextSequence()
	x.sent, x.kept, x.first, x.receives, x.source = g.stamp(), now, time.Time{}, 0, ""
	target.add(x, now, 0)
	target.totals.Sent++
	g.changed(target)
	m.moved++
}

// visibleMessages are those that may be received, oldest first.
func (q *queue) visibleMessages() []*message {
	var visible []*message
	for _, m := range q.messages {
		if m.state == stateVisible {
			visible = append(visible, m)
		}
	}
	slices.SortFunc(visible, func(a, b *message) int { return cmp.Compare(a.sequence, b.sequence) })
	return visible
}
