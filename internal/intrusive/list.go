// Package intrusive has a doubly linked list whose links lie in its elements: it allocates nothing, and takes an element out without a search.
//
//	type call struct {
//		due  time.Time
//		link intrusive.Link[call]
//	}
//	var calls intrusive.List[call] // the zero value is empty
//	calls.PushBack(c, &c.link)
//	for c := calls.First(); c != nil; c = c.link.Next() {
//		…
//	}
//
// A list does not lock: what guards it guards the links of its elements too.
//
// A link points to its element. Finding it by a method of the element would save the pointer and cost three times the time: the calls go through the
// dictionary of the type parameter.
package intrusive

// A Link is an element's place in a [List]. It is in at most one list at a time; the zero value is in none.
type Link[T any] struct {
	prev, next *Link[T]
	of         *T // nil while it is in no list
}

// Listed reports whether the element is in a list.
func (l *Link[T]) Listed() bool { return l.of != nil }

// Next returns the element after, nil after the last.
func (l *Link[T]) Next() *T { return l.next.element() }

// Prev returns the element before, nil before the first.
func (l *Link[T]) Prev() *T { return l.prev.element() }

func (l *Link[T]) element() *T {
	if l == nil {
		return nil
	}
	return l.of
}

// A List is a list of elements from the first to the last. The zero value is empty.
type List[T any] struct{ first, last *Link[T] }

// First returns the first element, nil if there is none.
func (s *List[T]) First() *T { return s.first.element() }

// Last returns the last element, nil if there is none.
func (s *List[T]) Last() *T { return s.last.element() }

// PushBack makes e, whose link l is in no list, the last element.
func (s *List[T]) PushBack(e *T, l *Link[T]) { s.InsertAfter(e, l, s.last) }

// InsertAfter puts e, whose link l is in no list, behind the element of at, or first if at is nil.
func (s *List[T]) InsertAfter(e *T, l, at *Link[T]) {
	l.of, l.prev, l.next = e, at, s.first
	if at != nil {
		l.next, at.next = at.next, l
	} else {
		s.first = l
	}
	if l.next != nil {
		l.next.prev = l
	} else {
		s.last = l
	}
}

// InsertSorted puts e, whose link l is in no list, behind the last element that is not later than it. It looks from the end.
func (s *List[T]) InsertSorted(e *T, l *Link[T], later func(*T) bool) {
	at := s.last
	for at != nil && later(at.of) {
		at = at.prev
	}
	s.InsertAfter(e, l, at)
}

// Remove takes the element of l out. It does nothing if that is in no list.
func (s *List[T]) Remove(l *Link[T]) {
	if l.of == nil {
		return
	}
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		s.first = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	} else {
		s.last = l.prev
	}
	*l = Link[T]{}
}

// MoveToBack makes the element of l, which is in s, the last one.
func (s *List[T]) MoveToBack(l *Link[T]) {
	if s.last != l {
		e := l.of
		s.Remove(l)
		s.PushBack(e, l)
	}
}
