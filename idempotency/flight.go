package idempotency

import (
	"sync"
	"time"
)

// A flight is a call that this process is at. Others with its key wait for it, not for the store.
type flight struct {
	fingerprint Sum
	begun       time.Time

	// Guarded by flights.mu. The channels are there once somebody has joined, who may use them without it.
	listed  bool          // in flights.m
	runs    bool          // the function has begun
	settled bool          // the result is there
	granted chan struct{} // closed when runs
	done    chan struct{} // closed when settled, or when the flight has left

	// Written before done closes.
	refused *Error // ErrInFlight: another process is at the call
	result  []byte // the envelope to replay; nil when the attempt failed
}

// watchedLocked makes the channels of a flight that has its first companion. Most flights have none.
func (f *flight) watchedLocked() {
	if f.done != nil {
		return
	}
	f.granted, f.done = make(chan struct{}), make(chan struct{})
	if f.runs {
		close(f.granted)
	}
	if f.settled {
		close(f.done)
	}
}

// flights are the calls of this process by key.
type flights struct {
	mu sync.Mutex // guards m
	m  map[place]*flight
}

// join returns the flight of k, which is the given one unless another call is at it. mine says that it is: the caller must end it with leave.
func (fs *flights) join(k *Key, own *flight) (f *flight, mine bool) {
	p := k.place()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.m[p]; f != nil {
		f.watchedLocked()
		return f, false
	}
	own.fingerprint, own.begun, own.listed = k.Fingerprint, time.Now(), true
	fs.m[p] = own
	return own, true
}

// grant says that f's function begins.
func (fs *flights) grant(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.runs = true
	if f.granted != nil {
		close(f.granted)
	}
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
	if f.done != nil {
		close(f.done)
	}
}

// leave ends the flight. result may be nil.
func (fs *flights) leave(k *Key, f *flight, result []byte) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.listed {
		f.listed = false
		delete(fs.m, k.place())
	}
	f.settleLocked(result)
}
