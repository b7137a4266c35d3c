package idempotency

import (
	"sync"
	"time"
)

// A flight is a call that this process is at. Others with its key wait for it, not for the store.
type flight struct {
	fingerprint Sum
	begun       time.Time
	done        chan struct{} // closed when the flight leaves or settles

	// Written before done closes.
	result []byte // the envelope to replay; nil when the attempt failed
}

// flights are the calls of this process by key.
type flights struct {
	mu sync.Mutex // guards m
	m  map[place]*flight
}

// join returns the flight of k. mine says that the caller made it and must end it with leave.
func (fs *flights) join(k *Key) (f *flight, mine bool) {
	p := k.place()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.m[p]; f != nil {
		return f, false
	}
	f = &flight{fingerprint: k.Fingerprint, begun: time.Now(), done: make(chan struct{})}
	fs.m[p] = f
	return f, true
}

// settle publishes the result of a flight that stays: the store has not got it yet.
func (f *flight) settle(result []byte) {
	f.result = result
	close(f.done)
}

// leave ends the flight. result may be nil.
func (fs *flights) leave(k *Key, f *flight, result []byte) {
	fs.remove(k, f)
	f.settle(result)
}

// remove ends a flight that has settled.
func (fs *flights) remove(k *Key, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if p := k.place(); fs.m[p] == f {
		delete(fs.m, p)
	}
}

func (fs *flights) count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.m)
}
