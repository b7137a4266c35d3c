package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A hooked replica runs something between a caller's step and the store, once.
type hooked struct {
	idempotency.Replica
	beforeBegin, beforeRenew, afterLoad func()
	corrupt                             string // the ID of a key that holds something else
}

func once(hook *func()) {
	if do := *hook; do != nil {
		*hook = nil
		do()
	}
}

func (h *hooked) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	once(&h.beforeBegin)
	if h.corrupt != "" && c.Key.ID == h.corrupt {
		return idempotency.Answer{}, idempotency.ErrCorrupt
	}
	return h.Replica.Begin(ctx, c)
}

func (h *hooked) Renew(ctx context.Context, r idempotency.Renewal) (idempotency.Status, error) {
	once(&h.beforeRenew)
	return h.Replica.Renew(ctx, r)
}

func (h *hooked) Load(ctx context.Context, k idempotency.Key) (idempotency.Record, error) {
	r, err := h.Replica.Load(ctx, k)
	once(&h.afterLoad)
	return r, err
}

func (h *hooked) Put(ctx context.Context, k idempotency.Key, r idempotency.Record) error {
	if h.corrupt != "" && k.ID == h.corrupt {
		return idempotency.ErrCorrupt
	}
	return h.Replica.Put(ctx, k, r)
}

// hook puts a hooked replica into a Region.
func (r *region) hook() *hooked {
	h := &hooked{Replica: r.Replica}
	r.Replica = h
	return h
}

func (two *twoRegions) resync(t *testing.T) {
	t.Helper()
	if err := two.Resync(t.Context()); err != nil {
		t.Errorf("Resync = %v", err)
	}
}

// noted fails the test when the writer has notes and UnprotectedSince does not say so.
func (two *twoRegions) noted(t *testing.T) {
	t.Helper()
	if marks := two.east.marks(t); len(marks) != 1 {
		t.Fatalf("marks = %v, want one", marks)
	}
	if two.UnprotectedSince().IsZero() {
		t.Error("UnprotectedSince is zero while a key is noted as missed")
	}
}

func TestUnprotectedSinceOutlastsARacingResync(t *testing.T) {
	bubble(t, "between a copy that failed and its note", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		two.east.hook().beforeRenew = func() {
			two.west.setDown(false)
			two.resync(t) // finds no note yet
		}
		claim(t, two.Regional, key("a"), time.Minute)
		two.noted(t)
	})
	bubble(t, "between the decision to leave the copy out and the write", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		claim(t, two.Regional, key("first"), time.Minute)
		two.east.hook().beforeBegin = func() {
			two.west.setDown(false)
			two.resync(t)
		}
		claim(t, two.Regional, key("a"), time.Minute)
		two.noted(t)
	})
}

func TestResyncBringsBackNoReleasedClaim(t *testing.T) {
	bubble(t, "released between load and put", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		h := claim(t, two.Regional, key("a"), time.Minute)
		two.west.setDown(false)
		time.Sleep(2 * time.Second)
		two.east.hook().afterLoad = func() {
			if s, err := two.Release(t.Context(), idempotency.Release{Holder: h}); err != nil || s != idempotency.StatusGranted {
				t.Errorf("Release = %v, %v", s, err)
			}
		}
		two.resync(t)
		if got := two.west.state(t); got != idempotency.StateAbsent {
			t.Errorf("the replica knows a released key as %v", got)
		}
	})
}

func TestResyncCopiesACheckpoint(t *testing.T) {
	for _, end := range []idempotency.State{idempotency.StateInFlight, idempotency.StateHeld} {
		bubble(t, end.String(), func(t *testing.T) {
			two := newTwoRegions(t)
			h := claim(t, two.Regional, key("a"), time.Minute)
			time.Sleep(5 * time.Second)
			two.west.setDown(true)
			if s, err := two.Renew(t.Context(), idempotency.Renewal{Holder: h, Lease: time.Minute, Retention: time.Hour, Checkpoint: []byte("half")}); err != nil || s != idempotency.StatusGranted {
				t.Fatalf("Renew = %v, %v", s, err)
			}
			two.west.setDown(false)
			time.Sleep(2 * time.Second)
			if end == idempotency.StateHeld {
				_, _ = two.Release(t.Context(), idempotency.Release{Holder: h, Hold: true, Retention: time.Hour})
			}
			two.resync(t)
			r, err := two.west.Replica.Load(t.Context(), key("a"))
			if err != nil || r.State != end || string(r.Checkpoint) != "half" {
				t.Errorf("the replica knows %v with checkpoint %q, %v, want %v with half", r.State, r.Checkpoint, err, end)
			}
		})
	}
}

