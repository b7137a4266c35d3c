package idempotency

import (
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/intrusive"
)

// beats are the leases whose first heartbeat is to come, by its time. One timer serves them all: a call that is over before its first beat, as
// most are, takes no timer of its own.
type beats struct {
	mu    sync.Mutex // guards the following
	all   intrusive.List[lease]
	timer *time.Timer // nil until the first lease
	fires time.Time   // when the timer does; zero if it does not
}

// add lets l beat at due. Claims are granted nearly in the order in which they were sent.
func (b *beats) add(l *lease, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.due = due
	b.all.InsertSorted(l, &l.link, func(other *lease) bool { return other.due.After(due) })
	if b.all.First() == l {
		b.armLocked()
	}
}

// remove takes l out, if it has not beaten.
func (b *beats) remove(l *lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all.Remove(&l.link)
}

// armLocked sees to it that the timer fires when the oldest lease is due, or before. A lease that ends leaves the timer as it is, and those that
// come later need not set it: most timers fire once in a heartbeat and find nothing to do.
func (b *beats) armLocked() {
	first := b.all.First()
	if first == nil || !b.fires.IsZero() && !first.due.Before(b.fires) {
		return
	}
	b.fires = first.due
	wait := max(0, time.Until(first.due))
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
	b.fires = time.Time{}
	for l := b.all.First(); l != nil && !l.due.After(now); l = b.all.First() {
		b.all.Remove(&l.link)
		go l.onBeat()
	}
	b.armLocked()
}
