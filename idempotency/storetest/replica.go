package storetest

import (
	"fmt"

	"github.com/holdfast-go/holdfast/idempotency"
)

func (k *kit) replica() idempotency.Replica {
	r, ok := k.Store.(idempotency.Replica)
	if !ok {
		k.Skip("the store is no Replica")
	}
	return r
}

func (k *kit) load(id string) idempotency.Record {
	k.Helper()
	r, err := k.replica().Load(k.ctx, key(id))
	if err != nil {
		k.Fatal(err)
	}
	return r
}

func (k *kit) putRecord(id string, r idempotency.Record) {
	k.Helper()
	if err := k.replica().Put(k.ctx, key(id), r); err != nil {
		k.Fatal(err)
	}
}

func (k *kit) put() {
	if r := k.load("absent"); r.State != idempotency.StateAbsent {
		k.Errorf("Load of an absent key = %+v", r)
	}
	h := k.grant("a", long)
	k.renewed(h, long, []byte("half"), idempotency.StatusGranted)
	r := k.load("a")
	if r.State != idempotency.StateInFlight || r.Owner != h.Owner || r.Fence != h.Fence || r.Fingerprint != h.Key.Fingerprint || r.Lease <= 0 || r.Retention <= 0 {
		k.Errorf("Load = %+v, want the record of %v", r, h.Fence)
	}
	k.putRecord("b", r)
	copied := h
	copied.Key = key("b")
	k.begin(taking(newClaim("b", long)), idempotency.StatusInFlight)
	k.renewed(copied, short, nil, idempotency.StatusGranted) // the owner is known there
	k.expire()
	if got := k.begin(taking(newClaim("b", long)), idempotency.StatusGranted); string(got.Checkpoint) != "half" || got.Attempt != 2 {
		k.Errorf("takeover of a copy = %+v, want attempt 2 and the checkpoint", got)
	}
	k.outranked()
}

func (k *kit) outranked() {
	newer := k.load("b")
	older := newer
	older.Fence.N--
	k.putRecord("b", older)
	if got := k.load("b"); got.Fence != newer.Fence {
		k.Errorf("a lower fence replaced %v with %v", newer.Fence, got.Fence)
	}
	beaten, stale := newer, newer
	beaten.Lease, beaten.Checkpoint = newer.Lease+long, []byte("more")
	k.putRecord("b", beaten)
	stale.Lease = -newer.Running
	k.putRecord("b", stale)
	if got := k.load("b"); string(got.Checkpoint) != "more" || got.Lease <= newer.Lease {
		k.Errorf("of one attempt the later heartbeat does not stand: %+v", got)
	}
	heldNow := newer
	heldNow.State = idempotency.StateHeld
	k.putRecord("b", heldNow)
	if got := k.load("b"); got.State != idempotency.StateHeld {
		k.Errorf("held did not replace in flight under one fence: %+v", got)
	}
	k.putRecord("b", newer)
	if got := k.load("b"); got.State != idempotency.StateHeld {
		k.Errorf("in flight replaced held under one fence: %+v", got)
	}
	done := older
	done.State, done.Result = idempotency.StateDone, []byte("x")
	k.putRecord("b", done)
	if got := k.load("b"); got.State != idempotency.StateDone || string(got.Result) != "x" {
		k.Errorf("a result did not replace a claim: %+v", got)
	}
	k.putRecord("b", newer)
	if got := k.load("b"); got.State != idempotency.StateDone {
		k.Errorf("a claim replaced a result: %+v", got)
	}
	k.begin(newClaim("b", long), idempotency.StatusDone)
}

func (k *kit) discard() {
	r := k.replica()
	h := k.grant("a", long)
	lower, higher := h.Fence, h.Fence
	lower.N--
	higher.N++
	step := func(f idempotency.Fence, want idempotency.State) {
		k.Helper()
		if err := r.Discard(k.ctx, h.Key, f); err != nil {
			k.Fatal(err)
		}
		if got := k.load("a"); got.State != want {
			k.Errorf("after Discard(%v) of %v: %v, want %v", f, h.Fence, got.State, want)
		}
	}
	step(lower, idempotency.StateInFlight)
	step(h.Fence, idempotency.StateAbsent)
	step(h.Fence, idempotency.StateAbsent)
	k.complete(h, "x", idempotency.StatusGranted)
	step(higher, idempotency.StateDone)
}

