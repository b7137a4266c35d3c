// Package striped has a counter for hot paths that many goroutines share.
package striped

import (
	"sync/atomic"
	"unsafe"
)

const (
	stripes   = 8  // a power of two; one cache line each
	cacheLine = 64 // bytes, on the architectures Go services run on; wrong elsewhere only costs speed
)

// A Counter is a monotonic or up-down count whose adds rarely meet on one cache line. The zero value
// is zero. It must not be copied after first use.
type Counter struct {
	stripes [stripes]stripe
}

type stripe struct {
	n atomic.Int64
	_ [cacheLine - 8]byte
}

// Add adds delta.
func (c *Counter) Add(delta int64) { c.stripes[Index(stripes)].n.Add(delta) }

// Load returns the sum. Adds that run at the same time may or may not be in it.
func (c *Counter) Load() int64 {
	var sum int64
	for i := range c.stripes {
		sum += c.stripes[i].n.Load()
	}
	return sum
}

// Index picks one of n stripes for the calling goroutine; n is a power of two. It uses the address of the
// goroutine's stack, which differs between goroutines that run at the same time and costs about a nanosecond;
// a random number costs eight. The smallest stacks are 2 KiB apart, so finer bits would not tell goroutines apart
// and coarser ones would put neighbours on one stripe.
func Index(n uintptr) uintptr {
	var here byte
	return pick(uintptr(unsafe.Pointer(&here)), n)
}

// pick hashes by Fibonacci (Knuth, volume 3, section 6.4): the upper bits of the product spread neighbours.
func pick(address, n uintptr) uintptr {
	return uintptr(uint64(uint32(address>>11)*0x9E3779B1) * uint64(n) >> 32)
}
