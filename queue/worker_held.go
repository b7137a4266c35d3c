package queue

import (
	"iter"
	"sync/atomic"
	"time"
)

// A held message is leased by this worker.
type held struct {
	message  *Message
	envelope Envelope
	bad      error // why the body is no envelope
	handler  *handlerState
	source   *workerSource
	since    time.Time
	group    *group
	putOff   time.Duration // > 0: not to be run, but put off by this much
	receives int           // of this copy, without those that were no attempt; at least 1
	failed   int           // > 0: the number of the attempt that failed, see Worker.countFailure
	start    int           // > 0: the number of the run, see Worker.countStart
	ctx      runContext    // of the handler
	lost     atomic.Bool   // set under Worker.mu

	// guarded by Worker.mu
	until      time.Time // end of the lease on our clock
	kept       bool      // in Worker.held
	prev, next *held     // in Worker.held
}

// attempt is the number of the attempt that this delivery is: not less, and exact when it has failed and was counted.
func (h *held) attempt() int {
	if h.failed > 0 {
		return h.failed
	}
	return h.envelope.Attempt + h.receives
}

// A heldList is a set of held messages.
type heldList struct {
	first *held
	size  int
}

func (l *heldList) add(h *held) {
	h.kept, h.next = true, l.first
	if l.first != nil {
		l.first.prev = h
	}
	l.first = h
	l.size++
}

// remove does nothing if h is not in l.
func (l *heldList) remove(h *held) {
	if !h.kept {
		return
	}
	if h.prev == nil {
		l.first = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.kept, h.prev, h.next = false, nil, nil
	l.size--
}

// all yields the messages. The one yielded may be removed meanwhile.
func (l *heldList) all() iter.Seq[*held] {
	return func(yield func(*held) bool) {
		for h := l.first; h != nil; {
			next := h.next
			if !yield(h) {
				return
			}
			h = next
		}
	}
}
