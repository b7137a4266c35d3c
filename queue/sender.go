package queue

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A sender gathers the messages of concurrent Defers into batches. It sends at once while nothing is in flight, so
// that a lone caller waits for nobody; otherwise when a batch is full or linger has passed. At most one
// message of a FIFO group is in flight, so that neither concurrent batches nor an entry that failed can reorder a group.
//
// A message that nobody would be gathered with is sent by its caller, on the caller's goroutine: when the queue keeps nobody
// waiting, and when nothing is in flight and the caller's context cannot end. A caller that may leave needs somebody who
// stays, a carrier; so does a batch, because a stack as deep as an SDK is better grown for a few goroutines than for all callers.
type sender struct {
	limits Limits
	linger time.Duration
	prompt bool                          // the queue keeps nobody waiting
	send   func(context.Context, *batch) // fills the results of all its messages

	pendings sync.Pool

	mu       sync.Mutex // guards the following
	queue    []*pending
	bytes    int // of queue
	busy     map[string]bool
	inFlight int // batches, and carriers about to cut one
	starting int // of them, those that have not cut their batch
	timer    *time.Timer
	armed    bool
	keep     bool            // a carrier rests while nothing is in flight
	resting  []chan bool     // carriers without a batch: true is another, false the end
	idle     []chan struct{} // closed when nothing is queued or in flight
}

// pending is one message on its way. Its caller waits for done.
type pending struct {
	out    Outgoing
	since  time.Time // when the call was made
	result SendResult
	copies bool // a send of unknown outcome was repeated
	done   chan struct{}

	// state moves from waiting to taken when the result is there or the caller has left: the one that comes
	// second owns the struct.
	left atomic.Bool
}

// newPending takes one from the sender's own pool: a channel must not leave the synctest bubble it was made in.
func (s *sender) newPending() *pending {
	if p, ok := s.pendings.Get().(*pending); ok {
		return p
	}
	return &pending{done: make(chan struct{}, 1)}
}

// recycle gives p back.
func (s *sender) recycle(p *pending) {
	p.out, p.result, p.copies = Outgoing{}, SendResult{}, false
	p.left.Store(false)
	s.pendings.Put(p)
}

// batch is what one request carries.
type batch struct {
	items []*pending
	out   []Outgoing
	room  [1]SendResult // for the result of a lone message, of a queue in memory
}

var batches = sync.Pool{New: func() any { return &batch{} }}

func (b *batch) recycle() {
	clear(b.items)
	clear(b.out)
	clear(b.room[:])
	b.items, b.out = b.items[:0], b.out[:0]
	batches.Put(b)
}

// submit sends p, or queues it and waits for its result or ctx. Afterwards p is the caller's if ok; when ctx ended first
// it is not, and unsent says that it was withdrawn before anything was sent.
func (s *sender) submit(ctx context.Context, p *pending) (ok, unsent bool) {
	gone := ctx.Done()
	if b := s.push(p, gone == nil); b != nil {
		s.sendNow(ctx, b)
		return true, false
	}
	if gone == nil { // a receive costs half of a choice
		<-p.done
		return true, false
	}
	select {
	case <-p.done:
		return true, false
	case <-gone:
	}
	if s.withdraw(p) {
		return false, true
	}
	if p.left.Swap(true) { // the result came meanwhile
		<-p.done
		return true, false
	}
	return false, false
}

// push queues p, or returns it as a batch that its caller is to send: one that stays, if the queue may keep it waiting.
func (s *sender) push(p *pending, stays bool) *batch {
	var b *batch
	s.mu.Lock()
	if s.prompt || stays && s.inFlight == 0 && len(s.queue) == 0 {
		s.inFlight++
		b = batches.Get().(*batch)
		s.addLocked(b, p)
	} else {
		s.queue = append(s.queue, p)
		s.bytes += len(p.out.Body)
		s.flushLocked(s.inFlight == 0, false)
	}
	s.mu.Unlock()
	return b
}

// addLocked puts p in b.
func (s *sender) addLocked(b *batch, p *pending) {
	if p.out.Group != "" {
		s.busy[p.out.Group] = true
	}
	b.items, b.out = append(b.items, p), append(b.out, p.out)
}

// sendNow sends b on its only caller's goroutine, whose panic a transport's panic is.
func (s *sender) sendNow(ctx context.Context, b *batch) {
	defer s.sentNow(b)
	s.send(ctx, b)
}

func (s *sender) sentNow(b *batch) {
	s.mu.Lock()
	s.freeLocked(b)
	s.flushLocked(s.inFlight == 1, false)
	s.doneLocked()
	s.mu.Unlock()
	b.recycle()
}

// withdraw takes p out of the queue if it is still there.
func (s *sender) withdraw(p *pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range s.queue {
		if q == p {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.bytes -= len(p.out.Body)
			s.restLocked()
			return true
		}
	}
	return false
}

// flushLocked starts carriers: one for every full batch, and with now also one for what is left; else it arms the timer.
// The first is the caller if it is a carrier whose batch has ended; again says so. A carrier cuts its batch when it gets
// to run, so that callers who are ready by then are in it.
func (s *sender) flushLocked(now, carrier bool) (again bool) {
	full := max(len(s.queue)/s.limits.Batch, s.bytes/s.limits.BatchBytes)
	for s.starting < full || now && s.starting == 0 && len(s.queue) > 0 {
		s.starting++
		if carrier && !again {
			again = true
			continue
		}
		s.startLocked()
	}
	s.lingerLocked()
	return again
}

