package sqstest

// A heap is a binary min-heap whose items know their place, so that any of them can be taken out or moved in O(log n).
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(T) *int // where the item keeps its index + 1; zero means that it is not in the heap
}

func (h *heap[T]) len() int { return len(h.items) }
func (h *heap[T]) min() T   { return h.items[0] }

// put adds the item, or moves it to its new place after its key changed.
func (h *heap[T]) put(item T) {
	i := *h.place(item) - 1
	if i < 0 {
		i = len(h.items)
		h.items = append(h.items, item)
		*h.place(item) = i + 1
	}
	h.down(h.up(i))
}

// drop takes the item out; it does nothing when the item is not in the heap.
func (h *heap[T]) drop(item T) {
	i := *h.place(item) - 1
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	*h.place(item) = 0
	if i < last {
		h.down(h.up(i))
	}
}

func (h *heap[T]) up(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.place(h.items[i]) = i + 1
	*h.place(h.items[j]) = j + 1
}
