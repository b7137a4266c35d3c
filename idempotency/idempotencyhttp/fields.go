package idempotencyhttp

import (
	"net/http"
	"slices"
	"strings"
)

// fields are a header as it was when it was taken: what becomes of it afterwards does not change them.
type fields []field

// A field is a name with its values.
type field struct {
	name string
	n    int // of values
	one  [1]string
	many []string // if n is not one
}

// take returns the fields of h, in room as far as there is some.
func take(h http.Header, room []field) fields {
	fs := room[:0]
	for name, values := range h {
		f := field{name: name, n: len(values)}
		if f.n == 1 {
			f.one[0] = values[0]
		} else {
			f.many = slices.Clone(values)
		}
		fs = append(fs, f)
	}
	return fs
}

// values returns the field's values, which the caller may not change.
func (f *field) values() []string {
	if f.n == 1 {
		return f.one[:]
	}
	return f.many
}

// get returns the field of that name, or nil.
func (fs fields) get(name string) *field {
	for i := range fs {
		if fs[i].name == name {
			return &fs[i]
		}
	}
	return nil
}

// sort puts fields in the order in which they are stored.
func (fs fields) sort() {
	slices.SortFunc(fs, func(a, b field) int { return strings.Compare(a.name, b.name) })
}

// copyTo makes h have these fields and no others.
func (fs fields) copyTo(h http.Header) {
	for name := range h {
		if fs.get(name) == nil {
			delete(h, name)
		}
	}
	for i := range fs {
		h[fs[i].name] = fs[i].values()
	}
}

// header returns a header of these fields whose owner may change it. Its values lie in room, as far as there is some.
func (fs fields) header(room []string) http.Header {
	h := make(http.Header, len(fs))
	for i := range fs {
		begin := len(room)
		room = append(room, fs[i].values()...)
		h[fs[i].name] = room[begin:len(room):len(room)]
	}
	return h
}