// lingerLocked arms the timer for those that nobody is about to take.
func (s *sender) lingerLocked() {
	if len(s.queue) > 0 && s.starting == 0 && !s.armed {
		s.armLocked(s.linger)
	}
}

func (s *sender) armLocked(d time.Duration) {
	s.armed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.lingered)
	} else {
		s.timer.Reset(d)
	}
}

// startLocked gives a batch to a carrier that rests, or to a new one.
func (s *sender) startLocked() {
	s.inFlight++
	if n := len(s.resting); n > 0 {
		s.resting[n-1] <- true // has room: it rests once for every value
		s.resting = s.resting[:n-1]
		return
	}
	go s.carry() // ends with the last send of all, at most SendTimeout per Region; waited for by Client.Run
}

func (s *sender) lingered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if len(s.queue) > 0 { // the timer may have been set for a message that has gone with a full batch
		if left := s.linger - time.Since(s.queue[0].since); left > 0 && left <= s.linger {
			s.armLocked(left)
			return
		}
	}
	s.flushLocked(true, false)
}

// cutLocked takes the next batch out of the queue, passing over groups that are in flight.
func (s *sender) cutLocked() *batch {
	b := batches.Get().(*batch)
	bytes, rest := 0, s.queue[:0]
	for i, p := range s.queue {
		full := len(b.items) == s.limits.Batch || len(b.items) > 0 && bytes+len(p.out.Body) > s.limits.BatchBytes
		if full {
			rest = append(rest, s.queue[i:]...)
			break
		}
		if p.out.Group != "" && s.busy[p.out.Group] {
			rest = append(rest, p)
			continue
		}
		s.addLocked(b, p)
		bytes += len(p.out.Body)
	}
	clear(s.queue[len(rest):])
	s.queue = rest
	s.bytes -= bytes
	if len(b.items) == 0 {
		b.recycle()
		return nil
	}
	s.lingerLocked()
	return b
}

// carry cuts a batch, sends it and hands out its results, for as long as any carrier has something to do: a new goroutine
// would grow its stack anew to the depth of an SDK.
func (s *sender) carry() {
	given := make(chan bool, 1)
	for again := true; again; {
		again = s.carryOne(given)
	}
}

func (s *sender) carryOne(given chan bool) (again bool) {
	s.mu.Lock()
	s.starting--
	b := s.cutLocked()
	s.mu.Unlock()
	if b != nil { // else every queued message waits for its group, whose batch flushes when it ends
		s.send(context.Background(), b)
	}
	s.mu.Lock()
	s.freeLocked(b)
	again = b != nil && s.flushLocked(s.inFlight == 1, true)
	rests := !again && s.endLocked(given)
	short := len(s.queue) < s.limits.Batch
	s.mu.Unlock()
	s.deliver(b)
	switch {
	case rests:
		again = <-given // at the latest when the last batch has ended
	case again && short:
		runtime.Gosched() // those who have just got their results may have another call
	}
	return again
}

// endLocked ends a carrier's work and reports whether it rests, to be given another batch.
func (s *sender) endLocked(given chan bool) (rests bool) {
	if s.inFlight > 1 || s.keep {
		s.resting = append(s.resting, given)
		rests = true
	}
	s.doneLocked()
	return rests
}

// doneLocked ends a batch or a carrier's turn. The last of all dismisses the carriers that rest, so that no goroutine
// outlives the calls, but for one that is kept.
func (s *sender) doneLocked() {
	s.inFlight--
	if s.inFlight > 0 {
		return
	}
	s.dismissLocked()
	s.restLocked()
}

// dismissLocked ends the carriers that rest. The one that is kept is the last that came to rest: its stack is in the processor's cache.
func (s *sender) dismissLocked() {
	kept := s.resting[:0]
	for i, c := range s.resting {
		if s.keep && i == len(s.resting)-1 {
			kept = append(kept, c)
			break
		}
		c <- false
	}
	s.resting = kept
}

// keepCarrier has a carrier wait for callers who come alone, or none.
func (s *sender) keepCarrier(keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = keep
	if s.inFlight == 0 {
		s.dismissLocked()
	}
}

// freeLocked ends the batch's hold on its groups.
func (s *sender) freeLocked(b *batch) {
	if b == nil {
		return
	}
	for _, p := range b.items {
		if p.out.Group != "" {
			delete(s.busy, p.out.Group)
		}
	}
}

// deliver wakes the callers.
func (s *sender) deliver(b *batch) {
	if b == nil {
		return
	}
	for _, p := range b.items {
		if p.left.Swap(true) { // its caller has left
			s.recycle(p)
			continue
		}
		p.done <- struct{}{}
	}
	b.recycle()
}

func (s *sender) restLocked() {
	if s.inFlight > 0 || len(s.queue) > 0 {
		return
	}
	for _, c := range s.idle {
		close(c)
	}
	s.idle = nil
}

// rest blocks until nothing is queued or in flight.
func (s *sender) rest() {
	s.mu.Lock()
	if s.inFlight == 0 && len(s.queue) == 0 {
		s.mu.Unlock()
		return
	}
	c := make(chan struct{})
	s.idle = append(s.idle, c)
	s.flushLocked(true, false)
	s.mu.Unlock()
	<-c
}
