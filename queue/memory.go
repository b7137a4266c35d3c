package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// MemoryConfig configures a [Memory]. The zero value is ready to use.
type MemoryConfig struct {
	// Name is used in errors. Empty means "memory".
	Name string

	// Region is what receipts and messages say.
	Region string

	// FIFO makes it a FIFO queue: every message needs a group, groups are handed out in order and one holder at a
	// time, and a call ID sent twice within 5 minutes is one message.
	FIFO bool

	// Retention is how long a message lives from its sending. Zero means 14 days.
	Retention time.Duration

	// MaxReceives moves a message to the dead-letter queue by itself when it has been handed out more often, as SQS's
	// redrive policy does. Zero means never: the worker decides.
	MaxReceives int
}

// dedupWindow is how long a FIFO queue remembers a call ID.
const dedupWindow = 5 * time.Minute

// memoryLimits are SQS's, so that what fits here fits there.
const (
	batchMax      = 10
	messageMax    = 1 << 20
	nativeDelay   = 15 * time.Minute
	nativeLease   = 12 * time.Hour
	retentionDays = 14 * 24 * time.Hour
)

// Memory is a queue in this process with the semantics of SQS: leases, delays, FIFO groups, retention and a dead-letter
// queue, on the clock of the process (virtual in a synctest bubble). It is for tests, development, and calls that
// may die with the process. It starts no goroutine.
type Memory struct {
	config MemoryConfig
	dead   *Memory // nil in a dead-letter queue

	mu       sync.Mutex // guards the following
	next     uint64
	messages map[string]*memoryMessage
	ready    deque[*memoryMessage] // visible messages of a standard queue, and deleted ones not yet passed over
	groups   map[string]*memoryGroup
	open     deque[*memoryGroup] // groups that may have a visible head
	timed    timeHeap            // leased and delayed messages
	dedup    map[string]dedupEntry

	dedupPrune int             // size of dedup at which to drop old entries
	waiting    []chan struct{} // receivers to wake
	inFlight   int
	delayed    int
}

type memoryMessage struct {
	queue         *Memory
	out           Outgoing
	id            string
	sequence      uint64
	sent          time.Time
	firstReceived time.Time
	until         time.Time // end of the lease or delay
	lease         uint64    // number of the current lease; 0 = none
	receives      int
	index         int // in the heap; -1 outside
	gone          bool
	delayedNow    bool
	group         *memoryGroup
}

type dedupEntry struct {
	id    string
	until time.Time
}

// NewMemory returns an empty queue with an empty dead-letter queue.
func NewMemory(config MemoryConfig) (*Memory, error) {
	if config.Retention < 0 || config.MaxReceives < 0 {
		return nil, fmt.Errorf("queue: MemoryConfig: negative Retention or MaxReceives")
	}
	if config.Name == "" {
		config.Name = "memory"
	}
	if config.Retention == 0 {
		config.Retention = retentionDays
	}
	m := newMemory(config)
	letters := config
	letters.Name += "-dead"
	letters.MaxReceives = 0
	letters.Retention = retentionDays
	m.dead = newMemory(letters)
	return m, nil
}

func newMemory(config MemoryConfig) *Memory {
	return &Memory{
		config: config, messages: map[string]*memoryMessage{}, groups: map[string]*memoryGroup{},
		dedup: map[string]dedupEntry{},
	}
}

// DeadLetters is the dead-letter queue, a Memory like any other; nil for a dead-letter queue itself.
func (m *Memory) DeadLetters() *Memory { return m.dead }

// Limits are those of SQS.
func (m *Memory) Limits() Limits {
	l := Limits{
		Region: m.config.Region, FIFO: m.config.FIFO, Batch: batchMax, BatchBytes: messageMax, MessageBytes: messageMax,
		MaxDelay: nativeDelay, MaxLease: nativeLease, Retention: m.config.Retention,
	}
	if l.FIFO {
		l.MaxDelay = 0
	}
	return l
}