func (k *kit) marks(want int) []idempotency.Mark {
	k.Helper()
	var marks []idempotency.Mark
	for m, err := range k.replica().Unsynced(k.ctx) {
		if err != nil {
			k.Fatal(err)
		}
		marks = append(marks, m)
	}
	if len(marks) != want {
		k.Fatalf("Unsynced = %v, want %d marks", marks, want)
	}
	return marks
}

func (k *kit) unsynced() {
	k.marks(0)
	c := newClaim("a", long)
	c.Unsynced = true
	h := holder(c, k.begin(c, idempotency.StatusGranted))
	first := k.marks(1)[0]
	if want := (idempotency.Key{Scope: c.Key.Scope, Op: c.Key.Op, ID: c.Key.ID}); first.Key != want || first.Fence != h.Fence {
		k.Errorf("mark = %+v, want %+v under %v", first, want, h.Fence)
	}
	if _, err := k.Store.Complete(k.ctx, idempotency.Completion{Holder: h, Result: []byte("x"), Retention: kept, Unsynced: true}); err != nil {
		k.Fatal(err)
	}
	k.clear(first)
	again := k.marks(1)[0] // written since the mark was listed
	k.clear(again)
	k.marks(0)

	k.everyStepMarks()
	for i := range 30 {
		c := newClaim(fmt.Sprint("many", i), long)
		c.Unsynced = true
		k.begin(c, idempotency.StatusGranted)
	}
	for range k.replica().Unsynced(k.ctx) { //nolint:errcheck // it is broken off
		break // half a listing is no trouble
	}
	for _, m := range k.marks(30) {
		k.clear(m)
	}
	k.marks(0)
}

// notedWrites shows that a claim that asks for it hears of a result that the peer has missed, and that a note can be
// cleared by the fence of its write.
func (k *kit) notedWrites() {
	k.replica()
	h := k.grant("a", long)
	missed := func(want bool) {
		k.Helper()
		c := newClaim("a", long)
		c.Noted = true
		a, err := k.Store.Begin(k.ctx, c)
		if err != nil || a.Status != idempotency.StatusDone || (a.Missed != 0) != want {
			k.Fatalf("Begin = %v, missed %d, %v, want done, missed %t", a.Status, a.Missed, err, want)
		}
		if want && a.Missed != k.marks(1)[0].Count {
			k.Errorf("missed = %d, want the count of %v", a.Missed, k.marks(1))
		}
	}
	complete := func(h idempotency.Holder) {
		k.Helper()
		a, err := k.Store.Complete(k.ctx, idempotency.Completion{Holder: h, Result: []byte("x"), Retention: kept, Unsynced: true})
		if err != nil || a.Status != idempotency.StatusGranted {
			k.Fatalf("Complete = %v, %v", a.Status, err)
		}
	}
	complete(h)
	missed(true)
	k.begin(newClaim("a", long), idempotency.StatusDone)
	other := h.Fence
	other.N++
	k.clear(idempotency.Mark{Key: h.Key, Fence: other})
	missed(true)
	k.clear(idempotency.Mark{Key: h.Key, Fence: h.Fence})
	missed(false)
	complete(h) // sent again
	k.clear(k.marks(1)[0])
	missed(false)
}

func (k *kit) clear(m idempotency.Mark) {
	k.Helper()
	if err := k.replica().Synced(k.ctx, m); err != nil {
		k.Fatal(err)
	}
}

func (k *kit) everyStepMarks() {
	h := k.grant("steps", long)
	steps := []func() error{
		func() error {
			_, err := k.Store.Renew(k.ctx, idempotency.Renewal{Holder: h, Lease: long, Retention: kept, Unsynced: true})
			return err
		},
		func() error {
			_, err := k.Store.Release(k.ctx, idempotency.Release{Holder: h, Retention: kept, Unsynced: true})
			return err
		},
		func() error { // there is nothing left, but the peer may have it
			_, err := k.Store.Release(k.ctx, idempotency.Release{Holder: h, Retention: kept, Unsynced: true})
			return err
		},
		func() error {
			_, err := k.Store.Release(k.ctx, idempotency.Release{Holder: h, Retention: kept, Hold: true, Unsynced: true})
			return err
		},
		func() error {
			_, err := k.Store.Complete(k.ctx, idempotency.Completion{Holder: h, Result: []byte("x"), Retention: kept, Unsynced: true})
			return err
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			k.Fatalf("step %d: %v", i, err)
		}
		k.clear(k.marks(1)[0])
	}
}
