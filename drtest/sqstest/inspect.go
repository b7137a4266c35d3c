package sqstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Calls counts the requests of one action.
type Calls struct {
	Requests int // all that were read
	Errors   int // answered with an error, injected ones included; a batch with failed entries is none
	Faulted  int // hit by a [Fault], or by a Gray or Throttle fault of the World
}

func (s *Server) countLocked(op string, p plan) {
	c := s.calls[op]
	if c == nil {
		c = new(Calls)
		s.calls[op] = c
	}
	c.Requests++
	if p.hit {
		c.Faulted++
	}
}

func (s *Server) countError(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op].Errors++
}

// countRefused counts a request that never reached the server.
func (s *Server) countRefused(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countLocked(op, plan{hit: true})
	s.calls[op].Errors++
}

// Calls returns the counts of one action, such as "SendMessage", over all Regions and queues.
func (s *Server) Calls(op string) Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[op]; c != nil {
		return *c
	}
	return Calls{}
}

// A Queue looks into one queue of a server, past the protocol: no call of it is counted, hit by a
// fault or seen by consumers.
type Queue struct {
	server *Server
	region *region
	queue  *queue
}

// Queue returns the home Region's queue of that name. It creates a queue that does not exist, with
// default attributes; a name that ends in .fifo makes a FIFO queue with content-based
// deduplication. It panics on a name that SQS refuses.
func (s *Server) Queue(name string) *Queue {
	g := s.in(s.home())
	g.mu.Lock()
	q := g.queues[name]
	g.mu.Unlock()
	if q != nil {
		return &Queue{s, g, q}
	}
	var attributes map[string]string
	if strings.HasSuffix(name, ".fifo") {
		attributes = map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	}
	made, err := s.CreateQueue(name, attributes)
	if err != nil {
		panic(err.Error())
	}
	return made
}

// CreateQueue creates a queue in the home Region with attributes as CreateQueue of the API has
// them, or returns the one that has them already. Its errors are those of the API.
func (s *Server) CreateQueue(name string, attributes map[string]string) (*Queue, error) {
	g := s.in(s.home())
	g.mu.Lock()
	defer g.mu.Unlock()
	q, err := g.create(name, attributes, nil, time.Now())
	if err != nil {
		return nil, fmt.Errorf("sqstest: CreateQueue %q: %w", name, err)
	}
	return &Queue{s, g, q}, nil
}

// Queues returns the queues of a Region, by name.
func (s *Server) Queues(region string) []*Queue {
	g := s.in(region)
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*Queue
	for _, name := range slices.Sorted(maps.Keys(g.queues)) {
		all = append(all, &Queue{s, g, g.queues[name]})
	}
	return all
}

// Name returns the queue's name.
func (q *Queue) Name() string { return q.queue.name }

// ARN returns the queue's Amazon resource name.
func (q *Queue) ARN() string { return q.queue.arn }

// URL returns the queue's URL at the server's endpoint. Without Config.Endpoint the server does
// not know its own host: the URL then starts with the account, which this server accepts too.
func (q *Queue) URL() string { return q.server.endpoint + "/" + q.server.account + "/" + q.queue.name }

// Counts says where a queue's messages are.
type Counts struct {
	Visible  int
	InFlight int
	Delayed  int
}

// Total is the number of messages that the queue holds.
func (c Counts) Total() int { return c.Visible + c.InFlight + c.Delayed }

// Counts returns the exact numbers behind the Approximate attributes.
func (q *Queue) Counts() Counts {
	defer q.look()()
	return Counts{Visible: q.queue.visible(), InFlight: q.queue.inFlight, Delayed: q.queue.delayed}
}

// Depth returns the number of messages that the queue holds, in whatever state.
func (q *Queue) Depth() int { return q.Counts().Total() }

// Polls returns how many long polls are open, those of clients that hung up included.
func (q *Queue) Polls() int {
	defer q.look()()
	return len(q.queue.polls)
}

// Totals counts what happened to a queue's messages since it was created.
type Totals struct {
	Sent         int // stored: by producers, twice under a Duplicate fault, and by redrive from other queues
	Received     int // deliveries, redeliveries included
	Deleted      int // by consumers
	Purged       int
	Expired      int // older than the retention period
	DeadLettered int // moved to the dead-letter queue
	Deduplicated int // accepted but not stored by a FIFO queue
	Doubled      int // twins that Duplicate faults made of received messages
}

// Totals returns the counts of what happened so far.
func (q *Queue) Totals() Totals {
	defer q.look()()
	return q.queue.totals
}

// A Message is a message in a queue as [Queue.Messages] shows it.
type Message struct {
	ID, Body, Group, DedupID string
	Attributes               map[string]string // message attributes; binary values as they are
	Trace                    string            // AWSTraceHeader
	State                    string            // "visible", "in flight" or "delayed"
	Sent                     time.Time
	VisibleAt                time.Time // end of its delay or lease; zero when visible
	Receives                 int
	SourceARN                string // queue that it was dead-lettered from
}

// Messages returns every message of the queue in the order in which they were stored. It changes nothing.
func (q *Queue) Messages() []Message {
	defer q.look()()
	var all []Message
	for _, m := range slices.SortedFunc(maps.Values(q.queue.messages), func(a, b *message) int {
		if a.sequence < b.sequence {
			return -1
		}
		return 1
	}) {
		all = append(all, m.view())
	}
	return all
}

func (m *message) view() Message {
	v := Message{
		ID: m.id, Body: m.body, Group: m.group, DedupID: m.dedup, Trace: m.trace,
		Sent: m.sent, Receives: m.receives, SourceARN: m.source, Attributes: map[string]string{},
	}
	switch m.state {
	case stateDelayed:
		v.State, v.VisibleAt = "delayed", m.visibleAt
	case stateInFlight:
		v.State, v.VisibleAt = "in flight", m.visibleAt
	default:
		v.State = "visible"
	}
	for name, field := range m.fields {
		v.Attributes[name] = field.value()
	}
	return v
}

// look locks the queue, brings it to now, and returns the unlock.
func (q *Queue) look() (unlock func()) {
	q.region.mu.Lock()
	now := time.Now()
	q.queue.advance(now)
	q.queue.hand(now)
	q.region.settle(now)
	return q.region.mu.Unlock
}
