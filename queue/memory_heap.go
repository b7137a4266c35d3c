package queue

import "time"

// A timeHeap orders messages by the end of their lease or delay, then by age, so that runs repeat.
type timeHeap []*memoryMessage

func (h timeHeap) less(i, j int) bool {
	if h[i].until.Equal(h[j].until) {
		return h[i].sequence < h[j].sequence
	}
	return h[i].until.Before(h[j].until)
}

func (h timeHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timeHeap) push(msg *memoryMessage, until time.Time) {
	msg.until, msg.index = until, len(*h)
	*h = append(*h, msg)
	h.up(msg.index)
}

func (h *timeHeap) pop() *memoryMessage {
	msg := (*h)[0]
	h.remove(msg)
	return msg
}

func (h *timeHeap) remove(msg *memoryMessage) {
	i, last := msg.index, len(*h)-1
	if i != last {
		h.swap(i, last)
	}
	(*h)[last] = nil
	*h = (*h)[:last]
	msg.index = -1
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h timeHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timeHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if right := child + 1; right < len(h) && h.less(right, child) {
			child = right
		}
		if !h.less(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// A deque is a first-in first-out line in a ring that grows.
type deque[T any] struct {
	ring        []T
	first, size int
}

func (d *deque[T]) push(x T) {
	if d.size == len(d.ring) {
		d.grow()
	}
	d.ring[(d.first+d.size)%len(d.ring)] = x
	d.size++
}

func (d *deque[T]) grow() {
	ring := make([]T, max(16, 2*len(d.ring)))
	for i := range d.size {
		ring[i] = d.ring[(d.first+i)%len(d.ring)]
	}
	d.ring, d.first = ring, 0
}

func (d *deque[T]) peek() (x T, ok bool) {
	if d.size == 0 {
		return x, false
	}
	return d.ring[d.first], true
}

func (d *deque[T]) pop() (x T, ok bool) {
	x, ok = d.peek()
	if ok {
		var zero T
		d.ring[d.first] = zero
		d.first = (d.first + 1) % len(d.ring)
		d.size--
	}
	return x, ok
}
