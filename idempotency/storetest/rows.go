package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

func (k *kit) absentKeyIsGranted() {
	r := k.begin(newClaim("a", long), idempotency.StatusGranted)
	if r.Attempt != 1 || r.Prior != idempotency.StateAbsent || r.Checkpoint != nil || r.State != idempotency.StateInFlight {
		k.Errorf("Begin of an absent key = %+v, want attempt 1, in flight, with no past", r)
	}
	if r.Fence.N == 0 || r.Fence.N >= 1<<53 {
		k.Errorf("fence = %v, want 0 < N < 2^53", r.Fence)
	}
}

func (k *kit) retentionPasses() {
	for _, state := range []string{"in flight", "held", "done"} {
		c := newClaim(state, short)
		c.Retention = short
		h := holder(c, k.begin(c, idempotency.StatusGranted))
		k.shorten(h, state)
		k.expire()
		if r := k.begin(newClaim(state, long), idempotency.StatusGranted); r.Attempt != 1 || r.Prior != idempotency.StateAbsent {
			k.Errorf("%s, then past its retention: Begin = %+v, want attempt 1 with no past", state, r)
		}
	}
}

// shorten brings h into a state with a short retention.
func (k *kit) shorten(h idempotency.Holder, state string) {
	var err error
	switch state {
	case "held":
		_, err = k.Store.Release(k.ctx, idempotency.Release{Holder: h, Hold: true, Retention: short})
	case "done":
		_, err = k.Store.Complete(k.ctx, idempotency.Completion{Holder: h, Result: []byte("x"), Retention: short})
	}
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) doneKeyGivesItsResult() {
	k.complete(k.grant("a", long), "result", idempotency.StatusGranted)
	r := k.begin(newClaim("a", long), idempotency.StatusDone)
	if string(r.Result) != "result" || r.State != idempotency.StateDone || r.Retention <= 0 || r.Retention > kept {
		k.Errorf("Begin of a done key = %+v, want its result and what is left of %v", r, kept)
	}
	k.begin(taking(newClaim("a", long)), idempotency.StatusDone)
}

func (k *kit) resultsComeBack() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, result := range []string{"\x00", string(all), strings.Repeat("\r\n", 600_000), " "} {
		id := fmt.Sprint(i)
		k.complete(k.grant(id, long), result, idempotency.StatusGranted)
		if r := k.begin(newClaim(id, long), idempotency.StatusDone); string(r.Result) != result {
			k.Errorf("result %d of %d bytes came back with %d", i, len(result), len(r.Result))
		}
	}
}

func (k *kit) mismatch() {
	live, passed, held, done := k.grant("live", long), k.grant("passed", short), k.grant("held", long), k.grant("done", long)
	k.released(held, true, idempotency.StatusGranted)
	k.complete(done, "x", idempotency.StatusGranted)
	k.expire()
	for _, h := range []idempotency.Holder{live, passed, held, done} {
		c := taking(newClaim(h.Key.ID, long))
		c.Key.Fingerprint = idempotency.Raw([]byte("other"))
		k.begin(c, idempotency.StatusMismatch)
	}
	k.complete(passed, "x", idempotency.StatusGranted) // a mismatch takes nothing over
}

func (k *kit) resentBegin() {
	c := newClaim("a", long)
	first := k.begin(c, idempotency.StatusGranted)
	again := k.begin(c, idempotency.StatusGranted)
	if again.Fence != first.Fence || again.Attempt != 1 {
		k.Errorf("resent Begin = %v, attempt %d, want %v, attempt 1", again.Fence, again.Attempt, first.Fence)
	}
	c = taking(newClaim("b", short))
	k.begin(c, idempotency.StatusGranted)
	k.expire()
	if r := k.begin(c, idempotency.StatusGranted); r.Attempt != 1 {
		k.Errorf("resent Begin after the lease = attempt %d, want 1", r.Attempt)
	}
}

func (k *kit) inFlight() {
	first := k.grant("a", long)
	k.Advance(short)
	r := k.begin(taking(newClaim("a", long)), idempotency.StatusInFlight)
	if r.Lease <= 0 || r.Lease > long || r.Running < short || r.Fence != first.Fence || r.Owner != first.Owner {
		k.Errorf("Begin of a key in flight = %+v, want the owner's fence, the lease left and at least %v running", r, short)
	}
}

func (k *kit) abandoned() {
	k.grant("a", short)
	k.expire()
	if r := k.begin(newClaim("a", long), idempotency.StatusAbandoned); r.Lease > 0 || r.Attempt != 1 {
		k.Errorf("Begin of an abandoned key = %+v, want no lease, attempt 1", r)
	}
	k.begin(newClaim("a", long), idempotency.StatusAbandoned) // asking changes nothing
}