// Calls returns the call IDs of every message, in no order, for a [Ledger].
func (m *Memory) Calls(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advanceLocked(time.Now())
	ids := make([]string, 0, len(m.messages))
	for _, msg := range m.messages {
		ids = append(ids, msg.out.CallID)
	}
	return ids, nil
}

// prompt reports whether t is known to keep nobody waiting, so that its callers may send by themselves. It asks for the
// very types: what embeds one of them may do as it likes.
func prompt(t Transport) bool {
	switch t := t.(type) {
	case *Memory:
		return true
	case *Regional:
		return t.prompt
	}
	return false
}

// Send never blocks.
func (m *Memory) Send(ctx context.Context, messages []Outgoing) []SendResult {
	return m.sendInto(ctx, messages, make([]SendResult, 0, len(messages)))
}

// sendInto is Send that appends its results to results.
func (m *Memory) sendInto(ctx context.Context, messages []Outgoing, results []SendResult) []SendResult {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range messages {
		results = append(results, m.sendLocked(ctx, now, &messages[i]))
	}
	m.wakeLocked()
	return results
}

func (m *Memory) sendLocked(ctx context.Context, now time.Time, o *Outgoing) SendResult {
	if err := m.refuse(ctx, o); err != nil {
		return SendResult{Region: m.config.Region, Via: ViaMemory, Err: err}
	}
	r := SendResult{Region: m.config.Region, Via: ViaMemory}
	if m.config.FIFO {
		m.forgetLocked(now)
		if d, ok := m.dedup[cmp.Or(o.DedupID, o.CallID)]; ok && now.Before(d.until) {
			r.MessageID = d.id
			return r
		}
	}
	m.next++
	msg := &memoryMessage{queue: m, out: *o, id: strconv.FormatUint(m.next, 10), sequence: m.next, sent: now, index: -1}
	m.messages[msg.id] = msg
	r.MessageID = msg.id
	if m.config.FIFO {
		m.dedup[cmp.Or(o.DedupID, o.CallID)] = dedupEntry{msg.id, now.Add(dedupWindow)}
		m.groupLocked(o.Group).append(m, msg)
		return r
	}
	if d := o.Delay(nativeDelay); d > 0 {
		msg.delayedNow = true
		m.delayed++
		m.timed.push(msg, now.Add(d))
		return r
	}
	m.ready.push(msg)
	return r
}

// forgetLocked drops old deduplication entries whenever their number has doubled.
func (m *Memory) forgetLocked(now time.Time) {
	if len(m.dedup) < m.dedupPrune {
		return
	}
	maps.DeleteFunc(m.dedup, func(_ string, d dedupEntry) bool { return !now.Before(d.until) })
	m.dedupPrune = max(1024, 2*len(m.dedup))
}

// refuse applies the rules of SQS.
func (m *Memory) refuse(ctx context.Context, o *Outgoing) error {
	if ctx.Err() != nil {
		return &SendError{Name: m.config.Name, Region: m.config.Region, Err: context.Cause(ctx)}
	}
	problem := RefuseMessage(m.Limits(), o)
	if problem == "" {
		return nil
	}
	return &SendError{Name: m.config.Name, Region: m.config.Region, Invalid: true, Err: errors.New(problem)}
}

// Receive hands out visible messages, oldest first on a standard queue.
func (m *Memory) Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error) {
	if r.Max < 1 || r.Lease <= 0 || r.Lease > nativeLease {
		return nil, fmt.Errorf("queue %q: receive of %d for %v: want at least 1 and a lease up to 12 h", m.config.Name, r.Max, r.Lease)
	}
	deadline := time.Now().Add(r.Wait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		got, wake, next := m.take(r)
		if len(got) > 0 || wake == nil {
			return got, nil
		}
		if !m.wait(ctx, wake, deadline, next) {
			return nil, context.Cause(ctx)
		}
	}
}

