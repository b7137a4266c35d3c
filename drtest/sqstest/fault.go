package sqstest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A Fault spoils requests. Which: Op, Queue, Share, Above and Times choose them, all of them by
// default. How: the other fields; a fault may have several. [Server.Inject] starts it.
type Fault struct {
	// Op is the action, such as "SendMessage". Empty means every action.
	Op string

	// Queue is the name of the queue. Empty means every queue, and actions that name none.
	Queue string

	// Share is the part of the requests that is hit, drawn from the server's seed: 0.05 means one
	// in twenty. Zero means all.
	Share float64

	// Above lets that many requests a second pass, and hits those over it: a throttle. It starts
	// with one second's worth. Zero hits all.
	Above float64

	// Times is how many requests are hit before the fault ends by itself. Zero means no end.
	Times int

	// Latency delays the action. A client that gives up meanwhile does not stop it.
	Latency time.Duration

	// Code answers this error and does not run the action: a shape of the service's model or a
	// code of the query protocol, such as "RequestThrottled", "OverLimit" or "InternalFailure".
	// Another code is passed through.
	Code string

	// Status is the HTTP status that goes with Code. Zero means the one it has on AWS, 500 for a
	// code that the service does not have.
	Status int

	// Hang never answers and does not run the action: the request is stuck until the client
	// closes its connection or the server is closed.
	Hang bool

	// DropReply runs the action and then cuts the connection: the client cannot know that it ran.
	DropReply bool

	// HangReply runs the action and then never answers.
	HangReply bool

	// Duplicate does to standard queues what SQS does now and then. On SendMessage the message is
	// stored twice, under two ids, as after a retry whose first reply was lost (a FIFO queue's
	// deduplication sees the second). On ReceiveMessage a twin with the same MessageId stays
	// visible (FIFO queues do not do that). On DeleteMessage the reply is success and the message
	// stays. The batch actions behave alike; other actions are not touched.
	Duplicate bool

	// Poison stores, beside each message of SendMessage and SendMessageBatch, another one that no consumer can
	// parse, as after a bug in another producer. Other actions are not touched.
	Poison bool
}

func (f *Fault) check() error {
	switch {
	case f.Op != "" && !slices.Contains(Operations(), f.Op):
		return fmt.Errorf("sqstest: Fault.Op: %q is not an action of this server", f.Op)
	case !(f.Share >= 0 && f.Share <= 1):
		return fmt.Errorf("sqstest: Fault.Share: %v is not between 0 and 1", f.Share)
	case !(f.Above >= 0):
		return fmt.Errorf("sqstest: Fault.Above: %v is negative", f.Above)
	case f.Times < 0:
		return fmt.Errorf("sqstest: Fault.Times: %d is negative", f.Times)
	case f.Latency < 0:
		return fmt.Errorf("sqstest: Fault.Latency: %v is negative", f.Latency)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("sqstest: Fault.Status: %d is not an HTTP error", f.Status)
	case f.Status != 0 && f.Code == "":
		return fmt.Errorf("sqstest: Fault.Status: %d needs a Code", f.Status)
	case f.Latency == 0 && f.Code == "" && !f.Hang && !f.DropReply && !f.HangReply && !f.Duplicate && !f.Poison:
		return fmt.Errorf("sqstest: Fault: it does nothing: set Latency, Code, Hang, DropReply, HangReply, Duplicate or Poison")
	}
	return nil
}

// An active is an injected fault and what is left of it.
type active struct {
	Fault
	left   int
	tokens float64
	at     time.Time
}

// Inject starts a fault and returns the function that ends it. Requests that hang because of the
// fault go on hanging after its end. Inject panics when the fault is contradictory or does nothing.
func (s *Server) Inject(f Fault) (end func()) {
	if err := f.check(); err != nil {
		panic(err.Error())
	}
	a := &active{Fault: f, left: f.Times, tokens: max(f.Above, 1), at: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, a)
	return func() { s.end(a) }
}

func (s *Server) end(a *active) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(b *active) bool { return a == b })
}

// ClearFaults ends every fault.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// A plan is what the faults do to one request.
type plan struct {
	latency                           time.Duration
	refusal                           *apiError
	hang, dropReply, hangReply, twice bool
	poison, hit                       bool
}

// plan draws the faults that hit one request and counts the request.
func (s *Server) plan(op, queue string) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p plan
	now := time.Now()
	for _, a := range slices.Clone(s.faults) {
		if !a.matches(op, queue) || !s.drawLocked(a, now) {
			continue
		}
		p.hit = true
		p.latency += a.Latency
		p.hang = p.hang || a.Hang
		p.dropReply = p.dropReply || a.DropReply
		p.hangReply = p.hangReply || a.HangReply
		p.twice = p.twice || a.Duplicate
		p.poison = p.poison || a.Poison
		if a.Code != "" && p.refusal == nil {
			p.refusal = kindOf(a.Code, a.Status).with("Injected fault.")
		}
	}
	s.countLocked(op, p)
	return p
}

func (a *active) matches(op, queue string) bool {
	return (a.Op == "" || a.Op == op) && (a.Queue == "" || a.Queue == queue)
}

// drawLocked decides whether this request is hit, and uses the fault up.
func (s *Server) drawLocked(a *active, now time.Time) bool {
	if a.Above > 0 {
		a.tokens = min(a.tokens+now.Sub(a.at).Seconds()*a.Above, max(a.Above, 1))
		a.at = now
		if a.tokens >= 1 {
			a.tokens--
			return false
		}
	}
	if a.Share > 0 && s.draws.Float64() >= a.Share {
		return false
	}
	if a.Times > 0 {
		if a.left--; a.left == 0 {
			s.faults = slices.DeleteFunc(s.faults, func(b *active) bool { return a == b })
		}
	}
	return true
}

// delay waits for the plan's latency; it ends early when the server closes.
func (s *Server) delay(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.done:
	}
}

// hang holds the request until its client or the server is gone, then cuts the connection.
func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.done:
	}
	panic(http.ErrAbortHandler)
}
