package request

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestFromAndOf(t *testing.T) {
	if From(context.Background()) != nil || From(context.Background()).Of("a") != nil {
		t.Error("a context without facts has some")
	}
	outer := &Context{Context: context.Background(), Owner: "a"}
	inner := &Context{Context: context.WithValue(outer, plain{}, 1), Owner: "b", Outer: outer}
	if From(inner) != inner || From(inner).Of("a") != outer || From(inner).Of("b") != inner || From(inner).Of("c") != nil {
		t.Error("owners are mixed up")
	}
	if inner.Value(plain{}) != 1 {
		t.Error("the parent's values are hidden")
	}
}

func TestNotesReachTheOutermostAndAreBounded(t *testing.T) {
	outer := &Context{Context: context.Background()}
	inner := &Context{Context: outer, Outer: outer}
	inner.Add(Note{Name: "a", Source: "stale", Age: time.Second})
	inner.Add(Note{Name: "a", Source: "stale", Age: time.Minute, Beyond: time.Second})
	inner.Add(Note{Name: "a", Source: "stub"})
	if n := outer.Notes(); len(n) != 2 || n[0].Age != time.Minute || n[0].Beyond != time.Second {
		t.Errorf("notes = %+v, want the oldest of each source", n)
	}
	for i := range 100 {
		inner.Add(Note{Name: fmt.Sprint(i)})
	}
	if n := len(outer.Notes()); n != maxNotes {
		t.Errorf("%d notes, want %d", n, maxNotes)
	}
}

func TestShadowTellsNobody(t *testing.T) {
	var served Served
	seen := &Context{Context: Serving(context.Background(), &served), Owner: "a", Levels: []uint8{2}}
	shadow := Shadow(seen)
	Tell(shadow, 2, time.Second)
	From(shadow).Add(Note{Name: "a"})
	if served.Set || len(seen.Notes()) != 0 {
		t.Errorf("the shadow told %+v and %v", served, seen.Notes())
	}
	if c := From(shadow).Of("a"); c == nil || c.Levels[0] != 2 {
		t.Error("the shadow sees other levels")
	}
	Tell(seen, 3, time.Minute)
	if served != (Served{3, time.Minute, true}) {
		t.Errorf("served = %+v", served)
	}
}

type plain struct{}
