package degrade

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast/internal/request"
)

// A Stub stands in for a client of a dependency that exists in one Region only. T is usually an interface.
type Stub[T any] struct {
	d          *Dependency
	real, stub T
}

// NewStub returns a Stub for d. It panics if d is not Stubbed.
func NewStub[T any](d *Dependency, real, stub T) *Stub[T] {
	if !d.cfg.Stubbed {
		must(fmt.Errorf("NewStub: dependency %q is not Stubbed: features would not know that a stub answers", d.name))
	}
	return &Stub[T]{d: d, real: real, stub: stub}
}

// Pick returns the stub away from the dependency's home, and at home only while an override says that the dependency is
// down; else the real client. The choice is one atomic load. A stub is noted on the request of ctx, for its Degradation field, and
// is the Source of a [Result] around it.
func (s *Stub[T]) Pick(ctx context.Context) T {
	if !s.d.stubbing.Load() {
		return s.real
	}
	s.d.NoteStub(ctx)
	return s.stub
}

// Stubbing reports whether a stub answers for d now; see [Stub.Pick].
func (d *Dependency) Stubbing() bool { return d.stubbing.Load() }

// NoteStub notes on the request of ctx that a stub answered for d. [Stub] does it by itself.
func (d *Dependency) NoteStub(ctx context.Context) {
	d.stubs.Add(1)
	request.Tell(ctx, uint8(SourceStub), 0)
	if c := request.From(ctx); c != nil {
		c.Add(request.Note{Name: d.name, Source: SourceStub.String()})
	}
}