// take leases what is visible. With nothing visible and waiting allowed it registers a wake-up.
func (m *Memory) take(r ReceiveRequest) (got []*Message, wake chan struct{}, next time.Time) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advanceLocked(now)
	limit := min(r.Max, batchMax)
	for len(got) < limit {
		msg := m.nextLocked(now)
		if msg == nil {
			break
		}
		if got == nil {
			got = make([]*Message, 0, limit)
		}
		got = append(got, m.leaseLocked(msg, now, r.Lease))
	}
	m.reopenLocked()
	if len(got) > 0 || r.Wait <= 0 {
		return got, nil, next
	}
	wake = make(chan struct{}, 1)
	m.waiting = append(m.waiting, wake)
	if len(m.timed) > 0 {
		next = m.timed[0].until
	}
	return nil, wake, next
}

// wait blocks until a message may be visible or the wait is over, and reports whether to look again. It
// is false when ctx ended first, and when the wait is over, with ctx alive.
func (m *Memory) wait(ctx context.Context, wake chan struct{}, deadline, next time.Time) bool {
	at := deadline
	if !next.IsZero() && next.Before(at) {
		at = next
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	defer m.unregister(wake)
	select {
	case <-wake:
		return true
	case <-timer.C:
		return at.Before(deadline)
	case <-ctx.Done():
		return false
	}
}

func (m *Memory) unregister(wake chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = slices.DeleteFunc(m.waiting, func(c chan struct{}) bool { return c == wake })
}

func (m *Memory) wakeLocked() {
	for _, w := range m.waiting {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// nextLocked returns the next visible message, or nil.
func (m *Memory) nextLocked(now time.Time) *memoryMessage {
	for {
		msg := m.popLocked()
		if msg == nil || msg.gone {
			if msg == nil {
				return nil
			}
			continue
		}
		if now.Sub(msg.sent) >= m.config.Retention {
			m.removeLocked(msg)
			continue
		}
		if m.config.MaxReceives > 0 && msg.receives >= m.config.MaxReceives {
			m.redriveLocked(msg)
			continue
		}
		return msg
	}
}

func (m *Memory) popLocked() *memoryMessage {
	if !m.config.FIFO {
		msg, _ := m.ready.pop()
		return msg
	}
	for {
		g, ok := m.open.peek()
		if !ok {
			return nil
		}
		if msg := g.head(); msg != nil {
			return msg
		}
		m.closeLocked(g)
	}
}

func (m *Memory) leaseLocked(msg *memoryMessage, now time.Time, lease time.Duration) *Message {
	msg.receives++
	msg.lease++
	if msg.firstReceived.IsZero() {
		msg.firstReceived = now
	}
	m.inFlight++
	m.timed.push(msg, now.Add(lease))
	if msg.group != nil {
		msg.group.taken()
	}
	return &Message{
		ID: msg.id, Receipt: strconv.FormatUint(msg.lease, 10), Region: m.config.Region, Body: msg.out.Body,
		Group: msg.out.Group, Tenant: msg.out.Tenant, Sent: msg.sent, FirstReceived: msg.firstReceived, Receives: msg.receives,
		LeaseUntil: msg.until, Attributes: msg.out.Attributes, memory: msg,
	}
}

// redriveLocked is the queue's own move to its dead-letter queue, without a reason, as SQS does it.
func (m *Memory) redriveLocked(msg *memoryMessage) {
	m.removeLocked(msg)
	if m.dead != nil {
		m.dead.Send(context.Background(), []Outgoing{msg.out})
	}
}

// advanceLocked makes visible what has become so.
func (m *Memory) advanceLocked(now time.Time) {
	for len(m.timed) > 0 && !m.timed[0].until.After(now) {
		m.visibleLocked(m.timed.pop())
	}
}

// visibleLocked ends msg's lease or delay.
func (m *Memory) visibleLocked(msg *memoryMessage) {
	if msg.delayedNow {
		msg.delayedNow = false
		m.delayed--
	} else {
		m.inFlight--
		msg.lease++ // the old receipt is stale from here on
	}
	if msg.group != nil {
		msg.group.back(m)
		return
	}
	m.ready.push(msg)
}

// heldLocked finds the message of a live lease.
func (m *Memory) heldLocked(x *Message, now time.Time) (*memoryMessage, error) {
	m.advanceLocked(now)
	msg := x.memory
	if msg == nil || msg.queue != m || msg.id != x.ID { // not as Receive returned it
		msg = m.messages[x.ID]
	}
	if msg == nil || msg.gone || strconv.FormatUint(msg.lease, 10) != x.Receipt || msg.index < 0 {
		return nil, fmt.Errorf("%w: message %s", ErrLeaseLost, x.ID)
	}
	return msg, nil
}

// each applies f to the live leases of messages.
func (m *Memory) each(ctx context.Context, n int, message func(int) *Message, f func(int, *memoryMessage, time.Time) error) []error {
	if ctx.Err() != nil {
		return allFail(n, context.Cause(ctx))
	}
	now := time.Now()
	var errs []error
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n {
		msg, err := m.heldLocked(message(i), now)
		if err == nil {
			err = f(i, msg, now)
		}
		if err != nil {
			if errs == nil {
				errs = make([]error, n)
			}
			errs[i] = err
		}
	}
	m.wakeLocked()
	return errs
}

// Extend refuses to hold a message longer than 12 h in all, as SQS does.
func (m *Memory) Extend(ctx context.Context, messages []*Message, lease time.Duration) []error {
	return m.each(ctx, len(messages), func(i int) *Message { return messages[i] },
		func(_ int, msg *memoryMessage, now time.Time) error { return m.untilLocked(msg, now, lease) })
}

// Release makes messages visible after their waits.
func (m *Memory) Release(ctx context.Context, releases []Release) []error {
	return m.each(ctx, len(releases), func(i int) *Message { return releases[i].Message },
		func(i int, msg *memoryMessage, now time.Time) error {
			return m.untilLocked(msg, now, releases[i].After)
		})
}

func (m *Memory) untilLocked(msg *memoryMessage, now time.Time, d time.Duration) error {
	if d < 0 || d > nativeLease {
		return fmt.Errorf("queue %q: visibility of %v: want 0 to 12 h", m.config.Name, d)
	}
	m.timed.remove(msg)
	if d == 0 {
		m.visibleLocked(msg)
		return nil
	}
	m.timed.push(msg, now.Add(d))
	return nil
}

// Delete ignores what is gone and refuses a stale receipt of a message that is not.
func (m *Memory) Delete(ctx context.Context, messages []*Message) []error {
	errs := m.each(ctx, len(messages), func(i int) *Message { return messages[i] },
		func(_ int, msg *memoryMessage, _ time.Time) error { m.removeLocked(msg); return nil })
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range errs {
		if errs[i] != nil && ctx.Err() == nil && m.messages[messages[i].ID] == nil {
			errs[i] = nil
		}
	}
	return errs
}

func (m *Memory) removeLocked(msg *memoryMessage) {
	leased := msg.index >= 0 && !msg.delayedNow
	if leased {
		m.inFlight--
	} else if msg.delayedNow {
		m.delayed--
	}
	if msg.index >= 0 {
		m.timed.remove(msg)
	}
	msg.gone = true
	delete(m.messages, msg.id)
	if msg.group != nil {
		msg.group.remove(m, msg, leased)
	}
}

// Dead sends to the dead-letter queue, then deletes.
func (m *Memory) Dead(ctx context.Context, letters []DeadLetter) []error {
	if m.dead == nil {
		return allFail(len(letters), fmt.Errorf("queue %q is a dead-letter queue itself", m.config.Name))
	}
	return deadBySending(ctx, letters, m.dead.Send, m.Delete)
}

// Stats returns exact counts.
func (m *Memory) Stats(context.Context) (Depth, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advanceLocked(time.Now())
	return Depth{Visible: len(m.messages) - m.inFlight - m.delayed, InFlight: m.inFlight, Delayed: m.delayed}, nil
}