func (k *kit) takeover() {
	old := k.grant("a", short)
	k.renewed(old, short, []byte("half"), idempotency.StatusGranted)
	k.expire()
	c := taking(newClaim("a", long))
	r := k.begin(c, idempotency.StatusGranted)
	if r.Attempt != 2 || r.Prior != idempotency.StateInFlight || string(r.Checkpoint) != "half" || r.Fence.Compare(old.Fence) <= 0 {
		k.Errorf("takeover = %+v, want attempt 2, prior in flight, the checkpoint and a fence above %v", r, old.Fence)
	}
	k.renewed(old, long, nil, idempotency.StatusFenced)
	k.complete(old, "old", idempotency.StatusFenced)
	k.released(old, false, idempotency.StatusFenced)
	k.released(old, true, idempotency.StatusFenced)
	k.complete(holder(c, r), "new", idempotency.StatusGranted)
}

func (k *kit) heldKey() {
	h := k.grant("a", long)
	k.released(h, true, idempotency.StatusGranted)
	k.released(h, true, idempotency.StatusGranted) // sent again
	if r := k.begin(newClaim("a", long), idempotency.StatusHeld); r.State != idempotency.StateHeld {
		k.Errorf("state = %v, want held", r.State)
	}
	c := newClaim("a", long)
	c.TakeHeld = true
	if r := k.begin(c, idempotency.StatusGranted); r.Attempt != 2 || r.Prior != idempotency.StateHeld || r.Fence.Compare(h.Fence) <= 0 {
		k.Errorf("takeover of a held key = %+v, want attempt 2, prior held, a higher fence", r)
	}
	k.complete(h, "old", idempotency.StatusFenced)
}

func (k *kit) lateComplete() {
	h := k.grant("a", short)
	k.expire()
	k.complete(h, "late", idempotency.StatusGranted)
	if r := k.begin(newClaim("a", long), idempotency.StatusDone); string(r.Result) != "late" {
		k.Errorf("result = %q, want late", r.Result)
	}
	h = k.grant("b", long)
	k.released(h, true, idempotency.StatusGranted)
	k.complete(h, "known after all", idempotency.StatusGranted)
}

func (k *kit) completeAbsent() {
	c := newClaim("a", long)
	h := holder(c, idempotency.Record{Fence: idempotency.Fence{N: 7}})
	k.complete(h, "true", idempotency.StatusGranted)
	k.complete(h, "true", idempotency.StatusGranted)
	if r := k.begin(newClaim("a", long), idempotency.StatusDone); string(r.Result) != "true" || r.Fence != h.Fence {
		k.Errorf("record = %+v, want the result under fence %v", r, h.Fence)
	}
	c = newClaim("a", long)
	c.Key.Fingerprint = idempotency.Sum{}
	k.begin(c, idempotency.StatusMismatch)
}

func (k *kit) resentComplete() {
	h := k.grant("a", long)
	k.complete(h, "x", idempotency.StatusGranted)
	k.complete(h, "x", idempotency.StatusGranted)
	k.released(h, false, idempotency.StatusFenced) // a result is never released
	k.released(h, true, idempotency.StatusFenced)
	k.renewed(h, long, nil, idempotency.StatusFenced)
	k.begin(newClaim("a", long), idempotency.StatusDone)
}

func (k *kit) completeFenced() {
	old := k.grant("a", short)
	k.expire()
	now := k.grant("a", long)
	k.complete(old, "old", idempotency.StatusFenced)
	k.begin(newClaim("a", long), idempotency.StatusInFlight)
	k.complete(now, "now", idempotency.StatusGranted)
}

func (k *kit) completeAfterOther() {
	old := k.grant("a", short)
	k.expire()
	k.complete(k.grant("a", long), "now", idempotency.StatusGranted)
	if r := k.complete(old, "old", idempotency.StatusDone); string(r.Result) != "now" {
		k.Errorf("Complete by the old owner = %q, want the result that is stored", r.Result)
	}
}

func (k *kit) renew() {
	k.renewed(holder(newClaim("absent", long), idempotency.Record{}), long, nil, idempotency.StatusFenced)
	k.begin(newClaim("absent", long), idempotency.StatusGranted) // Renew made nothing
	h := k.grant("a", short)
	k.renewed(h, long, nil, idempotency.StatusGranted)
	k.expire()
	k.begin(taking(newClaim("a", long)), idempotency.StatusInFlight)
	late := k.grant("b", short)
	k.expire()
	k.renewed(late, long, nil, idempotency.StatusGranted) // nobody took over
	k.begin(taking(newClaim("b", long)), idempotency.StatusInFlight)
	k.released(h, true, idempotency.StatusGranted)
	k.renewed(h, long, nil, idempotency.StatusFenced)
}

