package simnet

import (
	"sync"
	"sync/atomic"
	"time"
)

// A link is one direction between two zones.
type link struct {
	name  string
	state atomic.Pointer[linkState]

	mu   sync.Mutex // guards busy
	busy time.Duration
}

// A linkState is a shape and a channel that is closed when another shape takes its place.
type linkState struct {
	Shape
	changed chan struct{}
}

func newLinkState(s Shape) *linkState { return &linkState{s, make(chan struct{})} }

// transmit returns when the link has put size more bytes on the wire.
func (l *link) transmit(s *Shape, now time.Duration, size int) time.Duration {
	if s.BytesPerSecond == 0 {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	took := time.Duration(float64(size) / float64(s.BytesPerSecond) * float64(time.Second))
	l.busy = max(l.busy, now) + took
	return l.busy
}
