package idempotency

import (
	"sync"
	"time"
)

// beats are the leases whose first heartbeat is to come, by its time. One timer serves them all: a call that is over before its first beat, as
// most are, takes no timer of its own.
type beats struct {
	mu     sync.Mutex // guards the following
	oldest *lease
	newest *lease
	timer  *time.Timer // nil until the first lease
	armed  bool
}

// add lets l beat at due. Claims are granted nearly in the order in which they were sent.
func (b *beats) add(l *lease, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.due, l.listed = due, true
	at := b.newest
	for at != nil && at.due.After(due) {
		at = at.prev
	}
	b.insertLocked(l, at)
	if b.oldest == l || !b.armed {
		b.armLocked()
	}
}

// insertLocked puts l behind at, or first.
func (b *beats) insertLocked(l, at *lease) {
	if l.prev = at; at != nil {
		l.next, at.next = at.next, l
	} else {
		l.next, b.oldest = b.oldest, l
	}
	if l.next != nil {
		l.next.prev = l
	} else {
		b.newest = l
	}
}

// remove takes l out, if it has not beaten.
func (b *beats) remove(l *lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeLocked(l)
}

func (b *beats) removeLocked(l *lease) {
	if !l.listed {
		return
	}
	l.listed = false
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		b.oldest = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	} else {
		b.newest = l.prev
	}
	l.prev, l.next = nil, nil
}

// armLocked makes the timer fire for the oldest lease. A lease that ends leaves the timer as it is: it then fires too early, once.
func (b *beats) armLocked() {
	if b.armed = b.oldest != nil; !b.armed {
		return
	}
	wait := max(0, time.Until(b.oldest.due))
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, b.onTimer)
		return
	}
	b.timer.Reset(wait)
}

// onTimer lets the leases beat that are due, each on a goroutine of its own: a beat waits for the store.
func (b *beats) onTimer() {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := b.oldest; l != nil && !l.due.After(now); l = b.oldest {
		b.removeLocked(l)
		go l.onBeat()
	}
	b.armLocked()
}
