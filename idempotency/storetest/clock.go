package storetest

import (
	"sync"
	"sync/atomic"
	"time"
)

// A clock bounds what the store's clock may read, for histories.
type clock struct {
	base time.Time
	move func(time.Duration) // nil: the store's clock runs as time does

	mu        sync.Mutex   // one move at a time
	low, high atomic.Int64 // sums of the moves that have ended and begun
}

func (c *clock) advance(d time.Duration) {
	if c.move == nil {
		time.Sleep(d)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.high.Add(int64(d))
	c.move(d)
	c.low.Add(int64(d))
}

func (c *clock) atLeast() int64 {
	if c.move == nil {
		return int64(time.Since(c.base))
	}
	return c.low.Load()
}

func (c *clock) atMost() int64 {
	if c.move == nil {
		return int64(time.Since(c.base))
	}
	return c.high.Load()
}
