package sqstest

import (
	"maps"
	"slices"
	"time"
)

// A poll is one ReceiveMessage.
type poll struct {
	most       int
	visibility time.Duration
	wait       time.Duration
	attempt    string
	twice      bool
	answer     chan answer // buffered: handing over never blocks
}

type answer struct {
	got []delivery
	err *apiError
}

// An attempt is a receive that may be repeated on a FIFO queue.
type attempt struct {
	until    time.Time
	messages []*message
	receipts []uint64
}

// receive answers a poll, waiting for messages if the poll asks for it. It does not notice that
// the client hung up: a message that comes after that is leased to nobody, as on AWS.
func (q *queue) receive(p *poll) ([]delivery, *apiError) {
	g := q.region
	g.mu.Lock()
	now := time.Now()
	got, done, err := q.attemptPoll(p, now)
	if done || err != nil || p.wait <= 0 || g.server.closed() {
		g.settle(now)
		g.mu.Unlock()
		return got, err
	}
	p.answer = make(chan answer, 1)
	q.polls = append(q.polls, p)
	q.arm(now)
	g.settle(now)
	g.mu.Unlock()
	return q.await(p)
}

// attemptPoll tries once; done says that there is an answer.
func (q *queue) attemptPoll(p *poll, now time.Time) (got []delivery, done bool, err *apiError) {
	q.advance(now)
	q.hand(now) // what became visible at this very instant belongs to older polls
	if got = q.again(p, now); got != nil {
		return got, true, nil
	}
	if !q.fifo && q.inFlight >= q.region.server.inFlight {
		return nil, false, errOverLimit.with("Too many messages in flight: the limit of queue %q is %d.", q.name, q.region.server.inFlight)
	}
	got = q.take(p, now)
	q.remember(p, got, now)
	return got, len(got) > 0, nil
}

// await waits until the poll is handed its answer, its time is over or the server closes.
func (q *queue) await(p *poll) ([]delivery, *apiError) {
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case a := <-p.answer:
		return a.got, a.err
	case <-timer.C:
	case <-q.region.server.done:
	}
	g := q.region
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	q.advance(now) // a lease may have ended at this very instant
	q.hand(now)
	g.settle(now)
	if i := slices.Index(q.polls, p); i >= 0 {
		q.polls = slices.Delete(q.polls, i, i+1)
		q.arm(now)
		return nil, nil
	}
	a := <-p.answer
	return a.got, a.err
}

// hand gives what may be received to the open polls, the oldest first.
func (q *queue) hand(now time.Time) {
	for len(q.polls) > 0 {
		p := q.polls[0]
		got := q.take(p, now)
		if len(got) == 0 {
			break
		}
		q.remember(p, got, now)
		q.polls = slices.Delete(q.polls, 0, 1)
		p.answer <- answer{got: got}
	}
	q.arm(now)
}

// arm sets the alarm to the end of the next lease or delay while polls are open, and stops it
// when none is: an idle queue has no timer.
func (q *queue) arm(now time.Time) {
	if len(q.polls) == 0 || q.timers.len() == 0 || q.region.server.closed() {
		if q.alarm != nil {
			q.alarm.Stop()
		}
		return
	}
	in := q.timers.min().visibleAt.Sub(now)
	if q.alarm == nil {
		q.alarm = time.AfterFunc(in, q.ring)
		return
	}
	q.alarm.Reset(in)
}

func (q *queue) ring() {
	g := q.region
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	q.advance(now)
	q.hand(now)
	g.settle(now)
}

// dismiss ends every open poll with an error; the queue is gone.
func (q *queue) dismiss(err *apiError) {
	for _, p := range q.polls {
		p.answer <- answer{err: err}
	}
	q.polls = nil
	if q.alarm != nil {
		q.alarm.Stop()
	}
}

// remember keeps a receive for a repeated attempt.
func (q *queue) remember(p *poll, got []delivery, now time.Time) {
	if p.attempt == "" || len(got) == 0 {
		return
	}
	maps.DeleteFunc(q.attempts, func(_ string, a *attempt) bool { return !now.Before(a.until) })
	a := &attempt{until: now.Add(dedupWindow)}
	for _, d := range got {
		a.messages = append(a.messages, q.messages[d.num])
		a.receipts = append(a.receipts, d.receipt)
	}
	q.attempts[p.attempt] = a
}

// again repeats an earlier attempt: the same messages and handles with a fresh lease, if none of
// them was deleted, released or given to another consumer since.
func (q *queue) again(p *poll, now time.Time) []delivery {
	a := q.attempts[p.attempt]
	if p.attempt == "" || a == nil {
		return nil
	}
	if !now.Before(a.until) || !q.untouched(a) {
		delete(q.attempts, p.attempt)
		return nil
	}
	var got []delivery
	for _, m := range a.messages {
		m.visibleAt, m.leasedAt = now.Add(p.visibility), now
		q.timers.put(m)
		got = append(got, q.seen(m))
	}
	return got
}

func (q *queue) untouched(a *attempt) bool {
	for i, m := range a.messages {
		if q.messages[m.num] != m || m.receipt != a.receipts[i] || m.state != stateInFlight || m.touched {
			return false
		}
	}
	return true
}
