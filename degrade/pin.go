package degrade

import (
	"context"

	"github.com/holdfast-go/holdfast/internal/request"
)

// Pin returns a context whose request sees every feature at the level it has now, until a minute (Config.PinFor) after a
// change: one request does not read at Normal and then write at ReadOnly, and a stream of an hour does not ignore an outage.
// [Read], [Write], [Feature.Allow] and [Feature.LevelIn] look at it; [Feature.Level] does not. Pinning costs one allocation,
// and nothing on calls while no level has changed of late. A context that is pinned stays as it is.
func (c *Controller) Pin(ctx context.Context) context.Context {
	r := request.From(ctx)
	open := r != nil && r.Owner == any(request.Open{})
	if open {
		r.Owner = nil
	}
	if r.Of(c) != nil {
		return ctx
	}
	if !open {
		r = &request.Context{Context: ctx, Outer: r}
		ctx = r
	}
	r.Owner = c
	if levels := c.pins.Load(); levels != nil {
		r.Levels = *levels
	}
	return ctx
}

// pinned is the level ctx was pinned at, or now.
func (f *Feature) pinned(ctx context.Context, now Level) Level {
	if r := request.From(ctx).Of(f.c); r != nil && f.index < len(r.Levels) {
		return Level(r.Levels[f.index])
	}
	return now
}

// snapshotLocked keeps the levels for pins, if they have changed.
func (c *Controller) snapshotLocked() {
	old := c.pins.Load()
	changed := old == nil || len(*old) != len(c.features)
	for i, f := range c.features {
		changed = changed || (*old)[i] != uint8(f.Level())
	}
	if !changed {
		return
	}
	levels := make([]uint8, len(c.features))
	for i, f := range c.features {
		levels[i] = uint8(f.Level())
	}
	c.pins.Store(&levels)
}
