package idempotencyhttp

import (
	"net/http"
	"slices"
	"strings"
)

// fields are a header as it was when it was taken: what becomes of it afterwards does not change them. Those of most responses take no memory of
// their own.
type fields struct {
	all  []field // by name, once sorted
	room [8]field
}

// A field is a name with its values.
type field struct {
	name string
	n    int // of values
	one  [1]string
	many []string // if n is not one
}

// take copies h.
func (fs *fields) take(h http.Header) {
	fs.all = fs.room[:0]
	for name, values := range h {
		f := field{name: name, n: len(values)}
		if f.n == 1 {
			f.one[0] = values[0]
		} else {
			f.many = slices.Clone(values)
		}
		fs.all = append(fs.all, f)
	}
}

// values returns the field's values, which the caller may not change.
func (f *field) values() []string {
	if f.n == 1 {
		return f.one[:]
	}
	return f.many
}

// get returns the field of that name, or nil.
func (fs *fields) get(name string) *field {
	for i := range fs.all {
		if fs.all[i].name == name {
			return &fs.all[i]
		}
	}
	return nil
}

// sort puts fields in the order in which they are stored.
func (fs *fields) sort() {
	slices.SortFunc(fs.all, func(a, b field) int { return strings.Compare(a.name, b.name) })
}

// copyTo makes h have these fields and no others.
func (fs *fields) copyTo(h http.Header) {
	for name := range h {
		if fs.get(name) == nil {
			delete(h, name)
		}
	}
	for i := range fs.all {
		h[fs.all[i].name] = fs.all[i].values()
	}
}
