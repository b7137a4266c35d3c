package idempotency

import (
	"sync"
	"time"
)

// A flight is a call that this process is at. Others with its key wait for it, not for the store.
type flight struct {
	fingerprint Sum
	begun       time.Time
	granted     chan struct{} // closed when the function begins
	done        chan struct{} // closed when the flight leaves or settles

	// Written before done closes.
	refused *Error // ErrInFlight: another process is at the call
	result  []byte // the envelope to replay; nil when the attempt failed
	settled bool   // guarded by flights.mu
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
	f = &flight{fingerprint: k.Fingerprint, begun: time.Now(), granted: make(chan struct{}), done: make(chan struct{})}
	fs.m[p] = f
	return f, true
}

// settle publishes the result of a flight that stays: the store has not got it yet.
func (fs *flights) settle(f *flight, result []byte) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.settleLocked(result)
}

// settleLocked does nothing the second time: what ends a call after a panic may find it ended.
func (f *flight) settleLocked(result []byte) {
	if f.settled {
		return
	}
	f.settled, f.result = true, result
	close(f.done)
}

// leave ends the flight. result may be nil.
func (fs *flights) leave(k *Key, f *flight, result []byte) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if p := k.place(); fs.m[p] == f {
		delete(fs.m, p)
	}
	f.settleLocked(result)
}
