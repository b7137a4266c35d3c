// Package request is what degrade and degradehttp keep of one request: the levels it began with, and
// what it was served that was not the real thing.
package request

import (
	"context"
	"sync"
	"time"
)

// A Context carries one request's facts. It is made once, by whoever is first; its zero value plus a parent is ready.
type Context struct {
	context.Context

	// Owner is the controller whose levels are pinned; nil = none. Levels is by Feature.index. Neither changes once the context
	// is in use.
	Owner  any
	Levels []uint8

	// Outer is the Context this one was made inside of, if there is one: notes are told to it too.
	Outer *Context

	mu    sync.Mutex // guards notes
	notes []Note
}

// Open, as Owner, says that whoever made the Context leaves it to the next Pin to fill, before anybody else has it.
type Open struct{}

// Of returns the Context that owner's levels are pinned in, c itself or one around it, or nil. c may be nil.
func (c *Context) Of(owner any) *Context {
	for ; c != nil; c = c.Outer {
		if c.Owner == owner {
			return c
		}
	}
	return nil
}

// A Note says that something else than the primary answer was served.
type Note struct {
	Name   string // of the feature or dependency
	Level  string
	Source string
	Age    time.Duration // of a stale answer
	Beyond time.Duration // how long it has not been fresh
}

type key struct{}

// Value makes the Context findable.
func (c *Context) Value(k any) any {
	if _, ok := k.(key); ok {
		return c
	}
	return c.Context.Value(k)
}

// From returns the innermost Context of ctx, or nil.
func From(ctx context.Context) *Context {
	c, _ := ctx.Value(key{}).(*Context)
	return c
}

// Shadow returns a context for work whose answer nobody gets: same levels, notes and sources told to nobody.
func Shadow(ctx context.Context) context.Context {
	shadow, _ := Apart(ctx)
	return shadow
}

// Apart returns a context for work that is shared by several requests: same levels; notes and sources are kept in it and in served, for
// whoever passes them on when the work is done.
func Apart(ctx context.Context) (apart *Context, served *Served) {
	served = &Served{}
	apart = &Context{Context: Serving(ctx, served)}
	if c := From(ctx); c != nil {
		apart.Owner, apart.Levels = c.Owner, c.Levels // of the innermost; others are seen as they are now
	}
	return apart, served
}

const maxNotes = 16

// Add keeps n for the answer, unless there are too many or the same was said.
func (c *Context) Add(n Note) {
	if c.Outer != nil {
		c.Outer.Add(n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.notes {
		if c.notes[i].Name == n.Name && c.notes[i].Source == n.Source {
			c.notes[i].Age, c.notes[i].Beyond = max(n.Age, c.notes[i].Age), max(n.Beyond, c.notes[i].Beyond)
			return
		}
	}
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, n)
	}
}

// Notes returns what was noted so far.
func (c *Context) Notes() []Note {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Note(nil), c.notes...)
}

// A Served is filled by what answers inside a fallback, for the Result of the call around it.
type Served struct {
	Source uint8
	Age    time.Duration
	Set    bool
}

type servedKey struct{}

// Serving returns a context whose Stale and Stub answers are told to s.
func Serving(ctx context.Context, s *Served) context.Context {
	return context.WithValue(ctx, servedKey{}, s)
}

// Tell tells the call around ctx, if there is one, where its answer came from. Only the calling goroutine's.
func Tell(ctx context.Context, source uint8, age time.Duration) {
	if s, ok := ctx.Value(servedKey{}).(*Served); ok {
		*s = Served{source, age, true}
	}
}