func (k *kit) checkpoint() {
	h := k.grant("a", long)
	for _, data := range []string{"\x00\xff", ""} {
		k.renewed(h, short, []byte(data), idempotency.StatusGranted)
		k.renewed(h, short, nil, idempotency.StatusGranted) // keeps it
		k.expire()
		r := k.begin(newClaim("a", long), idempotency.StatusAbandoned)
		if r.Checkpoint == nil || string(r.Checkpoint) != data {
			k.Errorf("checkpoint = %q (nil: %t), want %q", r.Checkpoint, r.Checkpoint == nil, data)
		}
	}
}

func (k *kit) release() {
	h := k.grant("a", long)
	k.released(h, false, idempotency.StatusGranted)
	k.released(h, false, idempotency.StatusAbsent)
	next := k.grant("a", long)
	k.released(h, false, idempotency.StatusFenced)
	k.released(h, true, idempotency.StatusFenced)
	k.begin(newClaim("a", long), idempotency.StatusInFlight)
	k.complete(next, "x", idempotency.StatusGranted)
}

func (k *kit) releaseRestoresAbandoned() {
	first := k.grant("a", short)
	k.renewed(first, short, []byte("half"), idempotency.StatusGranted)
	k.expire()
	second := k.grant("a", long)
	k.released(second, false, idempotency.StatusGranted)
	k.begin(newClaim("a", long), idempotency.StatusAbandoned)
	c := taking(newClaim("a", long))
	r := k.begin(c, idempotency.StatusGranted)
	if r.Attempt != 3 || r.Prior != idempotency.StateInFlight || string(r.Checkpoint) != "half" || r.Fence.Compare(second.Fence) <= 0 {
		k.Errorf("Begin after a released takeover = %+v, want attempt 3 with the past of attempt 1", r)
	}
	k.released(holder(c, r), false, idempotency.StatusGranted)
	k.complete(first, "late", idempotency.StatusGranted) // nobody owns the key and the result is true
}

func (k *kit) releaseRestoresHeld() {
	k.released(k.grant("a", long), true, idempotency.StatusGranted)
	second := k.grant("a", long)
	k.released(second, false, idempotency.StatusGranted)
	k.renewed(second, long, nil, idempotency.StatusFenced)
	k.begin(newClaim("a", long), idempotency.StatusHeld)
	if r := k.begin(taking(newClaim("a", long)), idempotency.StatusGranted); r.Attempt != 3 || r.Prior != idempotency.StateHeld {
		k.Errorf("Begin after a released takeover = %+v, want attempt 3, prior held", r)
	}
}

func (k *kit) holdAbsent() {
	h := holder(newClaim("a", long), idempotency.Record{Fence: idempotency.Fence{N: 7}})
	k.released(h, true, idempotency.StatusGranted)
	k.begin(newClaim("a", long), idempotency.StatusHeld)
	k.complete(h, "known after all", idempotency.StatusGranted)
}

func (k *kit) existing() {
	c := newClaim("a", long)
	c.Existing = true
	k.begin(c, idempotency.StatusAbsent)
	k.begin(c, idempotency.StatusAbsent)
	k.grant("a", short)
	k.expire()
	c.TakeAbandoned = true
	k.begin(c, idempotency.StatusGranted)
}

func (k *kit) epochs() {
	first := newClaim("a", long)
	first.Epoch = 7
	r := k.begin(first, idempotency.StatusGranted)
	if r.Fence.Epoch != 7 {
		k.Errorf("fence = %v, want epoch 7", r.Fence)
	}
	old := taking(newClaim("a", long))
	old.Epoch = 6
	k.begin(old, idempotency.StatusInFlight)
	next := newClaim("a", short)
	next.Epoch = 1 << 48
	k.begin(next, idempotency.StatusAbandoned)
	next.TakeAbandoned = true
	taken := k.begin(next, idempotency.StatusGranted)
	if taken.Fence.Compare(r.Fence) <= 0 || taken.Fence.Epoch != 1<<48 || taken.Prior != idempotency.StateInFlight {
		k.Errorf("takeover = %+v, want a fence above %v and prior in flight", taken, r.Fence)
	}
	k.complete(holder(first, r), "late", idempotency.StatusFenced)
	k.expire()
	k.begin(old, idempotency.StatusStale)
	k.complete(holder(next, taken), "x", idempotency.StatusGranted)
	k.begin(old, idempotency.StatusDone)
}