func TestOneBadKeyKeepsNoOtherFromBeingCopied(t *testing.T) {
	bubble(t, "resync goes on", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		for i := range 30 {
			claim(t, two.Regional, key(fmt.Sprint(i)), time.Minute)
		}
		two.west.hook().corrupt = "17"
		two.west.setDown(false)
		if err := two.Resync(t.Context()); !errors.Is(err, idempotency.ErrCorrupt) || two.UnprotectedSince().IsZero() {
			t.Errorf("Resync = %v, unprotected since %v, want an error and a time", err, two.UnprotectedSince())
		}
		for i := range 30 {
			if r, _ := two.west.Replica.Load(t.Context(), key(fmt.Sprint(i))); i != 17 && r.State != idempotency.StateInFlight {
				t.Errorf("key %d: the replica knows %v", i, r.State)
			}
		}
	})
	bubble(t, "the replica counts as there", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.hook().corrupt = "bad"
		claim(t, two.Regional, key("bad"), time.Minute)
		claim(t, two.Regional, key("a"), time.Minute)
		if got := two.west.state(t); got != idempotency.StateInFlight {
			t.Errorf("after a bad key the replica knows the next one as %v", got)
		}
	})
}

// A process that still takes east for the writer ends its attempt after west, in a later epoch, has taken the key over
// without reaching east.
func TestALateWriterGivesWay(t *testing.T) {
	type world struct {
		old, next *idempotency.Regional
		east      *region
		first     idempotency.Holder
		second    idempotency.Holder
	}
	start := func(t *testing.T) world {
		east, west := newRegion(t), newRegion(t)
		as := func(writer string, east idempotency.Store) *idempotency.Regional {
			r, err := idempotency.NewRegional(func() ([]string, string) { return nil, writer }, map[string]idempotency.Store{"east": east, "west": west}, idempotency.RegionalConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		far := &region{Replica: east} // east, as west reaches it
		w := world{old: as("east", east), next: as("west", far), east: far}
		begin := func(r *idempotency.Regional, epoch uint64) idempotency.Holder {
			c := idempotency.Claim{Key: key("a"), Owner: idempotency.Owner{byte(epoch)}, Epoch: epoch, Lease: time.Minute, Retention: time.Hour, TakeAbandoned: true}
			a, err := r.Begin(t.Context(), c)
			if err != nil || a.Status != idempotency.StatusGranted {
				t.Fatalf("Begin in epoch %d = %v, %v", epoch, a.Status, err)
			}
			return idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: a.Record.Fence}
		}
		w.first = begin(w.old, 4)
		far.setDown(true)
		w.second = begin(w.next, 5)
		return w
	}
	complete := func(t *testing.T, r *idempotency.Regional, h idempotency.Holder, result string) idempotency.Answer {
		t.Helper()
		a, err := r.Complete(t.Context(), idempotency.Completion{Holder: h, Result: []byte(result), Retention: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	agree := func(t *testing.T, w world) {
		t.Helper()
		w.east.setDown(false)
		time.Sleep(2 * time.Second)
		if err := w.next.Resync(t.Context()); err != nil {
			t.Error(err)
		}
		for _, r := range []*idempotency.Regional{w.old, w.next} {
			a, err := r.Begin(t.Context(), idempotency.Claim{Key: key("a"), Owner: idempotency.Owner{9}, Existing: true})
			if err != nil || string(a.Record.Result) != "new" {
				t.Errorf("afterwards a Region says %v %q, %v, want the new result", a.Status, a.Record.Result, err)
			}
		}
	}
	bubble(t, "while the new one runs", func(t *testing.T) {
		w := start(t)
		if a := complete(t, w.old, w.first, "old"); a.Status != idempotency.StatusFenced {
			t.Errorf("the late owner's Complete = %v, want fenced", a.Status)
		}
		if a := complete(t, w.next, w.second, "new"); a.Status != idempotency.StatusGranted {
			t.Errorf("the new owner's Complete = %v, want granted", a.Status)
		}
		agree(t, w)
	})
	bubble(t, "after the new one ended", func(t *testing.T) {
		w := start(t)
		complete(t, w.next, w.second, "new")
		if a := complete(t, w.old, w.first, "old"); a.Status != idempotency.StatusDone || string(a.Record.Result) != "new" {
			t.Errorf("the late owner's Complete = %v %q, want done and the new result", a.Status, a.Record.Result)
		}
		agree(t, w)
	})
	bubble(t, "at its next heartbeat", func(t *testing.T) {
		w := start(t)
		s, err := w.old.Renew(t.Context(), idempotency.Renewal{Holder: w.first, Lease: time.Minute, Retention: time.Hour})
		if err != nil || s != idempotency.StatusFenced {
			t.Errorf("the late owner's Renew = %v, %v, want fenced", s, err)
		}
	})
}

func TestNewRegionalRefusesAReplicaWithoutAStore(t *testing.T) {
	_, err := idempotency.NewRegional(func() ([]string, string) { return nil, "east" }, map[string]idempotency.Store{"east": newRegion(t)},
		idempotency.RegionalConfig{ReplicaOf: func(string) string { return "wset" }})
	if err == nil {
		t.Error("a replica Region without a store is accepted: its keys would have no second copy")
	}
}