func (k *kit) fencesGrow() {
	var last idempotency.Fence
	for i := range 20 {
		h := k.grant("a", long)
		if h.Fence.Compare(last) <= 0 {
			k.Fatalf("fence %v of claim %d is not above %v", h.Fence, i, last)
		}
		last = h.Fence
		k.released(h, false, idempotency.StatusGranted)
		k.Advance(2 * time.Microsecond)
	}
}

func (k *kit) givenFence() {
	c := newClaim("a", short)
	c.Epoch, c.Fence = 3, idempotency.Fence{Epoch: 3, N: 1 << 52}
	if r := k.begin(c, idempotency.StatusGranted); r.Fence != c.Fence {
		k.Errorf("fence = %v, want the given %v", r.Fence, c.Fence)
	}
	k.expire()
	lower := taking(newClaim("a", long))
	lower.Epoch, lower.Fence = 3, idempotency.Fence{Epoch: 3, N: 5}
	if r := k.begin(lower, idempotency.StatusGranted); r.Fence.Compare(c.Fence) <= 0 {
		k.Errorf("fence = %v, want one above %v rather than the given %v", r.Fence, c.Fence, lower.Fence)
	}
}

func (k *kit) keysAreDistinct() {
	for _, parts := range [][3]string{
		{"", "", "a"},
		{"a", "", "a"},
		{"", "a", "a"},
		{"a", "a", "a"},
		{"a|a", "", "a"},
		{"", "a|a", "a"},
		{"a", "", "a|a"},
		{"", "", "a|a|a"},
		{"a%7C", "", "a"},
		{"a%", "7Ca", "a"},
		{"{a}", "", "a"},
		{"", "", "{a}"},
		{"", "", "A"},
		{"", "", "a "},
		{"", "", " a"},
		{"", "", `"a"`},
		{"", "", strings.Repeat("x", idempotency.MaxKeyLength)},
		{strings.Repeat("~", idempotency.MaxKeyLength), strings.Repeat("{", idempotency.MaxKeyLength), strings.Repeat("x", idempotency.MaxKeyLength)},
	} {
		c := newClaim("", long)
		c.Key.Scope, c.Key.Op, c.Key.ID = parts[0], parts[1], parts[2]
		a, err := k.Store.Begin(k.ctx, c)
		if err != nil || a.Status != idempotency.StatusGranted {
			k.Errorf("Begin of %q = %v, %v, want granted: no other key is the same", parts, a.Status, err)
		}
	}
}

func (k *kit) oneClaimWins() {
	for round := range 10 {
		var granted atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				a, err := k.Store.Begin(k.ctx, taking(newClaim(fmt.Sprint(round), long)))
				if err != nil {
					k.Error(err)
				} else if a.Status == idempotency.StatusGranted {
					granted.Add(1)
				}
			})
		}
		wg.Wait()
		if n := granted.Load(); n != 1 {
			k.Fatalf("%d of 16 claims were granted, want 1", n)
		}
	}
}

func (k *kit) watch() {
	w, ok := k.Store.(idempotency.Watcher)
	if !ok {
		k.Skip("the store is no Watcher")
	}
	ends := map[string]func(idempotency.Holder){
		"complete": func(h idempotency.Holder) { k.complete(h, "x", idempotency.StatusGranted) },
		"release":  func(h idempotency.Holder) { k.released(h, false, idempotency.StatusGranted) },
		"hold":     func(h idempotency.Holder) { k.released(h, true, idempotency.StatusGranted) },
	}
	for name, end := range ends {
		h := k.grant(name, long)
		ended, stop, err := w.Watch(k.ctx, h.Key)
		if err != nil {
			k.Fatal(err)
		}
		c := newClaim(name, long)
		c.Wait = true
		k.begin(c, idempotency.StatusInFlight)
		end(h)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			k.Errorf("%s woke no watcher", name)
		}
		stop()
		stop()
	}
}

func (k *kit) emptied() {
	if k.Lose == nil {
		k.Skip("the subject cannot lose its contents")
	}
	h := k.grant("a", long)
	done := k.grant("b", long)
	k.complete(done, "b", idempotency.StatusGranted)
	k.Lose()
	k.renewed(h, long, nil, idempotency.StatusFenced)
	other := k.grant("a", long)
	k.complete(h, "old", idempotency.StatusFenced)
	k.complete(other, "new", idempotency.StatusGranted)
	k.complete(done, "b", idempotency.StatusGranted)
	if r := k.begin(newClaim("b", long), idempotency.StatusDone); !bytes.Equal(r.Result, []byte("b")) {
		k.Errorf("result = %q, want b", r.Result)
	}
}
